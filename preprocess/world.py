"""The MPI processes of this program: the number of this rank, and typed messages between ranks."""

import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pianogen.errors import UsageError
from pianogen.lock import BatchJob

# Environment variables that a launcher sets for every rank: MPICH and its derivatives, Open MPI, PMIx, and srun with one of them.
# Others, such as OMPI_MCA_btl and MPI_HOME, are settings, which are also set where MPI does not work, such as on a login node.
_LAUNCHER_VARIABLE = re.compile(r"(PMI|OMPI_|MPI_|MV2_|PALS_)\w*(RANK|SIZE)")
_LAUNCHED_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


class Tag(IntEnum):
    """The MPI message tags."""

    TO_RANK_0 = 1  # one tag for every message to rank 0: MPI keeps the order of messages only within a tag
    CHUNK = 2
    EXIT_CODE = 3


@dataclass(frozen=True, slots=True)
class Message:
    """A received message.

    Attributes:
        source: the rank that sent it.
        content: the unpickled object.
    """

    source: int
    tag: Tag
    content: Any


@dataclass(frozen=True, slots=True)
class World:
    """All ranks of this program.

    Attributes:
        rank: the number of this process.
        size: the number of ranks.
        comm: the MPI communicator, None for a single process without MPI.
    """

    rank: int
    size: int
    comm: Any = None

    def receive(self, tags: Collection[Tag]) -> Message | None:
        """The next message with one of these tags, None if none has arrived."""
        for tag in tags:
            if self.comm is not None and self.comm.iprobe(tag=tag):
                from mpi4py import MPI

                status = MPI.Status()
                content = self.comm.recv(tag=tag, status=status)
                return Message(status.Get_source(), tag, content)
        return None

    def wait_for_message(self, tags: Collection[Tag], poll_s: float) -> Message:
        """Waits for the next message with one of these tags; polls, because a blocking receive of MPI keeps a core busy."""
        while (message := self.receive(tags)) is None:
            time.sleep(poll_s)
        return message

    def finalize(self) -> None:
        """Finalizes MPI. Without this, `python -m mpi4py` aborts all ranks at an exit code other than 0."""
        if self.comm is not None:
            from mpi4py import MPI

            MPI.Finalize()


def find_world() -> World:
    """Initializes MPI, unless the environment shows no launcher or there is no MPI library.

    Raises:
        UsageError: the launcher started more ranks than MPI connects, so that every rank would act as rank 0.
    """
    num_launched = max((int(os.environ[name]) for name in _LAUNCHED_SIZES if os.environ.get(name, "").isdigit()), default=1)
    if num_launched <= 1 and not any(map(_LAUNCHER_VARIABLE.match, os.environ)):
        return World(0, 1)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is installed and finds no MPI library
        if num_launched > 1:
            raise UsageError(
                f"the launcher started {num_launched} ranks, but MPI cannot be loaded ({error}); "
                "load the MPI library that mpi4py was built for"
            ) from error
        return World(0, 1)
    comm = MPI.COMM_WORLD
    num_connected = comm.size
    if num_connected != num_launched and num_launched > 1:
        MPI.Finalize()
        raise UsageError(
            f"the launcher started {num_launched} ranks, but MPI connects {num_connected}: mpiexec or srun --mpi does not "
            "match the MPI library of mpi4py; use the mpiexec installed beside this Python, or another --mpi type"
        )
    return World(comm.rank, comm.size, comm)


def batch_job() -> BatchJob:
    """The Slurm job that this rank belongs to."""
    return BatchJob(os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get("SLURM_RESTART_COUNT") or 0))
