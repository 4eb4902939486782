"""The record of a packed job: the processes that it has started, and the runs that were cancelled.

The job records its processes in runs/NAME/jobs/0003-train/815_2.json. The state of a run is then that of its process, as if the
process were a job: it may wait or have failed while the job is running.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs.cluster.job_states import JobPhase, JobState
from jobs.records import record_file

PROCESS_EXITED, NOT_STARTED = "PROCESS_EXITED", "NOT_STARTED"  # in place of the reason that Slurm gives for a pending job
_WAITING = "other runs of its job first"


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """The end of the process of a run that was not interrupted.

    Attributes:
        restart: how often the job had been requeued.
        exit_code: 0 if a signal ended the process.
        signal: 0 if none did.
    """

    restart: int
    exit_code: int = 0
    signal: int = 0

    @property
    def has_failed(self) -> bool:
        """Whether the run has failed, so that the job does not train it again."""
        return self.exit_code != 0 or self.signal != 0


@dataclass(frozen=True, slots=True)
class Pack:
    """The processes of a packed job.

    Attributes:
        restart: how often the job had been requeued when it wrote this record.
        running: the runs whose processes are running, or were interrupted when the job was shut down.
        ended: the other processes that have ended since the job started for the first time, by run.
    """

    restart: int
    running: frozenset[str] = frozenset()
    ended: Mapping[str, ProcessEnd] = field(default_factory=dict)


def read(submission: Path, job: str) -> Pack | None:
    """The record of a job; None if the job has not written any.

    Args:
        submission: the folder of the submission of the job.

    Raises:
        RecordError: the record is damaged.
    """
    path = _record(submission, job)

    def parse(content: Mapping[str, Any]) -> Pack:
        ended = {run: ProcessEnd(**end) for run, end in content["ended"].items()}
        return Pack(int(content["restart"]), frozenset(content["running"]), ended)

    return record_file.read(path, parse) if path.is_file() else None


def write(submission: Path, job: str, pack: Pack) -> None:
    """Replaces the record of a job."""
    content = {
        "restart": pack.restart,
        "running": sorted(pack.running),
        "ended": {run: asdict(end) for run, end in pack.ended.items()},
    }
    record_file.write(_record(submission, job), content)


def log_file(submission: Path, job: str, run: str) -> Path:
    """The output of the process of a run outside of its attempts."""
    return submission / f"{job}-{run}.log"


def cancel(submission: Path, run: str) -> None:
    """Cancels a run: the job that a submission queued for it ends the process of the run, and starts it no more."""
    _cancellation(submission, run).touch()


def is_cancelled(submission: Path, run: str) -> bool:
    """Whether a run was cancelled, and not its job."""
    return _cancellation(submission, run).exists()


def state_of_run(submission: Path, job: str, run: str, state: JobState) -> JobState:
    """The state of the process of a run in a job, as that of a job; of a job that is not packed, its own state.

    Args:
        state: of the job.

    Raises:
        RecordError: the record of the job is damaged.
    """
    pack = read(submission, job)
    if pack is not None and run in pack.ended:
        end = pack.ended[run]
        return JobState(JobPhase.ENDED, PROCESS_EXITED, "", end.exit_code, end.signal, end.restart)
    is_current = pack is not None and state.restarts in (None, pack.restart)
    is_started = is_current and pack is not None and run in pack.running
    if is_cancelled(submission, run) and not (is_started and state.phase is JobPhase.RUNNING):
        return JobState(JobPhase.ENDED, "CANCELLED", restarts=state.restarts)
    if pack is None:
        return state
    if state.phase is JobPhase.RUNNING and not is_started:
        return JobState(JobPhase.PENDING, "PENDING", _WAITING, restarts=state.restarts)
    if state.phase is JobPhase.ENDED and is_current and not is_started:
        return JobState(JobPhase.ENDED, NOT_STARTED, restarts=pack.restart)
    return replace(state, restarts=pack.restart) if is_current else state


def _record(submission: Path, job: str) -> Path:
    return submission / f"{job}.json"


def _cancellation(submission: Path, run: str) -> Path:
    return submission / f"{run}.cancelled"
