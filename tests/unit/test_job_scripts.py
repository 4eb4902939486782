"""The scripts that sbatch gets, and the environment of the processes that submit them; Slurm itself is not needed."""

import os
import re
import subprocess
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.cluster import environment, site, slurm
from jobs.cluster.slurm import Array
from jobs.configuration.run_config import SlurmConfig
from jobs.execution import launch, preflight
from jobs.execution.launch import Batch
from pianogen import logs
from pianogen.errors import UsageError
from tests.support import fake_slurm
from tests.support.paths import ROOT

RESOURCES = SlurmConfig(timeout_min=30, memory_gb=2, cpus_per_task=3, max_parallel=2)


@pytest.fixture
def array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Array:
    monkeypatch.setenv("PIANOGEN_SITE", "")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "it's a $sweep" / "jobs"
    return Array("sweep-train", print, ["a", "b", "c"], folder / "0000-train", folder / "code-1f", RESOURCES, max_parallel=2)


def exported(script: str) -> dict[str, str]:
    """The variables after the export lines of a script, as bash sets them."""
    lines = [line for line in script.splitlines() if line.startswith("export ")]
    done = subprocess.run(["bash", "-c", "\n".join([*lines, "env -0"])], capture_output=True, text=True, check=True)
    return dict(entry.partition("=")[::2] for entry in done.stdout.split("\0"))


def test_script_requests_the_resources_of_the_configuration(array: Array) -> None:
    script = slurm.script_text(replace(array, after=["7", "12_0"]))
    options = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH ")}
    assert {"array=0-2%2", "cpus-per-task=3", "mem=2GB", "time=30", "requeue", "signal=USR2@90"} <= options
    assert "dependency=afterany:12_0:7" in options
    assert not any(option.startswith(("partition", "account", "gpus-per-node")) for option in options)


def options_of(array: Array, **changes: Any) -> set[str]:
    """The options of sbatch in the script of an array with other resources."""
    resources = SlurmConfig.model_validate(RESOURCES.model_dump() | changes)
    lines = slurm.script_text(replace(array, resources=resources)).splitlines()
    return {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH ")}


def test_options_of_the_site_reach_sbatch(array: Array) -> None:
    extra = {"qos": "short", "exclude": "n[1-3]", "comment": "it's mine", "exclusive": True, "nice": 5, "cpus-per-task": 2}
    options = options_of(array, extra=extra, timeout_min="1-0:30", signal_lead_s=300, gpus_per_node="a100:2", memory_gb=None)
    assert {"qos=short", "exclude='n[1-3]'", "exclusive", "nice=5", "cpus-per-task=2", "time=1470", "signal=USR2@300"} <= options
    assert {"comment='it'\"'\"'s mine'", "gpus-per-node=a100:2"} <= options
    assert not any(option.startswith(("mem", "wckey", "cpus-per-task=3")) for option in options)


@pytest.mark.parametrize(
    ("extra", "added", "removed"),
    [
        ({"mem": None, "requeue": None}, set(), {"mem=2GB", "requeue"}),
        ({"mem-per-cpu": "2G", "no-requeue": True}, {"mem-per-cpu=2G", "no-requeue"}, {"mem=2GB", "requeue"}),
        ({"gres": "gpu:a100:1"}, {"gres=gpu:a100:1"}, {"gpus-per-node=1"}),
        ({"gres": "lscratch:50"}, {"gres=lscratch:50"}, set()),
        ({"wckey": "project"}, {"wckey=project"}, set()),
    ],
)
def test_option_of_the_site_takes_the_place_of_the_same_option(
    array: Array, extra: dict[str, Any], added: set[str], removed: set[str]
) -> None:
    before = options_of(array, gpus_per_node=1)
    assert options_of(array, gpus_per_node=1, extra=extra) == before - removed | added


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (SlurmConfig(timeout_min=10), "slurm.timeout_min is 10, but"),
        (SlurmConfig(timeout_min=20, signal_lead_s=900), "shutdown begins 900 s before the limit; set it to more than 30"),
        (SlurmConfig(extra={"time": 2}), "slurm.extra.time is 2, but"),
        (SlurmConfig(extra={"time": "0:10:00"}), "slurm.extra.time is 10, but"),
        (SlurmConfig(timeout_min=11), None),
        (SlurmConfig(timeout_min=5, extra={"time": "1-0"}), None),
        (SlurmConfig(timeout_min=5, extra={"time": "infinite"}), None),
        (SlurmConfig(timeout_min=5, extra={"time": 0}), None),
        (SlurmConfig(timeout_min=5, extra={"time": None}), None),
    ],
)
def test_time_limit_that_is_too_short_for_an_attempt_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: SlurmConfig, message: str | None
) -> None:
    fake_slurm.install(monkeypatch, tmp_path / "bin", **dict.fromkeys(("sbatch", "scontrol", "srun"), "true"))
    batch = Batch("train", print, [str(tmp_path / "0000-base")], tmp_path / "jobs", resources)
    with pytest.raises(UsageError, match=message) if message else nullcontext():
        preflight.check_resources("slurm", batch, [], is_shared=True)


def sbatch_variables(array: Array, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The SBATCH_* variables that sbatch gets, as NAME=VALUE."""
    fake_slurm.install(monkeypatch, folder / "bin", sbatch=f"env > '{folder}/env'")
    slurm.test(array)
    return {line for line in (folder / "env").read_text().splitlines() if line.startswith("SBATCH_")}


def test_variables_of_the_user_do_not_change_what_is_requested(
    array: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("QOS", "MEM_PER_NODE", "TIMELIMIT", "NO_REQUEUE", "PARTITION", "RESERVATION", "ACCOUNT"):
        monkeypatch.setenv(f"SBATCH_{name}", "of_the_user")
    assert sbatch_variables(array, tmp_path, monkeypatch) == set()
    launch.check_cluster("slurm")
    assert "SBATCH_ACCOUNT, SBATCH_MEM_PER_NODE, SBATCH_NO_REQUEUE, SBATCH_PARTITION" in caplog.text
    assert "slurm/site.sh" in caplog.text


def test_site_settings_state_what_the_sweep_leaves_open(
    array: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"export SBATCH_{name}=of_the_site" for name in ("QOS", "TIMELIMIT", "MEM_PER_CPU", "PARTITION", "ACCOUNT")]
    (tmp_path / "site.sh").write_text("\n".join(lines))
    monkeypatch.setenv("PIANOGEN_SITE", str(tmp_path / "site.sh"))
    monkeypatch.setenv("SBATCH_ACCOUNT", "of_the_user")
    resources = SlurmConfig(extra={"qos": "short", "partition": None})
    variables = sbatch_variables(replace(array, resources=resources), tmp_path, monkeypatch)
    assert variables == {"SBATCH_ACCOUNT=of_the_site"}
    launch.check_cluster("slurm")
    assert "SBATCH_ACCOUNT of the environment is ignored" in caplog.text
    caplog.clear()
    monkeypatch.setenv("SBATCH_ACCOUNT", "of_the_site")  # as in a shell that has sourced the file
    launch.check_cluster("slurm")
    assert caplog.text == ""


def test_nodes_of_the_default_partition_are_those_of_the_site_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_slurm.install(
        monkeypatch,
        tmp_path / "bin",
        sinfo="echo CLUSTER: c1; echo \"$@\" | grep -o 'partition=.*' | sed 's/.*=/node-of-/; s/$/|p/'",
    )
    monkeypatch.setenv("SBATCH_PARTITION", "of-the-user")
    (tmp_path / "site.sh").write_text("export SBATCH_PARTITION=of-the-site")
    monkeypatch.setenv("PIANOGEN_SITE", str(tmp_path / "site.sh"))
    assert slurm.nodes_of(None) == ["node-of-of-the-site"]
    assert slurm.nodes_of("gpu") == ["node-of-gpu"]


def test_job_without_gpus_keeps_the_options_of_the_site() -> None:
    extra: dict[str, bool | int | str | None] = {
        "qos": "short",
        "gres": "gpu:a100:2",
        "constraint": "a100",
        "gpus-per-task": 1,
        "mem": None,
    }
    resources = SlurmConfig(partition="gpu", cpu_partition="cpu", gpus_per_node=2, nodes=2, memory_gb=None, extra=extra)
    changed = resources.without_gpus(memory_gb=3)
    assert (changed.partition, changed.num_gpus, changed.nodes, changed.memory_gb) == ("cpu", 0, 1, None)
    assert changed.extra == {"qos": "short", "mem": None}
    assert SlurmConfig(gpus_per_node="a100:4").one_gpu == "a100:1"
    chosen = SlurmConfig(cpu_partition="cpu", extra={"partition": "long"}).without_gpus()
    assert slurm.sbatch_options(chosen, ())["partition"] == "cpu"


@pytest.mark.parametrize("extra", [{"requeue": None}, {"no-requeue": True}])
def test_site_may_forbid_to_requeue(extra: dict[str, bool | int | str | None]) -> None:
    assert SlurmConfig().is_requeued
    assert not SlurmConfig(extra=extra).is_requeued


def test_site_settings_are_those_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIANOGEN_SITE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert site.find() == ROOT / "slurm" / "site.sh"
    monkeypatch.setenv("PIANOGEN_SITE", str(tmp_path / "none.sh"))
    with pytest.raises(UsageError, match=r"none\.sh, which does not exist"):
        site.find()


def test_site_settings_that_exit_are_refused(tmp_path: Path) -> None:
    """The jobs would exit, too, before they train."""
    path = tmp_path / "site.sh"
    path.write_text("export SBATCH_ACCOUNT=mine\nread -r answer\nexit 0\n")
    with pytest.raises(UsageError, match=r"bash cannot read the site settings .*site\.sh: exit code 0; correct the file"):
        site.exported(path)


def test_site_settings_with_line_ends_of_windows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.sh"
    path.write_bytes(b"export SBATCH_ACCOUNT=mine\r\n")
    with pytest.raises(UsageError, match="have line ends of Windows"):
        site.exported(path)


@pytest.mark.parametrize(
    ("recipient", "mail", "command"),
    [
        ("me@example.edu", "me@example.edu", "true"),
        ("me@example.edu,you@example.edu", "me@example.edu,you@example.edu", "true"),
        (" me@example.edu, you@example.edu", "me@example.edu,you@example.edu", "true"),
        ("curl example.edu -d a@b,c", "", "curl example.edu -d a@b,c"),
    ],
)
def test_notification_is_a_mail_or_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipient: str, mail: str, command: str
) -> None:
    monkeypatch.setenv("SLURM_JWT", "token")
    fake_slurm.install(monkeypatch, tmp_path / "bin", sbatch=f"cat > '{tmp_path}/script'; echo $SLURM_JWT >> '{tmp_path}/script'")
    slurm.notify(recipient, tmp_path / "mine", ["7_0", "7_1"], SlurmConfig(), tmp_path)
    *script, last, token = (tmp_path / "script").read_text().splitlines()
    assert [line.partition("--mail-user=")[2] for line in script if "--mail-user=" in line] == ([mail] if mail else [])
    assert (last, token) == (command, "token")


def test_parts_of_an_array_share_its_limit(array: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that do not fit beside the jobs before them wait for those jobs."""
    sbatch = f"cat \"$1\" >> '{tmp_path}/scripts'; n=$(grep -c bin/bash '{tmp_path}/scripts'); echo \"Submitted batch job 10$n\""
    fake_slurm.install(monkeypatch, tmp_path / "bin", sbatch=sbatch, srun="")
    array.folder.mkdir(parents=True)

    def dependencies(live: list[str], *lengths: int) -> list[str]:
        (tmp_path / "scripts").unlink(missing_ok=True)
        parts = [replace(array, arguments=["a"] * length, max_parallel=4) for length in lengths]
        assert [len(jobs) for jobs in slurm.submit_parts(parts, live)] == list(lengths)
        scripts = (tmp_path / "scripts").read_text().split("#!/bin/bash")[1:]
        return [next(iter(re.findall("--dependency=afterany:(.+)", script)), "") for script in scripts]

    assert dependencies([], 2, 2) == ["", ""]
    assert dependencies([], 3, 2, 2, 1) == ["", "101", "101", "102:103"]
    assert dependencies(["7_0", "7_1", "9"], 2) == ["7:9"]
    assert dependencies(["9"], 2) == [""]


def test_script_has_python_import_the_snapshot_of_the_code(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    variables = exported(slurm.script_text(array))
    assert variables["PYTHONPATH"] == f"{array.code}:/elsewhere"
    assert variables["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize("verbose", [None, "1"])
def test_verbose_submission_makes_its_jobs_verbose(array: Array, monkeypatch: pytest.MonkeyPatch, verbose: str | None) -> None:
    monkeypatch.delenv(logs.VERBOSE, raising=False)
    if verbose is not None:
        monkeypatch.setenv(logs.VERBOSE, verbose)
    script = slurm.script_text(array)
    monkeypatch.delenv(logs.VERBOSE, raising=False)
    assert exported(script).get(logs.VERBOSE) == verbose


def test_modified_environment_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    before = dict(os.environ)
    with suppress(ZeroDivisionError), environment.modified({"ADDED": "2", "KEPT": "3"}, removed=["PATH", "MISSING"]):
        assert (os.environ["ADDED"], os.environ["KEPT"], "PATH" in os.environ) == ("2", "3", False)
        raise ZeroDivisionError
    assert dict(os.environ) == before
