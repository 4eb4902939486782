"""The records of a sweep's directory, after users, full disks and other programs have changed it."""

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import tensorflow as tf

from jobs.cluster.own_job import OwnJob
from jobs.execution.run_job import run_job
from jobs.records import attempts, submissions
from jobs.records.record_file import RecordError
from jobs.records.run_directory import Run
from pianogen.errors import UsageError
from pianogen.lock import Owner
from pianogen.store import Split
from pianogen.training import loop
from tests.support.made_music import made_store
from tests.support.paths import PROGRAMS
from tests.support.processes import NO_SMALL_DISK, finished, may_mount, on_small_disk
from tests.support.runs import SETTINGS, attempt, copy_of, create_runs, prepare, state_of

SPLITS = [Split.TRAIN] * 4 + [Split.VALID]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return made_store(tmp_path / "corpus.h5", SPLITS)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is done, with batches longer than its epochs; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("finished")
    store = made_store(folder / "corpus.h5", SPLITS)
    training = {"batch": 1_000, "epochs": 10}
    run = prepare(folder / "sweep", store, training=training, checkpoints={"every_iterations": 1})
    assert finished(attempt(run)).returncode == 0, state_of(run)
    return run


def test_copy_of_a_run_is_refused(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    shutil.copytree(run.path, run.path.with_name(run.name + ".bak"))
    with pytest.raises(UsageError, match="are the same run; move the copy out"):
        create_runs(tmp_path / "sweep", store, SETTINGS)


def test_renamed_run_is_refused(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    run.path.rename(run.path.with_name("best"))
    with pytest.raises(UsageError, match="best is not named NUMBER-LABEL"):
        create_runs(tmp_path / "sweep", store, SETTINGS)


def test_number_of_a_removed_run_is_not_used_again(tmp_path: Path, store: Path) -> None:
    """The job of the removed run may still be in the queue."""
    run = prepare(tmp_path / "sweep", store)
    submissions.record(submissions.create_folder(tmp_path / "sweep" / "jobs", "train"), {"815": run.name})
    shutil.rmtree(run.path)
    (again,) = create_runs(tmp_path / "sweep", store, SETTINGS)
    assert again.name == "0001-base"


def test_directory_of_a_killed_submission_is_used_again(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "sweep"
    submissions.create_folder(out / "jobs", "train")  # killed before sbatch accepted the jobs
    run = prepare(out, store)
    run.config_file.unlink()  # killed while it wrote the run
    (again,) = create_runs(out, store, SETTINGS)
    assert again == run
    assert state_of(again) == ("waiting", "not submitted")


def test_jobs_without_a_slurm_to_query_are_neither_lost_nor_started_again(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status of a sweep of a cluster on a machine without Slurm."""
    run = prepare(tmp_path / "sweep", store)
    folder = submissions.create_folder(tmp_path / "sweep" / "jobs", "train")
    submissions.record(folder, {"815": run.name})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert state_of(run) == ("waiting", "job 815 cannot be queried: Slurm is not installed on this machine")
    attempts.begin_attempt(run, OwnJob("815"), folder.name)
    assert state_of(run) == ("running", "job 815 cannot be queried: Slurm is not installed on this machine")


def test_submission_with_a_moved_store_updates_its_path(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    before = run.read_provenance()
    moved = store.rename(tmp_path / "moved.h5")
    create_runs(tmp_path / "sweep", moved, SETTINGS)
    assert run.read_provenance() == replace(before, store=replace(before.store, path=str(moved)))


@pytest.mark.parametrize("name", ["provenance.json", "result.json"])
@pytest.mark.parametrize("content", ['{"attempts": [', '{"attempts": []}', "[]"])
def test_damaged_record_is_named(tmp_path: Path, store: Path, name: str, content: str) -> None:
    run = prepare(tmp_path / "sweep", store)
    (run.path / name).write_text(content)
    with pytest.raises(RecordError, match=f"{name} cannot be read"):
        state_of(run)


def test_damaged_list_of_jobs_is_named(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    folder = submissions.create_folder(tmp_path / "sweep" / "jobs", "train")
    (folder / "jobs.json").write_text("[1]")
    with pytest.raises(RecordError, match=r"jobs\.json cannot be read"):
        state_of(run)


def test_run_without_its_result_is_not_done(tmp_path: Path, finished_run: Run) -> None:
    run = copy_of(finished_run, tmp_path)
    (run.path / "result.json").unlink()
    assert state_of(run) == ("running", "finished; result.json is not visible on this machine yet")
    provenance = run.read_provenance()
    old = replace(provenance.attempts[-1], ended="2001-01-01T00:00:00+0000")
    run.write_provenance(replace(provenance, attempts=[old]))
    assert state_of(run) == ("failed", "finished, but result.json was removed; resubmit to write it again")
    assert finished(attempt(run)).returncode == 0, state_of(run)
    assert state_of(run) == ("done", "")
    assert run.read_result() == finished_run.read_result()


def test_removed_metrics_stop_a_run(tmp_path: Path, finished_run: Run) -> None:
    run = copy_of(finished_run, tmp_path)
    (run.path / "result.json").unlink()
    metrics = (run.path / "metrics.csv").rename(tmp_path / "metrics.csv")
    assert finished(attempt(run)).returncode == 1
    assert "metrics.csv has 0 epochs" in state_of(run)[1]
    metrics.rename(run.path / "metrics.csv")
    assert finished(attempt(run)).returncode == 0, state_of(run)
    assert (run.path / "result.json").read_bytes() == (finished_run.path / "result.json").read_bytes()


def test_log_of_an_attempt_has_times_and_levels(finished_run: Run) -> None:
    log = finished_run.path / finished_run.read_provenance().attempts[-1].log
    first = log.read_text().splitlines()[0]
    assert first[:4].isdecimal(), first
    assert first.split(maxsplit=2)[2] == f"INFO attempt on {finished_run.path}: outside of Slurm"


@pytest.mark.parametrize("cause", [MemoryError("no 9 GB"), tf.errors.ResourceExhaustedError(None, None, "no 9 GB")])
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_out_of_memory_names_the_setting_that_requests_memory(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception, is_wrapped: bool
) -> None:
    run = prepare(tmp_path / "sweep", store, slurm={"cpus_per_task": 1, "memory_gb": 7})

    def train(*arguments: object) -> None:
        del arguments
        if is_wrapped:
            raise loop.TrainingError("out of memory (no 9 GB): request more memory") from cause
        raise cause

    monkeypatch.setattr(loop, "train", train)
    with pytest.raises(loop.TrainingError if is_wrapped else type(cause)):
        run_job(str(run.path))
    state, reason = state_of(run)
    assert state == "failed"
    assert reason.startswith("out of memory (")
    assert "no 9 GB" in reason
    assert "request more memory (slurm.memory_gb is 7); see " in reason


@pytest.mark.skipif(not may_mount(), reason=NO_SMALL_DISK)
def test_full_disk_is_named_and_costs_no_checkpoint(tmp_path: Path, store: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"{sys.executable} {PROGRAMS / 'full_disk.py'} '{disk}' '{store}'"
    done = finished(on_small_disk(disk, "4m", script))
    assert done.returncode == 0, done.stderr
    while_full, with_space = done.stdout.splitlines()[-2:]
    assert while_full.startswith("failed ")
    assert "No space left on device" in while_full
    assert with_space.startswith("waiting ")
    assert "not queued" in with_space


def test_lock_of_a_process_on_another_machine_is_trusted_for_a_while(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    attempts.begin_attempt(run, OwnJob(), "")
    owner = Owner("n7", machine="another", pid=7, start_ticks="1", locked_at="2026-01-01 00:00:00")
    run.lock.write_text(json.dumps(asdict(owner)))
    assert state_of(run) == ("running", "starting")
    refused = finished(attempt(run))
    assert refused.returncode == 1
    assert "is being trained by process 7 on n7" in refused.stderr
    run.lock.unlink()
    assert state_of(run)[0] == "failed"
    assert Run(run.path).read_provenance().attempts[-1].log == "log/attempt-01.log"
