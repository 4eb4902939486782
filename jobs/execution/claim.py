"""Claims a run for a process: one process trains a run at a time, and no job trains it after a job that was queued later."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from jobs.cluster import job_states
from jobs.cluster.job_states import JobPhase
from jobs.cluster.own_job import OwnJob, batch_job
from jobs.records import packs, submissions
from jobs.records.provenance import Outcome
from jobs.records.run_directory import VISIBILITY_DELAY_S, Run
from jobs.records.submissions import TrainingJob, number_of
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
        ClaimError: no submission has recorded this job.
    """
    jobs: list[TrainingJob] = []
    number = number_of(own.folder.name)

    def is_decided() -> bool:
        nonlocal jobs
        jobs = submissions.training_jobs(run.sweep).get(run.name, [])
        return not own.id or any(job.id == own.id or number_of(job.submission.name) > number for job in jobs)

    while not wait_until(is_decided, VISIBILITY_DELAY_S, _POLL_S) and submissions.is_being_submitted(run.sweep):
        pass
    if not own.id:
        return jobs[-1].submission.name if jobs else ""
    if not any(job.id == own.id and job.submission.name == own.folder.name for job in jobs):
        later = f"job {jobs[-1].id} was queued for it later" if jobs else "no submission has recorded this job"
        raise _refusal(run, own, later)
    return own.folder.name


def _refusal(run: Run, own: OwnJob, reason: str) -> ClaimError:
    return ClaimError(f"job {own.id} does not train {run.path}: {reason}; see pianogen sweep status {run.sweep}")


def _check_not_replaced(run: Run, own: OwnJob) -> None:
    """Refuses a job if a job that was queued later has begun an attempt; until then, it is not replaced.

    Raises:
        ClaimError: another job has taken over the run.
    """
    attempts = run.read_provenance().attempts
    if own.id and attempts and number_of(attempts[-1].submission) > number_of(own.folder.name):
        raise _refusal(run, own, f"job {attempts[-1].job} was queued for it later and has trained it")


def _is_running(run: Run, job: str) -> bool:
    jobs = [entry for entry in submissions.training_jobs(run.sweep).get(run.name, []) if entry.id == job]
    states = job_states.query_states({entry.key for entry in jobs})
    own_states = [packs.state_of_run(entry.submission, job, run.name, states[entry.key]) for entry in jobs if entry.key in states]
    return any(state.phase is JobPhase.RUNNING for state in own_states)


@contextmanager
def exclusive(run: Run, own: OwnJob) -> Iterator[None]:
    """Holds the lock of a run; a job waits until the lock of a process that died with its node expires.

    Raises:
        ClaimError: another job trains the run, although its lock has expired, such as one that Slurm has suspended; or a job that
            was queued later has replaced this one.
        LockError: a live process on this or another machine trains the run.
    """
    attempts = run.read_provenance().attempts
    other = attempts[-1].job if attempts and attempts[-1].outcome is Outcome.UNRECORDED else ""
    if other not in ("", own.id) and _is_running(run, other):
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
        _check_not_replaced(run, own)
        run.remove_leftovers()
        yield
