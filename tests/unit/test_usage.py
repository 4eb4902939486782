"""The resources that attempts use: measured, recorded, kept after a kill, and compared with those that were requested."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import sweep
from jobs.cluster.own_job import OwnJob
from jobs.configuration.run_config import SlurmConfig
from jobs.execution import usage_meter
from jobs.execution.usage_meter import find_requested, metered, sample_gpu_percent
from jobs.records import attempts, usage
from jobs.records.run_directory import Run
from jobs.records.run_usage import RunUsage, advise
from jobs.records.usage import Requested, Usage
from pianogen import command
from pianogen.store import Split
from tests.support import fake_slurm
from tests.support.made_music import made_store
from tests.support.runs import prepare

REQUESTED = Requested(cpus=4, memory_gb=16, timeout_min=240)
USED = Usage(wall_s=600, cpu_s=900, memory_gb=1.125, requested=REQUESTED)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = prepare(tmp_path / "sweep", made_store(tmp_path / "corpus.h5", [Split.TRAIN]), slurm={"memory_gb": 3})
    run.log.mkdir()
    return run


@pytest.fixture
def child_of_200_mib() -> Iterator[subprocess.Popen[str]]:
    code = "content = b'1' * (200 * 2**20); print(len(content), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def test_process_measures_itself(run: Run) -> None:
    with metered(run, 0, lambda: True) as polled:
        first = usage.read(run.log)
        assert first is not None
        content = b"1" * (300 * 2**20)
        sum(range(3_000_000))
        assert polled()
        assert usage.read(run.log) == first, "the figures are written at intervals"
    del content
    last = usage.read(run.log)
    assert last is not None
    assert 0.29 <= last.memory_gb - first.memory_gb < 0.5
    assert 0 < last.cpu_s < last.wall_s + 1
    assert last.requested == Requested(cpus=4, memory_gb=3, timeout_min=240)
    with metered(run, 0, lambda: True):
        pass
    again = usage.read(run.log)
    assert again is not None
    assert again.memory_gb < last.memory_gb - 0.25, "the peak is that of the attempt, not of the process"


def test_memory_of_running_child_processes_counts(
    run: Run, child_of_200_mib: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_meter, "_INTERVAL_S", 0)
    with metered(run, 0, lambda: False) as polled:
        assert not polled()
        child_of_200_mib.kill()
        child_of_200_mib.wait()
    during = usage.read(run.log)
    with metered(run, 0, lambda: False):
        pass
    after = usage.read(run.log)
    assert during is not None
    assert after is not None
    assert during.memory_gb - after.memory_gb > 0.19


@pytest.mark.parametrize(
    ("answer", "percent"), [("printf '40\\n61\\n'", 50.5), ("echo '[N/A]'", None), ("echo No devices were found; exit 6", None)]
)
def test_utilization_is_that_which_nvidia_smi_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, percent: float | None
) -> None:
    fake_slurm.install(monkeypatch, tmp_path / "bin", **{"nvidia-smi": f'echo "$@" > "{tmp_path}/options"; {answer}'})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5,GPU-7")
    assert sample_gpu_percent() == percent
    assert "--id=GPU-5,GPU-7" in (tmp_path / "options").read_text()


def test_options_of_the_site_are_not_taken_for_those_of_the_configuration() -> None:
    assert find_requested(SlurmConfig(cpus_per_task=2, memory_gb=8, timeout_min=90)) == Requested(2, 8, 90)
    extra: dict[str, bool | int | str | None] = {"mem-per-cpu": "2G", "time": "1-0", "cpus-per-task": None}
    assert find_requested(SlurmConfig(extra=extra)) == Requested()
    assert find_requested(SlurmConfig(memory_gb=None)).memory_gb is None
    assert find_requested(SlurmConfig(cpus_per_task=2, runs_per_job=4)) == Requested(cpus=2)  # the others belong to the job


def test_last_figures_of_a_killed_attempt_remain(run: Run) -> None:
    """The largest of two workers, first in their files, then in the record of the attempt."""
    attempts.begin_attempt(run, OwnJob(), "")
    usage.write(usage.file_of(run.log, 0), USED)
    usage.write(usage.file_of(run.log, 1), replace(USED, wall_s=590, memory_gb=2.5, gpu_percent=30))
    expected = replace(USED, memory_gb=2.5, gpu_percent=30)
    assert RunUsage.of(run, run.read_provenance().attempts).attempts == [expected]
    attempts.begin_attempt(run, OwnJob(), "")
    killed, running = run.read_provenance().attempts
    assert (killed.usage, running.usage, usage.read(run.log)) == (expected, None, None)
    usage.file_of(run.log, 0).write_bytes(bytes(10))
    attempts.end_attempt(run, error="no space left")
    assert [attempt.usage for attempt in run.read_provenance().attempts] == [expected, None]
    assert RunUsage.of(run, run.read_provenance().attempts).columns()["memory_gb"] == 2.5


def test_figures_of_a_run_are_those_of_all_attempts() -> None:
    second = replace(
        USED, wall_s=1_800, cpu_s=3_900, memory_gb=1.5, gpu_memory_gb=2, gpu_percent=50, requested=Requested(8, 32, 60)
    )
    third = replace(second, wall_s=600, cpu_s=600, gpu_percent=10)
    run = RunUsage([USED, second, third])
    assert run.columns() == {
        "wall_s": 3_000,
        "cpu_s": 5_400,
        "memory_gb": 1.5,
        "gpu_memory_gb": 2,
        "gpu_percent": 40,
        "requested_cpus": 8,
        "requested_memory_gb": 32,
        "requested_timeout_min": 60,
    }
    assert (run.cpus, run.longest_s) == (1.8, 1_800)
    assert set(RunUsage([]).columns().values()) == {None}


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            {},
            [
                "slurm.cpus_per_task: 4 CPUs requested, 1.5 used",
                "slurm.memory_gb: 16 GB requested, 1.1 used",
                "slurm.timeout_min: 240 min requested, 10.0 used",
            ],
        ),
        ({"cpu_s": 1_200.0, "memory_gb": 8.0, "wall_s": 7_200.0}, ["slurm.cpus_per_task: 4 CPUs requested, 0.2 used"]),
        ({"requested": Requested(3, 2, 30)}, []),  # at most twice what was used, or a short limit
        ({"requested": Requested(1, 1, None), "cpu_s": 1.0, "memory_gb": 0.25}, []),  # there is no smaller request
        ({"requested": None}, []),
    ],
)
def test_advice_names_what_is_more_than_twice_the_use(change: dict[str, Any], lines: list[str]) -> None:
    assert advise([RunUsage([replace(USED, **change)])]) == lines


def test_advice_is_for_the_largest_use_of_runs_with_equal_requests() -> None:
    runs = [RunUsage([USED]), RunUsage([replace(USED, memory_gb=7.9)]), RunUsage([]), RunUsage([replace(USED, requested=None)])]
    assert "slurm.memory_gb: 16 GB requested, 7.9 used" in advise(runs)


def test_status_shows_usage_beside_requests(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    attempts.begin_attempt(run, OwnJob(), "")
    usage.write(usage.file_of(run.log, 0), USED)
    attempts.end_attempt(run, error="no space left")
    out = str(run.sweep)
    assert command.run(sweep.main, ["status", out, "--usage"]) == 0
    shown = capsys.readouterr().out
    header = re.split(r"\s{2,}", shown.splitlines()[1].strip())
    assert header == ["run", "state", "attempts", "wall time", "longest attempt", "CPU time", "CPUs", "memory GB"]
    assert "0:10:00 of 4:00:00" in shown
    assert "1.5 of 4" in shown
    assert "1.1 of 16" in shown
    assert "requested" not in shown, "a run that failed may need more"
    assert "memory_gb,gpu_memory_gb,gpu_percent,requested_cpus" in (run.sweep / "runs.csv").read_text()
    assert command.run(sweep.main, ["status", out, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["memory_gb"], row["gpu_memory_gb"], row["requested_memory_gb"]) == (1.125, None, 16)
