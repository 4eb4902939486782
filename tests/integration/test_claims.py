"""Which job or process trains a run: records of jobs and locks, on one cluster and on several."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from jobs.cluster import own_job
from jobs.cluster.own_job import OwnJob
from jobs.execution import claim
from jobs.execution.run_job import ProgressError, run_job
from jobs.records import attempts, submissions, sweep_directory
from jobs.records.result import Result
from jobs.records.run_directory import Run
from pianogen.errors import Interrupted
from pianogen.lock import Owner
from pianogen.store import Split
from pianogen.training import loop
from tests.support.made_music import made_store
from tests.support.processes import finished
from tests.support.runs import attempt, prepare, state_of

SPLITS = [Split.TRAIN] * 4 + [Split.VALID]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return made_store(tmp_path / "corpus.h5", SPLITS)


def test_jobs_without_a_slurm_to_query_are_neither_lost_nor_started_again(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status of a sweep of a cluster on a machine without Slurm."""
    run = prepare(tmp_path / "sweep", store)
    folder = submissions.create_folder(tmp_path / "sweep" / "jobs", "train")
    submissions.record(folder, "sweep-train", "c1", {"815": [run.name]})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert state_of(run) == ("waiting", "job 815 cannot be queried: Slurm is not installed on this machine")
    attempts.begin_attempt(run, OwnJob("815"), folder.name)
    assert state_of(run) == ("running", "job 815 cannot be queried: Slurm is not installed on this machine")


def test_lock_of_a_process_on_another_machine_is_trusted_for_a_while(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    attempts.begin_attempt(run, OwnJob(), "")
    owner = Owner("n7", machine="another", pid=7, start_ticks="1", locked_at="2026-01-01 00:00:00")
    run.lock.write_text(json.dumps(asdict(owner)))
    assert state_of(run) == ("running", "process 7 on n7 holds its lock; this machine has no other record of it")
    refused = finished(attempt(run))
    assert refused.returncode == 1
    assert "is being trained by process 7 on n7" in refused.stderr
    run.lock.unlink()
    assert state_of(run)[0] == "failed"
    assert Run(run.path).read_provenance().attempts[-1].log == "log/attempt-01.log"


@pytest.mark.parametrize(("first_name", "second_name"), [("0000-train", "0001-train"), ("9999-train", "10000-train")])
def test_job_trains_until_one_that_was_queued_later_has_begun_an_attempt(
    tmp_path: Path, store: Path, first_name: str, second_name: str
) -> None:
    """Another cluster may have queued the run again; Slurm requeues the first job meanwhile."""
    run = prepare(tmp_path / "sweep", store)
    jobs = run.sweep / "jobs"
    (jobs / first_name).mkdir(parents=True)
    assert submissions.create_folder(jobs, "train").name == second_name
    for job, name in (("815_0", first_name), ("9_0", second_name)):
        submissions.record(jobs / name, "sweep-train", "c1", {job: [run.name]})
    assert [job.id for job in submissions.training_jobs(run.sweep)[run.name]] == ["815_0", "9_0"]
    first = OwnJob("815_0", folder=jobs / first_name)
    assert claim.find_submission(run, first) == first_name
    with claim.exclusive(run, first):
        pass
    attempts.begin_attempt(run, OwnJob("9_0"), second_name)
    attempts.end_attempt(run, error="no space left")
    with pytest.raises(claim.ClaimError, match="job 9_0 was queued for it later and has trained it"), claim.exclusive(run, first):
        pass


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_JOB_ID": "7", "SUBMITIT_FOLDER": "/jobs"}, OwnJob("7", folder=Path("/jobs"))),
        (
            {"SLURM_JOB_ID": "7", "SUBMITIT_FOLDER": "/jobs", "SLURM_RESTART_COUNT": "2", "SLURM_PROCID": ""},
            OwnJob("7", restarts=2, folder=Path("/jobs")),
        ),
        ({"SLURM_JOB_ID": "7", "SUBMITIT_FOLDER": "/jobs", "SLURM_RESTART_COUNT": ""}, OwnJob("7", folder=Path("/jobs"))),
        ({}, OwnJob()),
        ({"SLURM_JOB_ID": "7"}, OwnJob()),
    ],
)
def test_variables_of_a_job_may_be_empty_or_left_over(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: OwnJob
) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_"))]:
        monkeypatch.delenv(name)
    for name, value in ({"SUBMITIT_EXECUTOR": "slurm"} | variables).items():
        monkeypatch.setenv(name, value)
    assert own_job.own_job() == expected
    assert own_job.batch_job().restarts == expected.restarts


def in_job(monkeypatch: pytest.MonkeyPatch, run: Run, job: str) -> Path:
    """Lets this process be a Slurm job of a submission that has no record yet; the folder of the submission."""
    folder = submissions.create_folder(run.sweep / "jobs", "train")
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": job, "SUBMITIT_FOLDER": str(folder)}.items():
        monkeypatch.setenv(name, value)
    return folder


def test_job_that_starts_before_its_submission_has_removed_an_old_result_trains(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `resubmit --from-scratch`, which writes the runs when Slurm has accepted the jobs."""
    run = prepare(tmp_path / "sweep", store)
    run.write_result(Result("ckpt-1", 1, 1, {"loss": 0.5}, None, None, {}, []))
    folder = in_job(monkeypatch, run, "815")
    started = threading.Event()

    def submit() -> None:
        assert started.wait(30), "the job looks for its record"
        run.remove_results()
        submissions.record(folder, "sweep-train", "c1", {"815": [run.name]})

    def read_all(jobs: Path) -> list[submissions.Submission]:
        started.set()
        return read(jobs)

    read = submissions.read_all
    monkeypatch.setattr(submissions, "read_all", read_all)
    monkeypatch.setattr(loop, "train", lambda *arguments: pytest.fail(f"it trains {arguments[3]}"))
    with ThreadPoolExecutor() as pool:
        submission = pool.submit(submit)
        with pytest.raises(pytest.fail.Exception, match=f"it trains {run.path}"):
            run_job(str(run.path))
        submission.result()


def test_attempts_of_an_earlier_submission_do_not_count_as_without_progress(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(tmp_path / "sweep", store, slurm={"extra": {"requeue": None, "no-requeue": True}})

    def train(*arguments: object) -> None:
        del arguments
        raise Interrupted("received a shutdown signal before a checkpoint was written")

    monkeypatch.setattr(loop, "train", train)
    for job in ("815", "816"):
        submissions.record(in_job(monkeypatch, run, job), "sweep-train", "c1", {job: [run.name]})
        for _ in range(9):
            run_job(str(run.path))
    with pytest.raises(ProgressError, match="10 attempts in a row made no progress"):
        run_job(str(run.path))


def test_job_of_a_copied_sweep_is_that_of_the_original(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepare(tmp_path / "sweep", store)
    folder = submissions.create_folder(run.sweep / "jobs", "train")
    submissions.record(folder, "sweep-train", "c1", {"815": [run.name]})
    monkeypatch.setenv("PATH", str(tmp_path))
    copied = Run(Path(shutil.copytree(run.sweep, tmp_path / "copy")) / run.name)
    assert state_of(run)[1].startswith("job 815 cannot be queried")
    assert state_of(copied) == ("waiting", "not queued: job 815 never started, and Slurm has no record of it; resubmit")
    (renamed,) = sweep_directory.open_runs(run.sweep.rename(tmp_path / "renamed"))
    assert state_of(renamed)[1].startswith("job 815 cannot be queried")
