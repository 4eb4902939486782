"""The requeue of the job of this process, after its work has been interrupted."""

from jobs.cluster import own_job
from jobs.cluster.client import SlurmError
from jobs.cluster.own_job import OwnJob
from pianogen.polling import wait_until

_POLL_S = 1.0
_SHARE = 2 / 3  # of slurm.signal_lead_s, while Slurm does not respond


def requeue(own: OwnJob, signal_lead_s: int) -> None:
    """Requeues the job of this process, unless it was cancelled.

    Args:
        signal_lead_s: time from the signal that announces the time limit to the limit.

    Raises:
        SlurmError: Slurm refused, or did not respond in that time.
    """
    failure = SlurmError()

    def is_requeued() -> bool:
        nonlocal failure
        try:
            if own_job.is_running(own.id):
                own_job.requeue(own.id)
        except SlurmError as error:
            failure = error
            return False
        return True

    if not wait_until(is_requeued, _SHARE * signal_lead_s, _POLL_S):
        raise failure
