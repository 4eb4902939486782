"""The Slurm job that this process runs in."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from jobs.cluster import client
from pianogen.lock import BatchJob


@dataclass(frozen=True, slots=True)
class OwnJob:
    """The job of this process, and the place of this process in it.

    Attributes:
        id: as sbatch and squeue print it; '' outside of Slurm.
        restarts: how often the job was requeued.
        rank: the number of this task among those of the job.
        num_tasks: the tasks of the job.
        folder: the folder of the submission that queued the job.
    """

    id: str = ""
    restarts: int = 0
    rank: int = 0
    num_tasks: int = 1
    folder: Path = Path()


def own_job() -> OwnJob:
    """The job of this process, from the variables that Slurm and submitit set."""
    get = os.environ.get
    job, folder = get("SLURM_JOB_ID"), get("SUBMITIT_FOLDER")
    if get("SUBMITIT_EXECUTOR") != "slurm" or not job or not folder:  # started by hand, perhaps inside an allocation
        return OwnJob()
    array, task = get("SLURM_ARRAY_JOB_ID"), get("SLURM_ARRAY_TASK_ID")
    return OwnJob(
        id=f"{array}_{task}" if array and task else job,
        restarts=_number("SLURM_RESTART_COUNT", 0),
        rank=_number("SLURM_PROCID", 0),
        num_tasks=_number("SLURM_NTASKS", 1),
        folder=Path(folder),
    )


def batch_job() -> BatchJob:
    """The job for locks; also of a process that was started by hand inside an allocation."""
    return BatchJob(os.environ.get("SLURM_JOB_ID", ""), _number("SLURM_RESTART_COUNT", 0))


def _number(variable: str, default: int) -> int:
    return int(os.environ.get(variable) or default)


def is_running(job: str) -> bool:
    """Whether a job is in state RUNNING: neither cancelled nor being requeued.

    A job stays in this state after the notice of a time limit, and after that of a preemption with grace time.

    Raises:
        SlurmError: Slurm does not respond.
    """
    shown = client.checked(["scontrol", "--oneliner", "show", "job", job])
    return re.search(r"\bJobState=RUNNING\b", shown) is not None


def requeue(job: str) -> None:
    """Requeues a running job, such as the job of this process; Slurm then ends the processes of the job.

    Raises:
        SlurmError: Slurm refused.
    """
    client.checked(["scontrol", "requeue", job])
