"""`resubmit --from-scratch`: which runs it takes, and what it removes when."""

from pathlib import Path

import pytest

from jobs import sweep
from jobs.cluster.own_job import OwnJob
from jobs.records import attempts, run_processes, submissions
from jobs.records.result import Result
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.store import Split
from tests.support import fake_slurm
from tests.support.made_music import made_store
from tests.support.runs import create_runs, state_of

FOLDERS = ("checkpoints", "tensorboard")
KEPT = {"config.yaml", "provenance.json", "log", "notes.txt", *FOLDERS}
SBATCH = "echo 'Submitted batch job 101'"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Run 0 is done and run 1 has failed, both with files of a training; run 2 was not started. Slurm accepts jobs."""
    store = made_store(tmp_path / "corpus.h5", [Split.TRAIN])
    runs = create_runs(tmp_path / "sweep", store, {"device": "cpu", "grid": {"training.seed": [0, 1, 2]}})
    for run in runs[:2]:
        attempts.begin_attempt(run, OwnJob(), "")
        attempts.end_attempt(run, error="the loss of iteration 7 is NaN" if run is runs[1] else None)
        for name in (
            "model.keras",
            "metrics.csv",
            "curves.png",
            "samples.h5",
            "samples-num16.h5",
            "samples-num16.memorization.json",
            "notes.txt",
        ):
            (run.path / name).write_text("old")
        for name in FOLDERS:
            (run.path / name).mkdir()
            (run.path / name / "checkpoint").write_text("old")
            (run.path / name / "part").mkdir()
    runs[0].write_result(Result("ckpt-1", 1, 1, {"loss": 0.5}, None, None, {}, []))
    use_slurm(monkeypatch, tmp_path, SBATCH)
    return runs


def use_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sbatch: str) -> None:
    scontrol = "echo 'ClusterName = c1'"
    fake_slurm.install(monkeypatch, tmp_path / "bin", sbatch=sbatch, scontrol=scontrol, squeue="true", srun="true", sacct="true")
    monkeypatch.chdir(tmp_path)


def resubmit(runs: list[Run], *arguments: str) -> int:
    return command.run(sweep.main, ["resubmit", str(runs[0].sweep), *arguments])


def content(run: Run) -> set[str]:
    return {path.name for path in run.path.iterdir()}


def test_unfinished_runs_lose_what_their_attempts_have_written(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    done, failed = content(runs[0]), content(runs[1])
    assert resubmit(runs, "--from-scratch", "--dry-run") == 0
    assert "2 of 3 runs to start; their checkpoints, metrics, models and samples are removed" in capsys.readouterr().out
    assert content(runs[1]) == failed
    assert resubmit(runs, "--from-scratch") == 0
    assert "queued 2 jobs" in capsys.readouterr().out
    assert content(runs[0]) == done
    assert content(runs[1]) == KEPT
    assert len(runs[1].read_provenance().attempts) == 1, "the records of attempts stay"


def test_selected_runs_are_trained_again_even_if_they_are_done(runs: list[Run]) -> None:
    assert resubmit(runs, "0", "--from-scratch") == 0
    assert content(runs[0]) == KEPT
    assert state_of(runs[0])[0] == "waiting"
    assert "model.keras" in content(runs[1])


def test_folders_that_are_links_to_another_disk_are_emptied(runs: list[Run], tmp_path: Path) -> None:
    for name in FOLDERS:
        (runs[1].path / name).rename(tmp_path / name)
        (runs[1].path / name).symlink_to(tmp_path / name)
        (tmp_path / name / "latest").symlink_to("part")
    assert resubmit(runs, "--from-scratch") == 0
    assert content(runs[1]) == KEPT
    for name in FOLDERS:
        assert (runs[1].path / name).readlink() == tmp_path / name
        assert list((tmp_path / name).iterdir()) == []


def test_run_as_target_is_a_selection(runs: list[Run]) -> None:
    assert command.run(sweep.main, ["resubmit", str(runs[0].path), "--from-scratch"]) == 0
    assert content(runs[0]) == KEPT


def test_without_the_option_runs_keep_their_files(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    before = content(runs[1])
    assert resubmit(runs, "0-1") == 0
    assert "1 of 2 runs to start\n" in capsys.readouterr().out
    assert content(runs[1]) == before


def test_refused_jobs_cost_no_file(runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_slurm(monkeypatch, tmp_path, '[[ $1 == --test-only ]] && exit; echo "sbatch: error: Invalid account" >&2; exit 1')
    before = [content(run) for run in runs]
    assert resubmit(runs, "0-1", "--from-scratch") == 2
    assert [content(run) for run in runs] == before


def test_run_whose_samples_a_job_draws_keeps_its_model(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = submissions.create_folder(runs[0].sweep / "jobs", "sample")
    submissions.record(folder, "sweep-sample", "c1", {"8": [runs[0].name]})
    line = "".join(f"{text:60}" for text in ("8", "RUNNING", "0", "None", "0", "sweep-sample", "c1"))
    fake_slurm.install(monkeypatch, tmp_path / "bin", squeue=f"echo '{line}'")
    before = content(runs[0])
    assert resubmit(runs, "0", "--from-scratch") == 2
    assert f"work on {runs[0].name}, so nothing was removed or submitted" in capsys.readouterr().err
    assert content(runs[0]) == before
    assert resubmit(runs, "1", "--from-scratch", "--dry-run") == 0


def test_run_that_a_process_decodes_keeps_its_samples(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    before = content(runs[1])
    with run_processes.writing(runs[1], "midi", "midi/ is being written"):
        assert resubmit(runs, "--from-scratch") == 2
        assert f"work on {runs[1].name}, so nothing was removed or submitted" in capsys.readouterr().err
    assert content(runs[1]) == before
