"""The processes that work on a run, which hold locks in its folder of logs."""

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.cluster.own_job import batch_job
from jobs.records.provenance import Outcome
from jobs.records.run_directory import Run
from pianogen import lock
from pianogen.lock import Lock


@contextmanager
def writing(run: Run, output: str, activity: str) -> Iterator[None]:
    """Holds the lock of a process that writes to a run after its training, so that the run is not removed or trained meanwhile.

    Args:
        output: names what is written; one process at a time writes it.
        activity: see `Lock`.

    Raises:
        LockError: another process writes it.
    """
    run.log.mkdir(exist_ok=True)
    with Lock(run.log / f"{output}.lock", activity, batch_job()):
        yield


def find_processes(run: Run) -> list[lock.Owner]:
    """The processes that train a run outside of Slurm, or write to it after its training; see `lock.find_owner`."""
    attempts, locks = run.read_provenance().attempts, sorted(run.log.glob("*.lock"))
    if attempts and not attempts[-1].job and attempts[-1].outcome is Outcome.UNRECORDED:
        locks.append(run.lock)
    return [owner for path in locks if (owner := lock.find_owner(path))]
