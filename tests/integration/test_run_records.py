"""The records of a sweep's directory, after users, full disks and other programs have changed it."""

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from jobs import sweep
from jobs.cluster.own_job import OwnJob
from jobs.execution import claim
from jobs.execution.run_job import run_job
from jobs.records import attempts, status_table, submissions
from jobs.records.provenance import read_git_state
from jobs.records.record_file import RecordError
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.usage import Requested
from pianogen import command, progress
from pianogen.errors import UsageError
from pianogen.midi.writer import write_midi
from pianogen.progress import Progress, TrainingFigures
from pianogen.store import Split, Store
from pianogen.training import loop
from tests.support.made_music import made_roll, made_store
from tests.support.paths import PROGRAMS
from tests.support.processes import NO_SMALL_DISK, finished, may_mount, on_small_disk
from tests.support.runs import SETTINGS, attempt, copy_of, create_runs, prepare, state_of

SPLITS = [Split.TRAIN] * 4 + [Split.VALID]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return made_store(tmp_path / "corpus.h5", SPLITS)


FINISHED: dict[str, Any] = {"training": {"batch": 1_000, "epochs": 10}, "checkpoints": {"every_iterations": 1}}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is done, with batches longer than its epochs; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("finished")
    store = made_store(folder / "corpus.h5", SPLITS)
    run = prepare(folder / "sweep", store, **FINISHED)
    assert finished(attempt(run)).returncode == 0, state_of(run)
    return run


def test_copy_of_a_run_is_refused(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    shutil.copytree(run.path, run.path.with_name(run.name + ".bak"))
    with pytest.raises(UsageError, match="are the same run; move the copy out"):
        create_runs(tmp_path / "sweep", store, SETTINGS)


def test_status_shows_brackets_and_infinite_figures(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets are markup for the library that prints the table, and JSON has no infinite numbers."""
    out = tmp_path / "exp[lr]"
    failed, done = create_runs(out, store, SETTINGS | {"grid": {"training.seed": [0, 1]}})
    message = "[/job:worker/replica:0/task:1] is gone [bold] :smile:"
    attempts.begin_attempt(failed, OwnJob(), "")
    attempts.end_attempt(failed, error=message)
    figures = {"epoch": 1, "loss": 0.5, "valid_loss": math.inf}
    done.write_result(Result("ckpt-1", 1, 1, figures, math.inf, None, {"valid": {"network": {"nats_per_step": math.nan}}}, []))
    assert status_table.show(out, as_json=False) == 0
    assert message in capsys.readouterr().out
    status_table.show(out, as_json=True)
    rows = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [row["reason"] for row in rows] == [message, ""]
    assert (rows[1]["loss"], rows[1]["valid_loss"], rows[1]["best_valid_loss"], rows[1]["valid_nats_per_step"]) == (
        0.5,
        *[None] * 3,
    )


def test_status_shows_the_figures_of_a_run_that_trains(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "RECORD_INTERVAL_S", 0)
    run = prepare(tmp_path / "sweep", store)
    with claim.exclusive(run, OwnJob()):
        attempts.begin_attempt(run, OwnJob(), "")
        with Progress("train", 4_000, "iterations", record=run.progress) as bar:
            bar.advance(400, TrainingFigures(1, 10, 0.75))
            assert status_table.show(run.sweep, as_json=False) == 0
            assert re.search(r" 0\.75 +400 of 4,000 iterations *\n", capsys.readouterr().out), "the rate is not known yet"
            bar.advance(800, TrainingFigures(3, 10, 0.51234, 0.25))
            assert status_table.show(run.sweep, as_json=False) == 0
            assert status_table.show(run.sweep, as_json=True) == 0
    table, _, text = capsys.readouterr().out.partition("[")
    columns = r"3 of 10 +0\.5123 +0\.25 +1,200 of 4,000 iterations, \S+/s, \d+ s remaining"
    assert re.search(rf"0000-base +running +{columns}", table), table
    (row,) = json.loads(f"[{text}")
    assert row["progress"].startswith("1,200 of 4,000 iterations, epoch 3 of 10, loss 0.5123, valid loss 0.25, ")
    assert (row["epoch"], row["loss"], row["valid_loss"]) == (None, None, None), "these are figures of the result"


def git(folder: Path, *arguments: str) -> bytes:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True).stdout


def make_checkout(folder: Path) -> None:
    """A repository with an uncommitted change."""
    folder.mkdir(exist_ok=True)
    git(folder, "init", "--quiet")
    (folder / "data.txt").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=data")
    (folder / "data.txt").write_text("two\n")


def test_long_diff_of_the_checkout_is_cut_and_hashed(tmp_path: Path) -> None:
    make_checkout(tmp_path)
    state = read_git_state(tmp_path)
    assert state is not None
    assert (state.diff, state.diff_sha256) == (git(tmp_path, "diff", "HEAD").decode(), None)
    (tmp_path / "data.txt").write_text("two\n" * 200_000)
    state = read_git_state(tmp_path)
    assert state is not None
    diff = git(tmp_path, "diff", "HEAD")
    assert len(state.diff) == 65_536
    assert diff.startswith(state.diff.encode())
    assert state.diff_sha256 == hashlib.sha256(diff).hexdigest()


def test_record_of_the_checkout_does_not_depend_on_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    make_checkout(checkout)
    expected = read_git_state(checkout)
    assert expected is not None
    make_checkout(tmp_path / "other")
    settings = {"diff.external": "false", "color.ui": "always", "diff.noprefix": "true", "diff.mnemonicPrefix": "true"}
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in settings.items():
        git(checkout, "config", "--global", name, value)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "cat")  # which would wait for the terminal
    assert read_git_state(checkout) == expected
    if os.getuid() == 0:
        shutil.chown(checkout, "nobody")
    assert read_git_state(checkout) == expected


def test_checkout_of_another_project_is_not_that_of_an_installed_package(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_checkout(tmp_path)
    package = tmp_path / ".venv" / "pianogen"
    package.mkdir(parents=True)
    assert read_git_state(package) is None
    assert caplog.text == ""
    (tmp_path / ".git" / "HEAD").write_text("damaged")
    assert read_git_state(tmp_path) is None
    assert f"provenance.json has no commit of {tmp_path}, because git failed: fatal: not a git repository" in caplog.text


def test_failure_after_training_is_repaired_without_training_again(
    tmp_path: Path, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The primer is removed while the run trains; `resubmit` with another one draws the samples of the trained model."""
    primer = tmp_path / "theme.mid"
    primer.write_bytes(write_midi(made_roll(40, 30)))
    out = tmp_path / "sweep"
    run = prepare(out, store, sampling={"num": 1, "steps": 4, "primer": str(primer)}, training={"batch": 8, "max_iterations": 2})
    primer.write_bytes(write_midi(made_roll(41, 30)))
    assert finished(attempt(run)).returncode == 1
    assert f"{primer} has changed since {run.path} was submitted" in str(run.read_provenance().attempts[-1].error)
    primer.unlink()
    (run.path / "samples.h5").mkdir()  # in the way of the samples
    resubmit = ["resubmit", str(out), "--cluster", "local"]
    assert command.run(sweep.main, resubmit) == 2
    assert f"sampling.primer {primer} cannot be read" in capfd.readouterr().err
    assert command.run(sweep.main, [*resubmit, "sampling.primer=none.mid"]) == 2
    assert "none.mid is not a file" in capfd.readouterr().err
    assert command.run(sweep.main, [*resubmit, "training.seed=3"]) == 2
    assert "has training.seed=3, found 0; to train with another value" in capfd.readouterr().err
    assert command.run(sweep.main, [*resubmit, "sampling.primer=null"]) == 1
    metrics = (run.path / "metrics.csv").read_bytes()
    (run.path / "samples.h5").rmdir()
    assert command.run(sweep.main, [*resubmit, "sampling.steps=6"]) == 0
    assert (run.path / "metrics.csv").read_bytes() == metrics
    attempts_of_run = run.read_provenance().attempts
    assert len(attempts_of_run) == 3
    assert attempts_of_run[-1].iterations_per_s is None  # it trained no iteration
    with Store(run.path / "samples.h5") as samples:
        assert samples.pieces.steps.tolist() == [6]
    create_runs(out, store, SETTINGS | {"sampling": {"num": 1, "steps": 6}, "training": {"batch": 8, "max_iterations": 2}})
    assert len(list(out.glob("*/config.yaml"))) == 1  # the sweep with this sampling is this run


def test_renamed_run_is_refused(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    run.path.rename(run.path.with_name("best"))
    with pytest.raises(UsageError, match="best is not named NUMBER-LABEL"):
        create_runs(tmp_path / "sweep", store, SETTINGS)


def test_number_of_a_removed_run_is_not_used_again(tmp_path: Path, store: Path) -> None:
    """The job of the removed run may still be in the queue."""
    run = prepare(tmp_path / "sweep", store)
    submissions.record(submissions.create_folder(tmp_path / "sweep" / "jobs", "train"), "sweep-train", "c1", {"815": [run.name]})
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


def test_run_without_its_result_is_not_done_and_needs_its_metrics(tmp_path: Path, finished_run: Run) -> None:
    run = copy_of(finished_run, tmp_path)
    (run.path / "result.json").unlink()
    assert state_of(run) == ("running", "finished; result.json is not visible on this machine yet")
    provenance = run.read_provenance()
    old = replace(provenance.attempts[-1], ended="2001-01-01T00:00:00+0000")
    run.write_provenance(replace(provenance, attempts=[old]))
    assert state_of(run) == ("failed", "finished, but result.json was removed; resubmit to write it again")
    metrics = (run.path / "metrics.csv").rename(tmp_path / "metrics.csv")
    assert finished(attempt(run)).returncode == 1
    assert "metrics.csv has 0 epochs" in state_of(run)[1]
    metrics.rename(run.path / "metrics.csv")
    assert finished(attempt(run)).returncode == 0, state_of(run)
    assert state_of(run) == ("done", "")
    assert (run.path / "result.json").read_bytes() == (finished_run.path / "result.json").read_bytes()


def test_run_from_scratch_equals_its_first_training(tmp_path: Path, finished_run: Run) -> None:
    run = copy_of(finished_run, tmp_path)
    (run.path / "checkpoints" / "checkpoint").write_bytes(bytes(100))
    assert command.run(sweep.main, ["resubmit", str(run.path), "--from-scratch", "--cluster", "local"]) == 0
    assert state_of(run) == ("done", "")
    for name in ("metrics.csv", "result.json"):
        assert (run.path / name).read_bytes() == (finished_run.path / name).read_bytes()
    first, second = run.read_provenance().attempts
    assert second.iterations_per_s is not None, "it trained again"
    assert first.usage == finished_run.read_provenance().attempts[0].usage


def test_training_on_a_local_copy_has_the_same_result_and_removes_the_copy(tmp_path: Path, finished_run: Run) -> None:
    local = tmp_path / "local"
    local.mkdir()
    store = Path(finished_run.read_provenance().store.path)
    run = prepare(tmp_path / "copied", store, **FINISHED, local_copy=True)
    assert finished(attempt(run), TMPDIR=str(local)).returncode == 0
    assert run.read_result() == finished_run.read_result()
    assert list(local.iterdir()) == []


def test_log_of_an_attempt_has_times_and_levels(finished_run: Run) -> None:
    log = finished_run.path / finished_run.read_provenance().attempts[-1].log
    first = log.read_text().splitlines()[0]
    assert first[:4].isdecimal(), first
    assert first.split(maxsplit=2)[2] == f"INFO new attempt of {finished_run.path}: outside of Slurm"


def test_attempt_records_the_resources_that_it_used(finished_run: Run) -> None:
    (attempt,) = finished_run.read_provenance().attempts
    assert attempt.usage is not None
    assert attempt.usage.requested == Requested(cpus=1, memory_gb=16, timeout_min=240)
    assert attempt.usage.memory_gb > 0.25, "TensorFlow alone takes as much"
    assert attempt.usage.cpu_s > 0
    assert (attempt.usage.gpu_memory_gb, attempt.usage.gpu_percent) == (None, None)


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


def test_submission_writes_nothing_beside_its_sweep(tmp_path: Path) -> None:
    with submissions.exclusive(tmp_path / "runs" / "mine"):
        assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]
        assert submissions.is_being_submitted(tmp_path / "runs" / "mine")
    assert list(tmp_path.iterdir()) == []


def test_watch_prints_a_line_for_every_run_where_there_is_no_terminal(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as many services for continuous integration do
    run = prepare(tmp_path / "sweep", store)
    attempts.begin_attempt(run, OwnJob(), "")
    attempts.end_attempt(run, error="no space left on [/job:worker]")
    assert status_table.watch(run.sweep) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line[20:] == "0000-base  failed  no space left on [/job:worker]"


def test_unwritable_files_that_only_show_progress_do_not_end_a_run(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store, training={"batch": 8, "epochs": 2})
    (run.path / "log").mkdir()
    for name in ("curves.png", "log/progress.json", "log/attempt-01.log"):
        (run.path / name / "in the way").mkdir(parents=True)
    (run.path / "tensorboard").write_text("in the way")
    done = finished(attempt(run))
    assert done.returncode == 0, done.stderr
    assert state_of(run) == ("done", "")
    for name in ("curves.png", "progress.json"):
        assert f"{name} was not written" in done.stderr
    assert "TensorBoard failed in start, and is left out for 60 s" in done.stderr
    assert "attempt-01.log cannot be written" in done.stderr
