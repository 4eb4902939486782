"""Every case of a run's status, without Slurm: the table by plain values, and the records that lead to it."""

import csv
import json
import math
import os
import signal
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from jobs.cluster.job_states import JobKey, JobPhase, JobState
from jobs.records import status, status_table, sweep_directory
from jobs.records.held_out import Measure
from jobs.records.provenance import Attempt, Provenance, StoreReference
from jobs.records.record_file import RecordError
from jobs.records.result import Result
from jobs.records.run_directory import VISIBILITY_DELAY_S, Run
from jobs.records.run_state import Execution, RunFacts, State, decide
from jobs.records.run_usage import RunUsage
from jobs.records.status import Status
from jobs.records.status_table import Row
from jobs.records.submissions import TrainingJob
from pianogen.api.results import read_results
from pianogen.errors import UsageError
from pianogen.lock import BatchJob, Owner
from pianogen.progress import ProgressRecord

NOW = "2026-01-01T12:00:00+00:00"
STOPPED = "received a shutdown signal at iteration 7"
OPEN = Attempt(NOW, "n1", 42, job="815_0", restart=0, submission="0000-train", code="code-1", log="log/attempt-01.log")
FAILED = replace(OPEN, ended=NOW, error="no space left; see log")
INTERRUPTED = replace(OPEN, ended=NOW, interrupted=STOPPED)
FINISHED = replace(OPEN, ended=NOW)
RESULT = Result("ckpt-9", 100, 12, {"epoch": 1, "loss": 0.5}, None, 0.25, {"valid": {"network": {"nats_per_step": 7.5}}}, [])
TRAINING = ProgressRecord(done=5, total=10, rate=1, remaining_s=5, note="loss 1", has_ended=False)
PLACE = "it belongs to the cluster c1, and this is c2"
NO_SLURM = f"job 815_0 cannot be queried: {PLACE}"
KEY = JobKey("815_0", "sweep-train", "c1")


def ended(state: str, exit_code: int = 0, signal: int = 0) -> JobState:
    return JobState(JobPhase.ENDED, state, exit_code=exit_code, signal=signal)


def facts_of(execution: Execution, attempt: Attempt | None = None, job_state: JobState | None = None) -> RunFacts:
    return RunFacts(False, execution, "815_0", job_state, attempt, log=Path("LOG"))


OWNER = Owner("n1", machine="another", pid=42, start_ticks="1", locked_at=NOW, job=BatchJob("7"))
PENDING = JobState(JobPhase.PENDING, "PENDING", "Resources", restarts=1)


@pytest.mark.parametrize(
    ("facts", "state", "reason"),
    [
        (RunFacts(has_result=True), "done", ""),
        (RunFacts(), "waiting", "not submitted"),
        (facts_of(Execution.PENDING, None, PENDING), "waiting", "pending (Resources) as job 815_0"),
        (
            facts_of(Execution.PENDING, INTERRUPTED, PENDING),
            "waiting",
            f"requeued, pending (Resources) as job 815_0; previous attempt on n1: {STOPPED}",
        ),
        (
            facts_of(Execution.PENDING, OPEN, PENDING),
            "waiting",
            "requeued, pending (Resources) as job 815_0; previous attempt on n1: exited without recording a result",
        ),
        (
            facts_of(Execution.PENDING, replace(FAILED, job=""), PENDING),
            "waiting",
            "pending (Resources) as job 815_0; previous attempt on n1: no space left; see log",
        ),
        (facts_of(Execution.RUNNING, FAILED), "failed", "no space left; see log"),
        (facts_of(Execution.ENDED, FAILED, ended("FAILED")), "failed", "no space left; see log"),
        (facts_of(Execution.RUNNING, INTERRUPTED), "waiting", f"{STOPPED}; job 815_0 is being requeued"),
        (
            facts_of(Execution.ENDED, INTERRUPTED, ended("CANCELLED")),
            "waiting",
            f"{STOPPED}; not queued: resubmit to resume from the last checkpoint",
        ),
        (facts_of(Execution.ENDED, FINISHED), "running", "finished; result.json is not visible on this machine yet"),
        (
            replace(facts_of(Execution.ENDED, FINISHED), since_end_s=VISIBILITY_DELAY_S),
            "failed",
            "finished, but result.json was removed; resubmit to write it again",
        ),
        (facts_of(Execution.RUNNING), "running", "starting as job 815_0"),
        (facts_of(Execution.RUNNING, OPEN), "running", "starting"),
        (replace(facts_of(Execution.RUNNING, OPEN), progress=TRAINING), "running", ""),
        (
            replace(facts_of(Execution.RUNNING, OPEN), progress=replace(TRAINING, has_ended=True)),
            "running",
            "evaluating and drawing samples",
        ),
        (
            facts_of(Execution.ENDED, OPEN, ended("OUT_OF_MEMORY")),
            "failed",
            "out of memory (job 815_0); raise slurm.memory_gb, or lower training.batch, and resubmit; see LOG",
        ),
        (
            facts_of(Execution.ENDED, OPEN, ended("TIMEOUT")),
            "failed",
            "timed out before a checkpoint was written (job 815_0); raise slurm.timeout_min and resubmit; see LOG",
        ),
        (
            facts_of(Execution.ENDED, OPEN, ended("CANCELLED")),
            "waiting",
            "cancelled (job 815_0); not queued: resubmit to resume from the last checkpoint",
        ),
        (
            facts_of(Execution.ENDED, OPEN, ended("NODE_FAIL")),
            "failed",
            "node failed, and Slurm did not requeue the job (job 815_0); resubmit to resume from the last checkpoint; see LOG",
        ),
        (
            facts_of(Execution.ENDED, OPEN, ended("PREEMPTED")),
            "failed",
            "preempted, and Slurm did not requeue the job (job 815_0); resubmit to resume from the last checkpoint; see LOG",
        ),
        (
            facts_of(Execution.ENDED, OPEN, ended("FAILED", exit_code=1)),
            "failed",
            "job 815_0 exited without recording a result: exit code 1; see LOG",
        ),
        (
            replace(facts_of(Execution.ENDED, OPEN, ended("FAILED", signal=signal.SIGKILL)), last_line="Killed"),
            "failed",
            "job 815_0 exited without recording a result: signal 9 (SIGKILL), last line 'Killed'; see LOG",
        ),
        (
            facts_of(Execution.KILLED, replace(OPEN, job="")),
            "failed",
            "process 42 on n1 exited without recording a result; resubmit to resume from the last checkpoint; see LOG",
        ),
        (replace(facts_of(Execution.UNKNOWN), unqueried_reason=PLACE), "waiting", NO_SLURM),
        (replace(facts_of(Execution.UNKNOWN, OPEN), unqueried_reason=PLACE), "running", NO_SLURM),
        (replace(facts_of(Execution.UNKNOWN, INTERRUPTED), unqueried_reason=PLACE), "waiting", f"{STOPPED}; {NO_SLURM}"),
        (
            RunFacts(execution=Execution.LOCKED, owner=OWNER, attempt=FAILED),
            "running",
            "process 42 on n1, job 7 holds its lock; this machine has no other record of it",
        ),
        (
            facts_of(Execution.FORGOTTEN),
            "waiting",
            "not queued: job 815_0 never started, and Slurm has no record of it; resubmit",
        ),
        (
            facts_of(Execution.FORGOTTEN, OPEN),
            "failed",
            "job 815_0 exited without recording a result, and Slurm has no record of it; see LOG",
        ),
    ],
)
def test_state_and_reason_follow_from_the_facts(facts: RunFacts, state: str, reason: str) -> None:
    assert decide(facts) == (State(state), reason)


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    (tmp_path / "jobs" / "0000-train").mkdir(parents=True)
    return TrainingJob(KEY, tmp_path / "jobs" / "0000-train")


def made_run(tmp_path: Path, *attempts: Attempt) -> Run:
    """A run on the disk with these attempts."""
    run = Run(tmp_path / "0000-base")
    (run.path / "log").mkdir(parents=True)
    run.write_provenance(
        Provenance("1f", {"model": {"name": "base"}}, StoreReference("corpus.h5", "2e"), ["submit"], None, {}, list(attempts))
    )
    return run


def test_records_survive_a_round_trip(tmp_path: Path) -> None:
    complete = replace(FINISHED, devices=["/cpu:0"], iterations_per_s=2.5, cpu_s=9.5)
    run = made_run(tmp_path, OPEN, INTERRUPTED, FAILED, complete)
    assert run.read_provenance().attempts == [OPEN, INTERRUPTED, FAILED, complete]
    run.write_result(RESULT)
    assert repr(run.read_result()) == repr(RESULT)  # an epoch stays an int
    assert RESULT.figure("valid", Measure.NATS) == 7.5
    assert RESULT.figure("test", Measure.NATS) is None


@pytest.mark.parametrize(
    ("record", "place", "value"),
    [
        ("provenance.json", ("config",), None),
        ("provenance.json", ("config", "model"), []),
        ("provenance.json", ("attempts", 0, "log"), 5),
        ("provenance.json", ("attempts", 0, "ended"), "yesterday"),
        ("provenance.json", ("attempts", 0, "ended"), "2026-01-01T12:00:00"),
        ("provenance.json", ("attempts", 0, "started"), "2026-01-01T12:00:00"),
        ("provenance.json", ("attempts", 0, "wall_s"), math.nan),
        ("provenance.json", ("store", "path"), {}),
        ("result.json", ("held_out",), None),
        ("result.json", ("held_out", "valid"), 5),
        ("result.json", ("held_out", "valid", "network"), []),
        ("result.json", ("held_out", "valid", "network", "nats_per_step"), "x"),
        ("result.json", ("loss",), "x"),
        ("result.json", ("best_valid_loss",), []),
    ],
)
def test_record_with_a_value_of_another_type_is_damaged(
    tmp_path: Path, record: str, place: tuple[str | int, ...], value: object
) -> None:
    run = made_run(tmp_path, FINISHED)
    run.write_result(RESULT)
    content = entry = json.loads((run.path / record).read_text())
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    (run.path / record).write_text(json.dumps(content))
    with pytest.raises(RecordError, match=rf"{record} cannot be read"):
        (run.read_provenance(), run.read_result())


def test_record_that_is_not_a_file_is_an_error(tmp_path: Path) -> None:
    for place in ("folder", "link"):
        run = made_run(tmp_path / place)
        result = run.path / "result.json"
        result.mkdir() if place == "folder" else result.symlink_to("moved")
        with pytest.raises(RecordError, match=r"result\.json cannot be read"):
            run.read_result()


@pytest.mark.parametrize("content", [bytes(100), b"[]", b"{"])
def test_python_api_names_a_damaged_record(tmp_path: Path, content: bytes) -> None:
    run = made_run(tmp_path)
    run.config_file.touch()
    (run.path / "result.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"result\.json cannot be read"):
        read_results(tmp_path)


def test_loss_that_was_infinite_is_left_out(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    run.write_result(replace(RESULT, metrics={"epoch": 1, "loss": math.inf}))
    result = run.read_result()
    assert result is not None
    assert result.metrics == {"epoch": 1}


def test_table_has_the_settings_of_all_runs(tmp_path: Path) -> None:
    """Runs that another version submitted have other settings."""
    rows = [Row(name, Status(State.WAITING), {name: 1}, None, RunUsage([])) for name in ("model.old", "model.new")]
    (tmp_path / "sweep.yaml").write_text("device: cpu\n")
    status_table.write(tmp_path, rows)
    with (tmp_path / "runs.csv").open() as file:
        assert [(row["model.old"], row["model.new"]) for row in csv.DictReader(file)] == [("1", ""), ("", "1")]


def test_run_with_a_result_is_done_however_its_job_ended(tmp_path: Path, job: TrainingJob) -> None:
    run = made_run(tmp_path, FAILED)
    run.write_result(Result("ckpt-9", 100, 12, {"loss": 0.5}, None, 0.25, {}, []))
    assert decide(status.read_facts(run, job, ended("FAILED"))) == (State.DONE, "")


def test_end_of_an_attempt_becomes_older(tmp_path: Path, job: TrainingJob) -> None:
    day_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    run = made_run(tmp_path, replace(FINISHED, ended=day_ago))
    facts = status.read_facts(run, job, ended("COMPLETED"))
    assert facts.since_end_s >= 86_400
    assert decide(facts) == (State.FAILED, "finished, but result.json was removed; resubmit to write it again")


def test_attempt_counts_only_for_the_execution_of_the_job_that_made_it(tmp_path: Path, job: TrainingJob) -> None:
    """Slurm has requeued the job, and the message of the attempt before is not the outcome of this one."""
    run = made_run(tmp_path, INTERRUPTED)
    running = JobState(JobPhase.RUNNING, "RUNNING", restarts=0)
    assert status.read_facts(run, job, running).attempt == INTERRUPTED
    assert status.read_facts(run, job, replace(running, restarts=1)).attempt is None


def test_requeued_job_that_failed_before_its_attempt_is_not_taken_for_interrupted(tmp_path: Path, job: TrainingJob) -> None:
    """Accounting does not report how often a job was requeued."""
    run = made_run(tmp_path, INTERRUPTED)
    assert status.read_facts(run, job, ended("FAILED", exit_code=1)).attempt is None
    assert status.read_facts(run, job, ended("CANCELLED")).attempt == INTERRUPTED


def test_attempt_of_an_earlier_job_is_reported_only_while_the_new_one_is_pending(tmp_path: Path, job: TrainingJob) -> None:
    run = made_run(tmp_path, replace(FAILED, job="7_0"))
    assert status.read_facts(run, job, PENDING).attempt == replace(FAILED, job="7_0")
    assert status.read_facts(run, job, ended("CANCELLED")).attempt is None


def test_attempt_outside_of_slurm_counts_until_the_next_submission(tmp_path: Path, job: TrainingJob) -> None:
    by_hand = replace(FAILED, job="", submission="0000-train")
    run = made_run(tmp_path, by_hand)
    assert decide(status.read_facts(run, job, ended("CANCELLED"))) == (State.FAILED, "no space left; see log")
    later = replace(job, submission=tmp_path / "jobs" / "0001-train")
    assert status.read_facts(run, later, PENDING).execution is Execution.PENDING


def test_attempt_outside_of_slurm_without_a_process_was_killed(tmp_path: Path) -> None:
    run = made_run(tmp_path, replace(OPEN, job="", submission=""))
    assert status.read_facts(run, None, None).execution is Execution.KILLED


def test_job_without_a_state_is_forgotten_by_slurm_or_unknown_here(tmp_path: Path, job: TrainingJob) -> None:
    run = made_run(tmp_path, OPEN)
    assert status.read_facts(run, job, None).execution is Execution.FORGOTTEN
    assert status.read_facts(run, job, None, PLACE).execution is Execution.UNKNOWN


@pytest.mark.parametrize(
    ("attempt", "place", "execution"),
    [
        (OPEN, PLACE, Execution.UNKNOWN),
        (INTERRUPTED, PLACE, Execution.UNKNOWN),  # its own cluster requeues the job
        (INTERRUPTED, "", Execution.FORGOTTEN),
        (FAILED, PLACE, Execution.FORGOTTEN),
        (FINISHED, PLACE, Execution.FORGOTTEN),
    ],
)
def test_job_of_another_cluster_is_over_only_if_its_attempt_failed_or_finished(
    tmp_path: Path, job: TrainingJob, attempt: Attempt, place: str, execution: Execution
) -> None:
    assert status.read_facts(made_run(tmp_path, attempt), job, None, place).execution is execution


@pytest.mark.parametrize(
    "line", ["slurmstepd: error: Detected 1 oom-kill event(s)", "slurmstepd: error: Exceeded job memory limit at some point."]
)
def test_memory_limit_is_recognized_where_accounting_says_failed(tmp_path: Path, job: TrainingJob, line: str) -> None:
    run = made_run(tmp_path, OPEN)
    (job.submission / "815_0_0_log.err").write_text(f"{line}\n")
    killed = ended("FAILED", signal=signal.SIGKILL)
    assert decide(status.read_facts(run, job, killed))[1].startswith("out of memory (job 815_0)")


def test_last_line_of_the_job_is_quoted_without_those_of_slurm(tmp_path: Path, job: TrainingJob) -> None:
    run = made_run(tmp_path)
    (job.submission / "815_0_0_log.err").write_text("pickle data was truncated\nsrun: error: n1: task 0: Exited\n\n")
    state, reason = decide(status.read_facts(run, job, ended("FAILED", exit_code=1)))
    assert state is State.FAILED
    assert "exit code 1, last line 'pickle data was truncated'; see" in reason


def lock_run(run: Run, owner: Owner) -> None:
    run.lock.write_text(json.dumps(asdict(owner)))


def test_live_lock_of_a_job_that_slurm_does_not_know_is_running(tmp_path: Path, job: TrainingJob) -> None:
    """The sweep is on a file system that two clusters share, or the site has no accounting."""
    run = made_run(tmp_path, OPEN)
    lock_run(run, OWNER)
    for place in ("", PLACE):
        state, reason = decide(status.read_facts(run, job, None, place))
        assert (state, reason[:24]) == (State.RUNNING, "process 42 on n1, job 7 ")
    os.utime(run.lock, (0, 0))
    assert decide(status.read_facts(run, job, None, ""))[0] is State.FAILED


def test_lock_that_an_ended_job_has_left_behind_does_not_count(tmp_path: Path, job: TrainingJob) -> None:
    run = made_run(tmp_path, OPEN)
    lock_run(run, OWNER)
    assert decide(status.read_facts(run, job, ended("NODE_FAIL")))[0] is State.FAILED
    lock_run(run, replace(OWNER, pid=43))  # of another process
    assert decide(status.read_facts(run, job, ended("NODE_FAIL")))[0] is State.RUNNING


def test_damaged_progress_is_ignored(tmp_path: Path, job: TrainingJob) -> None:
    run = made_run(tmp_path, OPEN)
    run.progress.write_bytes(bytes(100))
    facts = status.read_facts(run, job, JobState(JobPhase.RUNNING, "RUNNING", restarts=0))
    assert decide(facts) == (State.RUNNING, "starting")


def test_run_that_lost_its_configuration_is_an_error(tmp_path: Path) -> None:
    """A submission would train it again, under another number."""
    (tmp_path / "sweep.yaml").write_text("device: cpu\n")
    run = made_run(tmp_path, FINISHED)
    for look in (sweep_directory.open_runs, sweep_directory.find_runs):
        with pytest.raises(RecordError, match=r"config\.yaml is missing, and 0000-base has been trained; restore the file"):
            look(tmp_path)
    run.write_provenance(replace(run.read_provenance(), attempts=[]))  # as a killed submission leaves it
    assert sweep_directory.find_runs(tmp_path) == {}


def test_title_of_a_narrow_table_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    table = status_table.new_table([State.WAITING, State.DONE, State.FAILED])
    table.add_column("run")
    Console(width=200).print(table)
    assert capsys.readouterr().out.splitlines()[0].rstrip() == "3 runs, 1 waiting, 1 done, 1 failed"
