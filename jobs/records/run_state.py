"""The state of a run and its reason, decided from the facts about the run.

A run is done if it has a result. Otherwise the record of its last attempt states how the attempt ended; if the attempt was
killed before it wrote that record, Slurm reports how the job ended.
"""

import signal
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from pathlib import Path

from jobs.cluster.job_states import JobState
from jobs.records import packs
from jobs.records.provenance import Attempt, Outcome
from jobs.records.run_directory import VISIBILITY_DELAY_S
from pianogen.lock import Owner
from pianogen.progress import ProgressRecord


class State(StrEnum):
    """The state of a run."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Execution(Enum):
    """The job or process that is to execute a run."""

    NONE = auto()  # the run has not been submitted to Slurm, nor started on a machine
    PENDING = auto()  # the job is in the queue
    RUNNING = auto()  # the job, or a process outside of Slurm, is running
    ENDED = auto()  # the job has ended, and Slurm reports how
    KILLED = auto()  # the process, which was started outside of Slurm, has ended without a record
    FORGOTTEN = auto()  # Slurm has no record of the job
    UNKNOWN = auto()  # this machine cannot query the Slurm of the job
    LOCKED = auto()  # a live process holds the lock of the run, and no job that Slurm reports on this machine explains it


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The facts about a run.

    Attributes:
        has_result: whether result.json exists.
        execution: the job or process.
        job: id of the job; '' if there is none.
        job_state: of a pending, running or ended job.
        attempt: the last attempt of this job or process, None if it has not begun one; of a pending job, the attempt before.
        since_end_s: time since the recorded end of the attempt; 0 if there is none.
        progress: of a running attempt.
        log: of the attempt, or else the output of the job, or of the run's process in a packed job.
        last_line: of that log; '' if it is empty.
        owner: the process that holds the lock of the run, if the execution is LOCKED.
        unqueried_reason: why this machine cannot query the Slurm of the job, if the execution is UNKNOWN.
    """

    has_result: bool = False
    execution: Execution = Execution.NONE
    job: str = ""
    job_state: JobState | None = None
    attempt: Attempt | None = None
    since_end_s: float = 0.0
    progress: ProgressRecord | None = None
    log: Path = Path()
    last_line: str = ""
    owner: Owner | None = None
    unqueried_reason: str = ""


_NO_RESULT = "exited without recording a result"
_RESUBMIT = "resubmit to resume from the last checkpoint"
# The states in which Slurm ends a job that could not record it: its state here, what happened, and what to do.
_ENDED_JOBS = {
    "CANCELLED": (State.WAITING, "cancelled", f"not queued: {_RESUBMIT}"),
    "OUT_OF_MEMORY": (State.FAILED, "out of memory", "raise slurm.memory_gb, or lower training.batch, and resubmit"),
    "TIMEOUT": (State.FAILED, "timed out before a checkpoint was written", "raise slurm.timeout_min and resubmit"),
    "DEADLINE": (State.FAILED, "timed out before a checkpoint was written", "raise slurm.timeout_min and resubmit"),
    "NODE_FAIL": (State.FAILED, "node failed, and Slurm did not requeue the job", _RESUBMIT),
    "BOOT_FAIL": (State.FAILED, "node failed to boot, and Slurm did not requeue the job", _RESUBMIT),
    "PREEMPTED": (State.FAILED, "preempted, and Slurm did not requeue the job", _RESUBMIT),
    packs.NOT_STARTED: (State.WAITING, "its job ended before it started", f"not queued: {_RESUBMIT}"),
}


def decide(facts: RunFacts) -> tuple[State, str]:
    """The state of a run and its reason: the first case that applies."""
    match facts.execution, facts.attempt, facts.job_state:
        case _ if facts.has_result:
            return State.DONE, ""
        case Execution.LOCKED, _, _ if facts.owner:
            return State.RUNNING, _describe_owner(facts.owner)
        case Execution.PENDING, _, JobState() as job:
            return State.WAITING, _describe_pending(facts, job)
        case _, Attempt(outcome=Outcome.FAILED, error=str(error)), _:
            return State.FAILED, error
        case Execution.RUNNING, Attempt(outcome=Outcome.INTERRUPTED, interrupted=message), _:
            return State.WAITING, f"{message}; job {facts.job} is being requeued"
        case Execution.UNKNOWN, Attempt(outcome=Outcome.INTERRUPTED, interrupted=message), _:
            return State.WAITING, f"{message}; job {facts.job} cannot be queried: {facts.unqueried_reason}"
        case _, Attempt(outcome=Outcome.INTERRUPTED, interrupted=message), _:
            return State.WAITING, f"{message}; not queued: {_RESUBMIT}"
        case _, Attempt(outcome=Outcome.FINISHED), _ if facts.since_end_s < VISIBILITY_DELAY_S:
            return State.RUNNING, "finished; result.json is not visible on this machine yet"
        case _, Attempt(outcome=Outcome.FINISHED), _:
            return State.FAILED, "finished, but result.json was removed; resubmit to write it again"
        case Execution.RUNNING, None, _:
            return State.RUNNING, f"starting as job {facts.job}"
        case Execution.RUNNING, _, _ if facts.progress is None:
            return State.RUNNING, "starting"
        case Execution.RUNNING, _, _:
            return State.RUNNING, "evaluating and drawing samples" if facts.progress and facts.progress.has_ended else ""
        case Execution.ENDED, _, JobState(state=state) if state in _ENDED_JOBS:
            ended_as, event, action = _ENDED_JOBS[state]
            log = f"; see {facts.log}" if ended_as is State.FAILED else ""
            return ended_as, f"{event} (job {facts.job}); {action}{log}"
        case Execution.ENDED, _, JobState() as job:
            process = "its process in " if job.state == packs.PROCESS_EXITED else ""
            return State.FAILED, f"{process}job {facts.job} {_NO_RESULT}: {_describe_exit(facts, job)}; see {facts.log}"
        case Execution.KILLED, Attempt(pid=pid, host=host), _:
            return State.FAILED, f"process {pid} on {host} {_NO_RESULT}; {_RESUBMIT}; see {facts.log}"
        case Execution.UNKNOWN, attempt, _:
            reason = f"job {facts.job} cannot be queried: {facts.unqueried_reason}"
            return State.WAITING if attempt is None else State.RUNNING, reason
        case Execution.FORGOTTEN, None, _:
            return State.WAITING, f"not queued: job {facts.job} never started, and Slurm has no record of it; resubmit"
        case Execution.FORGOTTEN, _, _:
            return State.FAILED, f"job {facts.job} {_NO_RESULT}, and Slurm has no record of it; see {facts.log}"
        case _:
            return State.WAITING, "not submitted"


def _describe_owner(owner: Owner) -> str:
    job = f", job {owner.job.id}" if owner.job.id else ""
    return f"process {owner.pid} on {owner.host}{job} holds its lock; this machine has no other record of it"


def _describe_pending(facts: RunFacts, job: JobState) -> str:
    reason = f"pending ({job.reason or job.state}) as job {facts.job}"
    if facts.attempt is None:
        return reason
    message = facts.attempt.error or facts.attempt.interrupted or _NO_RESULT
    requeued = "requeued, " if facts.attempt.job == facts.job else ""
    return f"{requeued}{reason}; previous attempt on {facts.attempt.host}: {message}"


def _describe_exit(facts: RunFacts, job: JobState) -> str:
    if not job.signal:
        how = f"exit code {job.exit_code}"
    else:
        try:
            how = f"signal {job.signal} ({signal.Signals(job.signal).name})"
        except ValueError:  # of another operating system
            how = f"signal {job.signal}"
    return f"{how}, last line {facts.last_line!r}" if facts.last_line else how
