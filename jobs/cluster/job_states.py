"""The states of jobs as squeue and sacct report them; all jobs are queried together."""

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from jobs.cluster import client
from jobs.cluster.client import SlurmError

_COLUMN_WIDTH, _MAX_PATH_LENGTH = 60, 4_096
_SQUEUE_COLUMNS = ("JobArrayID", "State", "exit_code", "Reason", "RestartCnt", "Name", "Cluster")
_SACCT_COLUMNS = ("JobID", "State", "ExitCode", "Reason", "Cluster", "JobName")
_PENDING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
)
_ARRAY_TASK = re.compile(r"\d+_\d+")
_JOB = re.compile(r"\d+(_(\d+|\[.+\]))?")
_EXIT_BY_SIGNAL = 128
_log = logging.getLogger(__name__)


class JobPhase(StrEnum):
    """The phase of a job."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job at Slurm.

    Attributes:
        phase: the phase that `state` belongs to.
        state: the job state of Slurm, such as OUT_OF_MEMORY.
        reason: why the job is pending, such as Resources; '' if it is not.
        exit_code: of an ended job; 0 if a signal ended it.
        signal: the signal that ended the job; 0 if none did.
        restarts: how often the job was requeued; None if sacct reported the state, which does not report requeues.
    """

    phase: JobPhase
    state: str
    reason: str = ""
    exit_code: int = 0
    signal: int = 0
    restarts: int | None = None


@dataclass(frozen=True, slots=True)
class JobKey:
    """Identifies a job: ids alone start again at 1 on another cluster, or after Slurm has lost its state.

    Attributes:
        id: Slurm's id.
        name: the job name.
        cluster: the name of the cluster.
    """

    id: str
    name: str
    cluster: str


@dataclass(frozen=True, slots=True)
class _NamedState:
    name: str
    cluster: str
    state: JobState

    def is_of(self, job: JobKey) -> bool:
        return self.name == job.name and self.cluster in ("", job.cluster)


def query_states(jobs: Collection[JobKey]) -> dict[JobKey, JobState]:
    """The states of jobs, without those that Slurm has no record of.

    squeue is called once. sacct is called only if jobs have left the queue, and its failure is ignored: a site may have no
    accounting, and compute nodes may have no sacct.

    Raises:
        SlurmError: squeue does not respond.
    """
    if not jobs:
        return {}
    selection = f"--jobs={','.join(sorted({array_of(job.id) for job in jobs}))}"
    reported = _query_squeue(selection)
    if any(job.id not in reported for job in jobs):
        reported = _query_sacct(selection) | reported
    # Array tasks that were cancelled before they started share one record, under the id of the array. A shared record that is
    # pending only means that accounting lags behind: the queue lists each pending task.
    shared = {
        array_of(job): entry
        for job, entry in reported.items()
        if _ARRAY_TASK.fullmatch(job) is None and entry.state.phase is JobPhase.ENDED
    }
    entries = {job: reported.get(job.id) or shared.get(array_of(job.id)) for job in jobs}
    return {job: entry.state for job, entry in entries.items() if entry is not None and entry.is_of(job)}


def find_queued(name: str, folder: Path, known: Collection[str]) -> str | None:
    """The id of a job or array of a name whose output goes to a folder; None if there is none but the known ones.

    Raises:
        SlurmError: squeue does not respond.
    """
    columns = f"ArrayJobID:{_COLUMN_WIDTH},StdOut:{_MAX_PATH_LENGTH}"
    answer = client.checked(["squeue", "--noheader", "--states=all", f"--name={name}", f"--Format={columns}"])
    for line in answer.splitlines():
        job, output = line[:_COLUMN_WIDTH].strip(), line[_COLUMN_WIDTH:].strip()
        if Path(output).parent == folder and job not in known:
            return job
    return None


def _query_squeue(selection: str) -> dict[str, _NamedState]:
    columns = ",".join(f"{name}:{_COLUMN_WIDTH}" for name in _SQUEUE_COLUMNS)
    answer = client.run(["squeue", "--noheader", "--array", "--states=all", f"--Format={columns}", selection])
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        raise SlurmError(f"squeue failed: {client.error_text(answer.stderr)}; retry when Slurm responds")
    reported = {}
    for line in answer.stdout.splitlines():
        starts = range(0, len(_SQUEUE_COLUMNS) * _COLUMN_WIDTH, _COLUMN_WIDTH)
        job, state, wait_status, reason, restarts, name, cluster = (
            line[start : start + _COLUMN_WIDTH].strip() for start in starts
        )
        if not _JOB.fullmatch(job):
            continue
        code, signal = int(wait_status) >> 8, int(wait_status) & 0x7F
        reported[job] = _NamedState(name, cluster, _parse_state(state, code, signal, reason, int(restarts)))
    return reported


def _query_sacct(selection: str) -> dict[str, _NamedState]:
    columns = ",".join(_SACCT_COLUMNS)
    try:
        answer = client.run(["sacct", "--noheader", "--allocations", "--parsable2", f"--format={columns}", selection])
    except SlurmError as error:
        _log.debug("%s", error)
        return {}
    reported = {}
    for line in answer.stdout.splitlines():
        fields = line.split("|", len(_SACCT_COLUMNS) - 1)  # the name comes last: it may contain a separator
        if not _JOB.fullmatch(fields[0]):
            continue
        job, state, exit_code, reason, cluster, name = fields
        code, _, signal = exit_code.partition(":")
        reported[job] = _NamedState(name, cluster, _parse_state(state.split()[0], int(code), int(signal), reason, None))
    return reported


def array_of(job: str) -> str:
    """The id of the array of a job, which is its own if it is not a task of an array."""
    return job.partition("_")[0]


def _parse_state(state: str, exit_code: int, signal: int, reason: str, restarts: int | None) -> JobState:
    if state in _PENDING:
        return JobState(JobPhase.PENDING, state, reason, restarts=restarts)
    if state not in _ENDED:
        return JobState(JobPhase.RUNNING, state, restarts=restarts)
    if exit_code > _EXIT_BY_SIGNAL:  # the exit code of a shell whose child was ended by a signal
        exit_code, signal = 0, exit_code - _EXIT_BY_SIGNAL
    return JobState(JobPhase.ENDED, state, "", exit_code, signal, restarts)
