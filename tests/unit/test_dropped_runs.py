"""Runs that a sweep file no longer has are listed by a submission, and removed if the user says so."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jobs import sweep
from jobs.cluster.own_job import OwnJob
from jobs.records import attempts, submissions
from jobs.records.result import Result
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.lock import Owner
from pianogen.store import Split
from tests.support import fake_slurm
from tests.support.made_music import made_store
from tests.support.runs import create_runs

RESULT = Result("ckpt-1", 1, 1, {"loss": 0.5}, None, None, {}, [])
LISTED = "0002-seed2 is not in "

Submit = Callable[..., int]


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Runs of three seeds, which are done."""
    store = made_store(tmp_path / "corpus.h5", [Split.TRAIN])
    runs = create_runs(tmp_path / "sweep", store, {"device": "cpu", "grid": {"training.seed": [0, 1, 2]}})
    for run in runs:
        run.write_result(RESULT)
    return runs


@pytest.fixture
def submit(tmp_path: Path, runs: list[Run]) -> Submit:
    """Submits the sweep with the first seeds to local processes; there is nothing to train."""
    path = tmp_path / "seeds.yaml"

    def submit(num_seeds: int, *options: str) -> int:
        path.write_text(f"device: cpu\ngrid: {{training.seed: {list(range(num_seeds))}}}\n")
        arguments = [path, "--store", tmp_path / "corpus.h5", "--out", runs[0].sweep, "--cluster", "local", *options]
        return command.run(sweep.main, ["submit", *map(str, arguments)])

    return submit


def names(runs: list[Run]) -> list[str]:
    return sorted(path.name for path in runs[0].sweep.glob("0*"))


def test_dropped_runs_are_listed_and_kept(runs: list[Run], submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ((), ("--dry-run",)):
        assert submit(2, *options) == 0
        out = capsys.readouterr().out
        assert LISTED in out
        assert "submit with --prune to remove these runs" in out
    assert submit(2, "--prune", "--dry-run") == 0
    assert "it will be removed with all of its files" in capsys.readouterr().out
    assert names(runs) == [run.name for run in runs]
    assert submit(3, "--prune") == 0
    assert "is not in" not in capsys.readouterr().out
    assert names(runs) == [run.name for run in runs]


def test_dropped_runs_are_removed_with_prune(runs: list[Run], submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    (runs[0].sweep / "jobs" / "removed-killed" / "0007-seed7").mkdir(parents=True)  # of a command that was killed
    assert submit(2, "--prune") == 0
    assert names(runs) == ["0000-seed0", "0001-seed1"]
    assert [path.name for path in runs[0].sweep.glob("jobs/removed-*")] == []
    table = (runs[0].sweep / "runs.csv").read_text()
    assert "0001-seed1" in table
    assert "0002-seed2" not in table
    capsys.readouterr()
    assert submit(2) == 0
    assert LISTED not in capsys.readouterr().out


def test_promoted_run_is_dropped_with_the_run_that_it_continues(runs: list[Run], submit: Submit) -> None:
    for run in runs[1:]:  # both are in the sweep file no more, but for the one that run 0 has led to
        provenance = run.read_provenance()
        source = "0000-seed0" if run is runs[1] else runs[1].name
        run.write_provenance(replace(provenance, promoted_from=source))
    assert submit(1, "--prune") == 0
    assert names(runs) == [run.name for run in runs]
    runs[1].write_provenance(replace(runs[1].read_provenance(), promoted_from=None))
    assert submit(1, "--prune") == 0
    assert names(runs) == ["0000-seed0"]


def test_run_that_a_process_trains_is_not_removed(runs: list[Run], submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    (runs[2].path / "result.json").unlink()
    attempts.begin_attempt(runs[2], OwnJob(), "")
    owner = Owner("n7", machine="another", pid=7, start_ticks="1", locked_at="2026-01-01 00:00:00")
    runs[2].lock.write_text(json.dumps(asdict(owner)))
    assert submit(1, "--prune") == 2
    error = capsys.readouterr().err
    assert "jobs or processes work on 0002-seed2, so nothing was removed or submitted; cancel them first: " in error
    assert error.rstrip().endswith(f"pianogen sweep cancel {runs[0].sweep} 0002")
    assert names(runs) == [run.name for run in runs]


def test_run_whose_samples_a_job_draws_is_not_removed(
    runs: list[Run],
    submit: Submit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = submissions.create_folder(runs[0].sweep / "jobs", "sample")
    submissions.record(folder, "sweep-sample", "c1", {"8": "0001-seed1"})
    line = "".join(f"{text:60}" for text in ("8", "RUNNING", "0", "None", "0", "sweep-sample", "c1"))
    fake_slurm.install(monkeypatch, tmp_path / "bin", squeue=f"echo '{line}'", sacct="true", scontrol="echo ClusterName = c1")
    assert submit(1, "--prune") == 2
    assert "work on 0001-seed1, so nothing was removed" in capsys.readouterr().err
    assert names(runs) == [run.name for run in runs]
