"""The scripts that sbatch gets, and the environment of the processes that submit them; Slurm itself is not needed."""

import os
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.cluster import environment, slurm
from jobs.cluster.slurm import Array
from jobs.configuration.run_config import SlurmConfig
from pianogen import logs

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
