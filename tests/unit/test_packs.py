"""Packed jobs without Slurm: the state of each of their runs, and what a job does with runs that fail or were cancelled."""

import json
from pathlib import Path

import pytest

from jobs.cluster.job_states import JobKey, JobPhase, JobState
from jobs.configuration.run_config import SlurmConfig
from jobs.execution import pack
from jobs.records import packs, status, submissions
from jobs.records.packs import Pack, ProcessEnd
from jobs.records.provenance import Attempt, Provenance, StoreReference
from jobs.records.run_directory import Run
from jobs.records.run_state import State, decide
from jobs.records.submissions import LiveJob, TrainingJob
from tests.support import fake_slurm

RUNS = [f"{number:04d}-base" for number in range(4)]
FAILED, FINISHED, ACTIVE, LAST = RUNS
KILLED = ProcessEnd(restart=0, signal=9)
RECORD = Pack(restart=1, running=frozenset({ACTIVE}), ended={FAILED: KILLED, FINISHED: ProcessEnd(restart=1)})
KEY = JobKey("815_0", "mine-train", "c1")
RUNNING = JobState(JobPhase.RUNNING, "RUNNING", restarts=1)
PENDING = JobState(JobPhase.PENDING, "PENDING", "Resources", restarts=1)


def ended(state: str) -> JobState:
    return JobState(JobPhase.ENDED, state, restarts=1)


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    """The folder of the submission of a job of RUNS."""
    folder = submissions.create_folder(tmp_path / "jobs", "train")
    submissions.record(folder, KEY.name, KEY.cluster, {KEY.id: RUNS})
    return folder


def made_run(submission: Path, name: str, *attempts: Attempt) -> Run:
    run = Run(submission.parents[1] / name)
    run.path.mkdir()
    run.write_provenance(Provenance("1f", {}, StoreReference("corpus.h5", "2e"), ["submit"], None, {}, list(attempts)))
    return run


def status_of(submission: Path, name: str, state: JobState) -> tuple[State, str]:
    run, job = made_run(submission, name), TrainingJob(KEY, submission)
    return decide(status.read_facts(run, job, packs.state_of_run(submission, job.id, name, state)))


@pytest.mark.parametrize(
    ("name", "job_state", "state", "reason"),
    [
        (ACTIVE, RUNNING, "running", "starting as job 815_0"),
        (LAST, RUNNING, "waiting", "pending (other runs of its job first) as job 815_0"),
        (FAILED, RUNNING, "failed", "its process in job 815_0 exited without recording a result: signal 9 (SIGKILL); see "),
        (LAST, PENDING, "waiting", "pending (Resources) as job 815_0"),
        (FAILED, PENDING, "failed", "its process in job 815_0 exited without recording a result: signal 9 (SIGKILL); see "),
        (LAST, ended("TIMEOUT"), "waiting", "its job ended before it started (job 815_0); not queued: resubmit to resume"),
        (ACTIVE, ended("TIMEOUT"), "failed", "timed out before a checkpoint was written (job 815_0); raise slurm.timeout_min"),
        (LAST, ended("CANCELLED"), "waiting", "its job ended before it started (job 815_0); not queued: resubmit to resume"),
    ],
)
def test_state_of_a_run_is_that_of_its_process(submission: Path, name: str, job_state: JobState, state: str, reason: str) -> None:
    packs.write(submission, KEY.id, RECORD)
    assert packs.read(submission, KEY.id) == RECORD
    found, text = status_of(submission, name, job_state)
    assert (found, text[: len(reason)]) == (State(state), reason)


def test_states_of_an_earlier_start_of_the_job_do_not_count(submission: Path) -> None:
    """The job was requeued and has started again, or has failed to; it has not written its record yet."""
    packs.write(submission, KEY.id, RECORD)
    again = JobState(JobPhase.RUNNING, "RUNNING", restarts=2)
    assert packs.state_of_run(submission, KEY.id, ACTIVE, again).phase is JobPhase.PENDING
    failed = JobState(JobPhase.ENDED, "FAILED", exit_code=1, restarts=2)
    assert packs.state_of_run(submission, KEY.id, ACTIVE, failed) == failed
    assert packs.state_of_run(submission, KEY.id, FAILED, again).restarts == 0


def test_cancelled_run_waits_and_its_job_does_not_start_it(submission: Path) -> None:
    packs.cancel(submission, LAST)
    for state in (PENDING, RUNNING):
        assert packs.state_of_run(submission, KEY.id, LAST, state).state == "CANCELLED"
    packs.write(submission, KEY.id, Pack(restart=1, running=frozenset({LAST})))
    assert packs.state_of_run(submission, KEY.id, LAST, RUNNING) == RUNNING  # until it has written its checkpoint
    assert packs.state_of_run(submission, KEY.id, FINISHED, PENDING) == PENDING


def test_job_without_a_record_of_processes_has_one_run(submission: Path) -> None:
    assert packs.state_of_run(submission, KEY.id, RUNS[0], RUNNING) == RUNNING
    content = json.loads((submission / "jobs.json").read_text())
    (submission / "jobs.json").write_text(json.dumps(content | {"jobs": {KEY.id: FAILED}}))  # as before packed jobs
    assert list(submissions.training_jobs(submission.parents[1])) == [FAILED]


def test_job_is_cancelled_with_the_last_of_its_runs(submission: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = "".join(f"{text:60}" for text in (KEY.id, "RUNNING", "0", "None", "1", KEY.name, KEY.cluster))
    fake_slurm.install(monkeypatch, submission.parents[1] / "bin", squeue=f"echo '{columns}'")
    packs.write(submission, KEY.id, RECORD)
    runs = [Run(submission.parents[1] / name) for name in RUNS]
    assert submissions.live_jobs(runs[2:]) == [LiveJob(KEY.id, submission, [ACTIVE, LAST], has_others=False)]
    assert submissions.live_jobs(runs[:3]) == [LiveJob(KEY.id, submission, [ACTIVE], has_others=True)]
    assert submissions.live_jobs(runs[:2]) == []


def enter_job(submission: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process the job of RUNS."""
    variables = {"SUBMITIT_EXECUTOR": "slurm", "SUBMITIT_FOLDER": str(submission), "SLURM_JOB_ID": KEY.id, "SLURM_NTASKS": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def test_failed_run_does_not_stop_the_others_and_is_not_started_again(submission: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their records are damaged, and one of them was cancelled."""
    enter_job(submission, monkeypatch)
    runs = [made_run(submission, name) for name in RUNS[:3]]
    packs.cancel(submission, runs[1].name)
    for run in runs:
        (run.path / "provenance.json").write_text("damaged")
    with pytest.raises(pack.PackError, match=f"2 of 3 runs failed: {runs[0].name}, {runs[2].name}; see pianogen sweep status"):
        pack.run_pack(SlurmConfig(runs_per_job=3), runs)
    record = packs.read(submission, KEY.id)
    assert record == Pack(0, ended={run.name: ProcessEnd(0, exit_code=1) for run in (runs[0], runs[2])})
    for run in (runs[0], runs[2]):
        assert f"{run.path}/provenance.json cannot be read" in packs.log_file(submission, KEY.id, run.name).read_text()
    logs = list(submission.glob("*.log"))
    assert len(logs) == 2
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    before = [log.read_text() for log in logs]
    with pytest.raises(pack.PackError, match="2 of 3 runs failed"):
        pack.run_pack(SlurmConfig(runs_per_job=3), runs)
    assert [log.read_text() for log in logs] == before
