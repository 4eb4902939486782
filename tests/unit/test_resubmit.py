"""What `sweep resubmit` refuses before anything is queued or written, and what it queues."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import sample, sweep
from jobs.records.result import Result
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.errors import UsageError
from pianogen.store import Split
from tests.support import fake_slurm
from tests.support.made_music import made_store
from tests.support.runs import create_runs


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two runs that differ in their sampling, and were not started."""
    store = made_store(tmp_path / "corpus.h5", [Split.TRAIN])
    return create_runs(tmp_path / "sweep", store, {"device": "cpu", "grid": {"sampling.temperature": [0.9, 1.0]}})


def resubmit(runs: list[Run], *arguments: str) -> int:
    return command.run(sweep.main, ["resubmit", str(runs[0].sweep), "--cluster", "local", "--dry-run", *arguments])


def test_overrides_that_make_two_runs_equal_are_refused(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert resubmit(runs, "sampling.temperature=0.8") == 2
    assert "would make 0001-temperature1.0 equal to 0000-temperature0.9; override other settings" in capsys.readouterr().err
    assert resubmit(runs, "1", "sampling.temperature=0.9") == 2
    assert "would make 0001-temperature1.0 equal to 0000-temperature0.9" in capsys.readouterr().err


def test_store_that_is_missing_or_has_changed_is_refused(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "corpus.h5"
    store.unlink()
    assert resubmit(runs) == 2
    assert f"{store} does not exist, but {runs[0].path} was submitted with it; restore it" in capsys.readouterr().err
    made_store(store, [Split.TRAIN, Split.TRAIN])
    assert resubmit(runs) == 2
    assert f"{runs[0].path} was submitted with" in capsys.readouterr().err
    made_store(store, [Split.TRAIN])
    assert resubmit(runs) == 0


def test_ensemble_refuses_other_runs_in_the_places_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is resubmitted, or draws samples; a record without the trainings of its runs is refused too."""
    values: dict[str, Any] = {"device": "cpu", "model": {"name": "joint"}, "training": {"max_iterations": 1_000}}
    made_store(tmp_path / "corpus.h5", [Split.TRAIN])
    members = create_runs(tmp_path / "members", tmp_path / "corpus.h5", values | {"grid": {"training.seed": [0, 1]}})
    ensemble = {"name": "joint", "ensemble": [str(run.path) for run in members]}
    runs = create_runs(tmp_path / "ensemble", tmp_path / "corpus.h5", {"device": "cpu", "model": ensemble})
    assert resubmit(runs) == 0
    shutil.rmtree(members[0].sweep)
    assert resubmit(runs) == 2
    assert f"model.ensemble: {members[0].path} is missing" in capsys.readouterr().err
    create_runs(tmp_path / "members", tmp_path / "corpus.h5", values | {"grid": {"training.seed": [0, 1]}})
    assert resubmit(runs) == 0
    shutil.rmtree(members[0].sweep)
    longer = {"training.epochs": [50], "training.seed": [0, 1]}
    for run, other in zip(members, create_runs(members[0].sweep, tmp_path / "corpus.h5", values | {"grid": longer}), strict=True):
        other.path.rename(run.path)
    assert resubmit(runs) == 2
    assert f"{members[0].path} has another training than when {runs[0].path} was submitted" in capsys.readouterr().err
    assert resubmit(runs, "--from-scratch") == 0
    runs[0].write_result(Result("none", 1, 0, {}, None, None, {}, []))
    assert command.run(sample.main, [str(runs[0].path), "--seed", "1"]) == 2
    assert "has another training" in capsys.readouterr().err
    runs[0].write_provenance(runs[0].read_provenance().submitted_again(None))
    runs[0].check_members()
    runs[0].write_provenance(replace(runs[0].read_provenance(), members=[]))
    shutil.rmtree(members[0].sweep)
    with pytest.raises(UsageError, match="records the trainings of 0 of the 2 runs"):
        runs[0].check_members()


def test_notification_is_queued_although_slurm_does_not_report_the_jobs(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sbatch = f"[[ $1 == --test-only ]] || cat >> {tmp_path / 'scripts'} $1; echo 'Submitted batch job 101'"
    squeue = "echo 'Unable to contact slurm controller' >&2; exit 1"
    scontrol = "echo 'ClusterName = c1'"
    fake_slurm.install(monkeypatch, tmp_path / "bin", sbatch=sbatch, scontrol=scontrol, squeue=squeue, srun="true", sacct="true")
    arguments = ["resubmit", str(runs[0].sweep), "slurm.notify=me@example.edu"]
    assert command.run(sweep.main, arguments) == 0
    assert "--mail-user=me@example.edu" in (tmp_path / "scripts").read_text()
    assert "runs.csv was not updated: squeue failed" in capsys.readouterr().err
