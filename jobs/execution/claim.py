"""The right of a process to train a run: one process at a time, and of Slurm's jobs only the last that was queued for the run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from jobs.cluster import job_states
from jobs.cluster.job_states import JobPhase
from jobs.cluster.own_job import OwnJob, batch_job
from jobs.records import submissions
from jobs.records.provenance import Outcome
from jobs.records.run_directory import VISIBILITY_DELAY_S, Run
from jobs.records.submissions import TrainingJob
from jobs.records.sweep_directory import JOBS
from pianogen.errors import PianogenError
from pianogen.lock import DEAD_AFTER_S, Lock, LockError
from pianogen.polling import wait_until

_POLL_S = 1.0
_TAKEOVER_S = DEAD_AFTER_S + 15


class ClaimError(PianogenError):
    """Another job trains the run."""


def find_submission(run: Run, own: OwnJob) -> str:
    """The folder name of the submission of this job; outside of Slurm, of the last submission of the run ('' if none).

    A submission writes its runs and then its record while its first jobs may be starting: they wait for the record. Jobs of a
    submission that was killed before that have no record, and the next submission has queued others for their runs.

    Raises:
        ClaimError: another job was queued for the run, or no job is recorded.
    """
    latest: TrainingJob | None = None

    def is_decided() -> bool:
        nonlocal latest
        latest = submissions.training_jobs(run.sweep).get(run.name)
        return not own.id or (latest is not None and (latest.id == own.id or latest.submission.name > own.folder.name))

    while not wait_until(is_decided, VISIBILITY_DELAY_S, _POLL_S) and submissions.is_being_submitted(run.sweep):
        pass
    if own.id and (latest is None or latest.id != own.id):
        reason = f"job {latest.id} was queued for it later" if latest else "no submission has recorded this job"
        raise ClaimError(f"job {own.id} does not train {run.path}: {reason}; see python -m jobs.sweep status {run.sweep}")
    return latest.submission.name if latest else ""


@contextmanager
def exclusive(run: Run, own: OwnJob) -> Iterator[None]:
    """Holds the lock of a run; a job waits until the lock of a process that died with its node expires.

    Raises:
        ClaimError: another job trains the run; Slurm may have suspended that job, so that its lock has expired.
        LockError: a live process on this or another machine trains the run.
    """
    attempts = run.read_provenance().attempts
    other = attempts[-1].job if attempts and attempts[-1].outcome is Outcome.UNRECORDED else ""
    if other not in ("", own.id):
        state = job_states.query_states({other: submissions.job_name(run.sweep / JOBS, "train")}).get(other)
        if state is not None and state.phase is JobPhase.RUNNING:
            raise ClaimError(f"{run.path} is being trained by job {other}; wait until it ends, or cancel it")
    run.lock.parent.mkdir(exist_ok=True)
    refusal = LockError()
    with ExitStack() as held:

        def take_lock() -> bool:
            nonlocal refusal
            try:
                held.enter_context(Lock(run.lock, f"{run.path} is being trained", batch_job()))
            except LockError as error:
                refusal = error
                return False
            return True

        if not wait_until(take_lock, _TAKEOVER_S if own.id else 0, _POLL_S):
            raise refusal
        yield
