"""Jobs as processes of this machine: how many at a time, with which GPUs, and without a time limit."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
import submitit

from jobs.configuration.run_config import SlurmConfig
from jobs.execution import local_processes
from jobs.execution.cores import num_cores
from jobs.records import local_queue
from pianogen.errors import UsageError
from tests.programs.environment import write_environment
from tests.support import fake_slurm

_YEAR_S = 365 * 24 * 3_600


@pytest.mark.parametrize(
    ("cores", "num_gpus", "resources", "expected"),
    [
        (1, 0, SlurmConfig(cpus_per_task=1), 1),
        (8, 0, SlurmConfig(cpus_per_task=3), 2),
        (2, 0, SlurmConfig(cpus_per_task=4), 1),
        (64, 0, SlurmConfig(cpus_per_task=1, max_parallel=5), 5),
        (64, 4, SlurmConfig(cpus_per_task=4, gpus_per_node=1), 4),
        (64, 4, SlurmConfig(cpus_per_task=4, gpus_per_node=3), 1),
        (8, 4, SlurmConfig(cpus_per_task=4, gpus_per_node=1), 2),
        (8, 0, SlurmConfig(cpus_per_task=4, gpus_per_node=1), 1),
        (64, 8, SlurmConfig(cpus_per_task=4, gpus_per_node=1, runs_per_gpu=2), 8),
    ],
)
def test_processes_at_a_time_fit_the_cores_that_may_be_used_and_the_gpus(
    monkeypatch: pytest.MonkeyPatch, cores: int, num_gpus: int, resources: SlurmConfig, expected: int
) -> None:
    monkeypatch.setattr(local_processes, "num_cores", lambda: cores)
    assert local_processes.max_parallel(resources, num_gpus) == expected


V1 = "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n0::/docker/1f\n"


@pytest.mark.parametrize(
    ("record", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {}, 8),
        ("0::/a.slice/b\n", {"a.slice/cpu.max": "300000 100000\n", "a.slice/b/cpu.max": "max 100000\n"}, 3),
        ("0::/../c\n", {"cpu.max": "1600000 100000\n"}, 8),
        (V1, {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu/docker/1f/cpu.cfs_quota_us": "400000\n", "cpu/docker/1f/cpu.cfs_period_us": "100000\n"}, 4),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        (None, {}, 8),
    ],
)
def test_quotas_of_containers_limit_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: str | None, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    content = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in (content | ({"proc/self/cgroup": record} if record else {})).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert num_cores(tmp_path) == expected


@pytest.mark.parametrize(
    ("variable", "gpus"),
    [("2,0", ["2", "0"]), ("GPU-1f,MIG-2e", ["GPU-1f", "MIG-2e"]), ("", []), ("-1", []), ("1,-1,2", ["1"])],
)
def test_gpus_are_those_that_the_user_has_chosen(monkeypatch: pytest.MonkeyPatch, variable: str, gpus: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert local_processes.find_gpus() == gpus


@pytest.mark.parametrize(
    ("answer", "gpus"),
    [
        ("echo GPU-1f; echo GPU-2e", ["GPU-1f", "GPU-2e"]),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9", []),
        ("echo 'No devices were found'", []),
    ],
)
def test_gpus_are_all_of_the_machine_without_a_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, gpus: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_slurm.install(monkeypatch, tmp_path / "bin", **{"nvidia-smi": answer})
    assert local_processes.find_gpus() == gpus


def test_driver_of_gpus_that_does_not_respond_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(local_processes, "_NVIDIA_SMI_TIMEOUT_S", 0.1)
    fake_slurm.install(monkeypatch, tmp_path / "bin", **{"nvidia-smi": "exec sleep 60"})
    with pytest.raises(UsageError, match=r"nvidia-smi did not respond within 0\.1 s.*name them in CUDA_VISIBLE_DEVICES"):
        local_processes.find_gpus()


def test_failed_jobs_have_their_error_and_killed_ones_their_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(argument: str) -> None:
        if argument == "killed":
            os._exit(9)
        raise ValueError(argument)

    monkeypatch.setattr(submitit.LocalJob, "_results_timeout_s", 1)  # submitit waits for a result for 15 s
    with local_queue.filled(tmp_path, ["failed", "killed"]):
        reasons = dict(local_processes.run_all("decode", work, ["failed", "killed"], tmp_path, SlurmConfig()))
    assert reasons["failed"] == "ValueError: failed"
    assert reasons["killed"].startswith(f"its process was killed or crashed; see {tmp_path}/")
    assert Path(reasons["killed"].rpartition(" ")[2]).is_file()


def test_processes_share_the_gpus_and_have_no_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three processes at a time on two GPUs: each of them ends when all have started."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    monkeypatch.setattr(local_processes, "num_cores", lambda: 3)
    for name in ("out", "jobs"):
        (tmp_path / name).mkdir()
    paths = [str(tmp_path / "out" / str(number)) for number in range(3)]
    resources = SlurmConfig(timeout_min=1, cpus_per_task=1, gpus_per_node=1, runs_per_gpu=2)
    function = partial(write_environment, num_processes=3)
    with local_queue.filled(tmp_path / "jobs", ["0", "1", "2"]):
        assert local_processes.run_all("train", function, paths, tmp_path / "jobs", resources) == []
    environments = [json.loads(Path(path).read_text()) for path in paths]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == ["MIG-a", "MIG-b", "MIG-a"]
    assert all(int(environment["SUBMITIT_LOCAL_TIMEOUT_S"]) > _YEAR_S for environment in environments)
