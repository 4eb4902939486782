"""`sweep promote` without training: which runs it continues, and what it refuses before anything is queued."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs import sweep
from jobs.records import submissions
from jobs.records.result import Result
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.store import Split
from tests.support import fake_slurm
from tests.support.made_music import made_store
from tests.support.runs import create_runs

VALUES: dict[str, Any] = {"device": "cpu", "training": {"epochs": 5, "batch": 10}}
SEEDS = VALUES | {"grid": {"training.seed": [0, 1]}}
PATIENT = VALUES | {"training": VALUES["training"] | {"patience": 2}}


def finish(run: Run, nats: float, losses: Sequence[float] = (0.9, 0.8, 0.7, 0.6, 0.5)) -> None:
    """Gives a run of 10 windows the files of a training with these validation losses."""
    (run.path / "checkpoints").mkdir(exist_ok=True)
    (run.path / "checkpoints" / "ckpt-5.index").touch()
    rows = [f"{epoch},{epoch},0.5,{loss}\n" for epoch, loss in enumerate(losses, 1)]
    (run.path / "metrics.csv").write_text("".join(["epoch,iteration,loss,valid_loss\n", *rows]))
    metrics = {"epoch": len(losses), "iteration": len(losses), "loss": 0.5}
    run.write_result(Result("ckpt-5", 1, 10, metrics, None, None, {"valid": {"network": {"nats_per_step": nats}}}, []))


@pytest.fixture
def make_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Run]]:
    """Makes the runs of a sweep that are done, the first with the best likelihood. Slurm accepts jobs."""
    scontrol, sbatch = "echo 'ClusterName = c1'", "echo 'Submitted batch job 101'"
    fake_slurm.install(monkeypatch, tmp_path / "bin", sbatch=sbatch, scontrol=scontrol, squeue="true", srun="true", sacct="true")

    def make(values: dict[str, Any]) -> list[Run]:
        runs = create_runs(tmp_path / "sweep", made_store(tmp_path / "corpus.h5", [Split.TRAIN]), values)
        for number, run in enumerate(runs):
            finish(run, 5.0 + number)
        return runs

    return make


def promote(runs: list[Run], *arguments: str) -> int:
    return command.run(sweep.main, ["promote", str(runs[0].sweep), *arguments])


def names(runs: list[Run]) -> list[str]:
    return sorted(path.name for path in runs[0].sweep.glob("0*"))


def test_training_continues_from_its_longest_run(make_runs: Callable[..., list[Run]], capsys: pytest.CaptureFixture[str]) -> None:
    """Run 2 continues run 0, which has the better likelihood; both are among the best two runs."""
    runs = make_runs(SEEDS)
    assert promote(runs, "training.epochs=10") == 0
    finish(Run(runs[0].sweep / "0002-seed0-promoted"), 5.5)
    capsys.readouterr()
    assert promote(runs, "--top", "2", "training.epochs=20") == 0
    out = capsys.readouterr().out
    assert "0002-seed0-promoted -> 0003-seed0-promoted\n0001-seed1 -> 0004-seed1-promoted\n2 of 2 runs to start" in out
    assert promote(runs, "--top", "9", "training.epochs=10") == 0  # the first has as many epochs
    out = capsys.readouterr().out
    assert "training.epochs is 10, and 0002-seed0-promoted has 10; give more epochs\n" in out
    assert "0001-seed1 -> 0005-seed1-promoted\n1 of 1 run to start" in out


def test_overrides_that_make_two_new_runs_equal_are_refused(
    make_runs: Callable[..., list[Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = make_runs(VALUES | {"grid": {"sampling.temperature": [0.9, 1.0]}})
    assert promote(runs, "--top", "2", "training.epochs=10", "sampling.temperature=0.8") == 2
    assert "would make the runs that continue 0000-temperature0.9 and 0001-temperature1.0 equal" in capsys.readouterr().err
    assert promote(runs, "training.epochs=10", "sampling.temperature=0.8") == 0


@pytest.mark.parametrize("losses", [(0.9, 0.8, 0.8, 0.9), (0.9, 0.8, 0.7, 0.7, 0.8)], ids=["early", "at its last epoch"])
def test_run_that_has_stopped_early_is_not_continued(
    make_runs: Callable[..., list[Run]], capsys: pytest.CaptureFixture[str], losses: Sequence[float]
) -> None:
    runs = make_runs(PATIENT | {"grid": {"training.seed": [0, 1]}})
    finish(runs[0], 4.0, losses)
    assert promote(runs, "training.epochs=10") == 2
    assert "0000-seed0 has stopped early, so it would not train longer with more epochs" in capsys.readouterr().err
    assert promote(runs, "--top", "2", "training.epochs=10") == 0
    assert "0001-seed1 -> 0002-seed1-promoted\n1 of 1 run to start" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("sweep/0000-seed0/checkpoints/ckpt-5.index", "0000-seed0/checkpoints/*.index is missing"),
        ("sweep/0000-seed0/metrics.csv", "0000-seed0/metrics.csv is missing"),
        ("corpus.h5", "corpus.h5 does not exist"),
    ],
)
def test_lost_files_are_named_before_anything_is_queued(
    make_runs: Callable[..., list[Run]], tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str, message: str
) -> None:
    runs = make_runs(SEEDS)
    (tmp_path / lost).unlink()
    assert promote(runs, "training.epochs=10") == 2
    assert message in capsys.readouterr().err
    assert names(runs) == ["0000-seed0", "0001-seed1"]
    assert submissions.read_all(runs[0].sweep / "jobs") == []
    assert not list(runs[0].sweep.glob("jobs/*"))


def test_epochs_may_stand_in_a_mapping(make_runs: Callable[..., list[Run]], capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(SEEDS)
    with submissions.exclusive(runs[0].sweep):  # a dry run needs no lock, which a read-only sweep could not have
        assert promote(runs, "training={epochs: 10}", "model={name: base}", "--dry-run") == 0
    assert "0000-seed0 -> 0002-seed0-promoted\n1 of 1 run to start" in capsys.readouterr().out
