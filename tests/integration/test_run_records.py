"""What users, full disks and other programs do to a sweep's directory is noticed, and nothing is taken for something else."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from jobs.configuration import grid
from jobs.records import run_directory, submissions
from jobs.records.run_directory import Run
from pianogen.errors import UsageError
from pianogen.lock import Owner
from pianogen.store import Split, Store
from tests.support.made_music import made_store
from tests.support.paths import PROGRAMS
from tests.support.processes import NO_SMALL_DISK, finished, may_mount, on_small_disk
from tests.support.runs import SETTINGS, attempt, prepare, state_of

SPLITS = [Split.TRAIN] * 4 + [Split.VALID]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return made_store(tmp_path / "corpus.h5", SPLITS)


def prepare_again(out: Path, store: Path) -> run_directory.Prepared:
    with Store(store) as opened:
        variations = grid.expand(SETTINGS, Path("test"))
        return run_directory.prepare_runs(out, SETTINGS, variations, opened, taken=submissions.named(out / "jobs"))


def test_copy_of_a_run_is_refused(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    shutil.copytree(run.path, run.path.with_name(run.name + ".bak"))
    with pytest.raises(UsageError, match="are the same run; move the copy out"):
        prepare_again(tmp_path / "sweep", store)


def test_name_of_a_removed_run_is_not_given_again(tmp_path: Path, store: Path) -> None:
    """A job that was queued for the old one would be taken for one of the new."""
    run = prepare(tmp_path / "sweep", store)
    submissions.record(submissions.begin(tmp_path / "sweep" / "jobs", "train"), {"815": run.name})
    shutil.rmtree(run.path)
    (again,) = prepare_again(tmp_path / "sweep", store).runs
    assert again.name == "0001-base"


def test_jobs_that_cannot_be_asked_about_are_neither_lost_nor_started_again(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of a cluster, looked at from a machine without Slurm."""
    run = prepare(tmp_path / "sweep", store)
    folder = submissions.begin(tmp_path / "sweep" / "jobs", "train")
    submissions.record(folder, {"815": run.name})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert state_of(run) == ("waiting", "job 815 cannot be asked about from here: there is no Slurm")
    run_directory.begin_attempt(run, "815", 0, folder.name)
    assert state_of(run) == ("running", "job 815 cannot be asked about from here: there is no Slurm")


def test_moved_store_is_found_when_submitted_again(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    before = run.read_provenance()
    moved = store.rename(tmp_path / "moved.h5")
    prepared = prepare_again(tmp_path / "sweep", moved)
    assert run.read_provenance()["store"]["path"] == str(moved)
    prepared.undo()
    assert run.read_provenance() == before


@pytest.mark.parametrize("name", ["provenance.json", "result.json"])
def test_damaged_record_is_named(tmp_path: Path, store: Path, name: str) -> None:
    run = prepare(tmp_path / "sweep", store)
    (run.path / name).write_text('{"attempts": [')
    with pytest.raises(run_directory.RecordError, match=f"{name} cannot be read"):
        state_of(run)


def test_result_that_was_removed_is_not_done(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store, training={"batch": 8, "max_iterations": 5})
    assert finished(attempt(run)).returncode == 0
    (run.path / "result.json").unlink()
    assert state_of(run) == ("running", "it has ended, and its result is not to be seen yet")
    record = run.read_provenance()
    record["attempts"][-1]["ended"] = "2001-01-01T00:00:00+0000"
    run.write_provenance(record)
    assert state_of(run)[0] == "failed"
    assert finished(attempt(run)).returncode == 0
    assert state_of(run) == ("done", "")


def test_metrics_that_were_removed_stop_a_run(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store, training={"batch": 8, "epochs": 3})
    assert finished(attempt(run)).returncode == 0
    expected = (run.path / "result.json").read_bytes()
    (run.path / "result.json").unlink()
    metrics = (run.path / "metrics.csv").rename(tmp_path / "metrics.csv")
    assert finished(attempt(run)).returncode == 1
    assert "metrics.csv has 0 epochs" in state_of(run)[1]
    metrics.rename(run.path / "metrics.csv")
    assert finished(attempt(run)).returncode == 0
    assert (run.path / "result.json").read_bytes() == expected


def test_run_with_batches_longer_than_epochs_goes_on(tmp_path: Path, store: Path) -> None:
    training = {"batch": 1_000, "epochs": 10}
    run = prepare(tmp_path / "sweep", store, training=training, checkpoints={"every_iterations": 1})
    assert finished(attempt(run)).returncode == 0
    (run.path / "result.json").unlink()
    assert finished(attempt(run)).returncode == 0, state_of(run)


@pytest.mark.skipif(not may_mount(), reason=NO_SMALL_DISK)
def test_full_disk_is_named_and_costs_nothing(tmp_path: Path, store: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"python {PROGRAMS / 'full_disk.py'} '{disk}' '{store}'"
    done = finished(on_small_disk(disk, "4m", script))
    assert done.returncode == 0, done.stderr
    full, then = done.stdout.splitlines()[-2:]
    assert full.startswith("failed ")
    assert "No space left on device" in full
    assert then.startswith("waiting received a shutdown signal; checkpoint written at iteration")


def test_lock_of_a_process_elsewhere_is_believed_for_a_while(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    run_directory.begin_attempt(run, "", 0)
    owner = Owner("n7", machine="another", pid=7, start_ticks="1", locked_at="2026-01-01 00:00:00")
    run.lock.write_text(json.dumps(asdict(owner)))
    assert state_of(run) == ("running", "it is starting")
    refused = finished(attempt(run))
    assert refused.returncode == 1
    assert "is being trained by process 7 on n7" in refused.stderr
    run.lock.unlink()
    assert state_of(run)[0] == "failed"
    assert Run(run.path).read_provenance()["attempts"][-1]["log"] == "log/attempt-01.log"
