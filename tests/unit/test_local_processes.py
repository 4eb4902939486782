"""Jobs as processes of this machine: how many at a time, with which GPUs, and without a time limit."""

import json
import os
from functools import partial
from pathlib import Path

import pytest

from jobs.configuration.run_config import SlurmConfig
from jobs.execution import local_processes
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
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert local_processes.max_parallel(resources, num_gpus) == expected


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


def test_processes_share_the_gpus_and_have_no_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three processes at a time on two GPUs: each of them ends when all have started."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    (tmp_path / "out").mkdir()
    paths = [str(tmp_path / "out" / str(number)) for number in range(3)]
    resources = SlurmConfig(timeout_min=1, cpus_per_task=1, gpus_per_node=1, runs_per_gpu=2)
    function = partial(write_environment, num_processes=3)
    assert local_processes.run_all("train", function, paths, tmp_path / "jobs", resources) == []
    environments = [json.loads(Path(path).read_text()) for path in paths]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == ["MIG-a", "MIG-b", "MIG-a"]
    assert all(int(environment["SUBMITIT_LOCAL_TIMEOUT_S"]) > _YEAR_S for environment in environments)
