"""A submission lists the runs that are no longer in the sweep file, and removes them with --prune."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jobs import sweep
from jobs.cluster.own_job import OwnJob
from jobs.configuration.run_config import RunConfig
from jobs.records import attempts, submissions, sweep_directory
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.sweep_directory import PlannedRun
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


def test_promoted_run_belongs_to_the_sweep_as_long_as_its_training(runs: list[Run], submit: Submit) -> None:
    """Whatever has become of the run that it continues: runs 3 and 4 continue runs that were removed or renamed."""
    longer = [{"training.seed": 0, "training.epochs": 100}, {"training.seed": 2, "training.epochs": 50}]
    for run in create_runs(runs[0].sweep, runs[0].sweep.parent / "corpus.h5", {"device": "cpu", "runs": longer}):
        run.write_result(RESULT)
        run.write_provenance(replace(run.read_provenance(), promoted_from="0009-removed"))
    assert submit(1, "--prune") == 0
    assert names(runs) == ["0000-seed0", "0003-seed0-epochs100"]


def test_runs_of_an_ensemble_belong_to_its_sweep(runs: list[Run], tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(runs[0].sweep)
    members = [str(runs[0].path), str(link / runs[1].name)]
    config = RunConfig.model_validate({"device": "cpu", "model": {"name": "joint", "ensemble": members}})
    planned = PlannedRun(Run(tmp_path / "sweep" / "0003-ensemble"), config, "1f", is_new=True)
    assert sweep_directory.find_dropped([planned], runs) == [runs[2]]


def test_run_with_other_sampling_belongs_to_the_sweep(
    runs: list[Run], submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was resubmitted with two other temperatures, and the sweep file has neither of them."""
    for temperature in (0.8, 0.9):
        config = runs[1].read_config()
        config = config.model_copy(update={"sampling": config.sampling.model_copy(update={"temperature": temperature})})
        runs[1].write_provenance(runs[1].read_provenance().with_sampling(config))
        sweep_directory.write_config(runs[1], config)
    for options in (("--dry-run",), ("--prune",)):
        assert submit(2, *options) == 0
        assert "0001-seed1 keeps the sampling with which it was resubmitted" in capsys.readouterr().out
    assert names(runs) == ["0000-seed0", "0001-seed1"]
    assert runs[1].read_config().sampling.temperature == 0.9
    assert submit(2, "--dry-run", "--no-check-models", "grid.sampling.temperature=[0.9, 1.0]") == 0
    out = capsys.readouterr().out
    assert "keeps the sampling" not in out
    assert out.count("(new)") == 2, "each run has one of the temperatures"


def test_dry_run_shows_the_job_of_the_runs_to_start(
    runs: list[Run], submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_slurm.install(monkeypatch, tmp_path / "bin", sbatch="true", scontrol="true", squeue="true", srun="true", sacct="true")
    (runs[0].path / "result.json").unlink()
    assert submit(3, "--cluster", "slurm", "--dry-run", "--no-check-models", "--shared") == 0
    out = capsys.readouterr().out
    assert "3 runs, 1 to start; nothing was written" in out
    assert "#SBATCH --job-name=sweep-train" in out
    assert "--array" not in out, "it is a single job"


@pytest.mark.parametrize("work", ["trains", "draws"])
def test_run_that_a_process_works_on_is_not_removed(
    runs: list[Run], submit: Submit, work: str, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts.begin_attempt(runs[2], OwnJob(), "")
    if work == "trains":
        (runs[2].path / "result.json").unlink()
    owner = Owner("n7", machine="another", pid=7, start_ticks="1", locked_at="2026-01-01 00:00:00")
    path = runs[2].lock if work == "trains" else runs[2].log / "samples-1f.lock"
    path.write_text(json.dumps(asdict(owner)))
    assert submit(1, "--prune") == 2
    error = capsys.readouterr().err
    assert "jobs or processes work on 0002-seed2, so nothing was removed or submitted; cancel them first: " in error
    assert error.rstrip().endswith(f"pianogen sweep cancel {runs[0].sweep} 0002")
    assert names(runs) == [run.name for run in runs]
    assert command.run(sweep.main, ["cancel", str(runs[2].path)]) == 0
    assert "process 7 on n7 works on 0002-seed2: end it on that machine" in capsys.readouterr().out


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
