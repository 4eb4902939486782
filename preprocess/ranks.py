"""MPI: who this rank is, and how the ranks share the inputs.

Rank 0 hands out chunks on request, large ones first and ever smaller ones towards the end, and converts chunks itself;
its parent process has nothing else to do, because the converting happens in a child. Every rank keeps a few chunks at work,
so that none waits for an answer. Messages hold one chunk at most; rows never travel between ranks.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pianogen.errors import UsageError
from pianogen.lock import BatchJob
from preprocess.isolation import Isolation, Tally
from preprocess.sources import Input

MAX_CHUNK = 256
_CHUNKS_AHEAD = 4
_POLL_S = 0.01  # MPI's own waiting takes a whole core
_TO_DESK, _CHUNK, _CODE = 1, 2, 3
_THROUGH, _GONE = "through", "gone"
# The number of ranks as the launcher tells it: MPICH, Open MPI, srun.
_LAUNCHER_MARKS = ("PMI", "OMPI_", "MPI_", "I_MPI_", "MV2_", "PALS_", "SLURM_STEP")
_LAUNCHED_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


@dataclass(frozen=True, slots=True)
class World:
    """This rank and how many there are; `comm`, the MPI communicator, is None where one process runs without MPI."""

    rank: int
    size: int
    comm: Any = None


def find_world() -> World:
    """Starts MPI, or goes without where no launcher has left a mark or no MPI library is there.

    Raises:
        UsageError: more ranks were launched than MPI connects; each would think itself alone.
    """
    if not any(name.startswith(_LAUNCHER_MARKS) for name in os.environ):
        return World(0, 1)
    launched = max((int(os.environ[name]) for name in _LAUNCHED_SIZES if os.environ.get(name, "").isdigit()), default=1)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there and finds no MPI library
        if launched > 1:
            raise UsageError(f"{launched} ranks were launched and MPI cannot be loaded: {error}") from error
        return World(0, 1)
    comm = MPI.COMM_WORLD
    connected = comm.size
    if connected != launched and launched > 1:
        MPI.Finalize()
        raise UsageError(
            f"{launched} ranks were launched and MPI connects {connected}: mpiexec or srun --mpi belongs to another MPI than "
            "mpi4py uses; take the mpiexec beside this python, or another --mpi type"
        )
    return World(comm.rank, comm.size, comm)


def batch_job() -> BatchJob:
    """The Slurm job that this rank runs in."""
    return BatchJob(os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get("SLURM_RESTART_COUNT", 0)))


def lead(world: World, isolation: Isolation, inputs: Sequence[Input], report: Callable[[Tally], None]) -> None:
    """Rank 0: has all inputs converted, by all ranks; when it returns, every shard is whole.

    Args:
        report: called with every finished chunk of any rank.
    """
    _Desk(world, inputs, report).run(isolation)


def dismiss(world: World, code: int) -> None:
    """Rank 0: tells the others the exit code, also when it gives up before all is done, and ends MPI."""
    for rank in range(1, world.size):
        world.comm.send(code, rank, _CODE)
    num_gone = 0
    while num_gone < world.size - 1:  # what they sent before is received as well: MPI warns of messages nobody took
        if (message := _receive(world, _TO_DESK)) is None:
            time.sleep(_POLL_S)
        elif message[0] == _GONE:
            num_gone += 1
    _leave(world)


def follow(world: World, isolation: Isolation) -> int:
    """The other ranks: converts what rank 0 gives, then sleeps until rank 0 is through; its exit code."""
    code = _follow(world, isolation)
    world.comm.send(_GONE, 0, _TO_DESK)
    _leave(world)
    return code


def _follow(world: World, isolation: Isolation) -> int:
    at_work = 0
    is_more = True
    while at_work or is_more:
        if (given_up := _receive(world, _CODE)) is not None:
            return int(given_up[0])
        while is_more and at_work < _CHUNKS_AHEAD:
            world.comm.send(None, 0, _TO_DESK)
            tag, content = _await_rank_0(world, _POLL_S)
            if tag == _CODE:
                return int(content)
            is_more = len(content) > 0
            if is_more:
                isolation.submit(content)
                at_work += 1
        if at_work and (tally := isolation.collect(5 * _POLL_S)):
            at_work -= 1
            world.comm.send(tally, 0, _TO_DESK)
    isolation.close()
    world.comm.send(_THROUGH, 0, _TO_DESK)
    return int(_await_rank_0(world, 5 * _POLL_S)[1])


class _Desk:
    """Rank 0: gives out chunks, to itself as to the others."""

    def __init__(self, world: World, inputs: Sequence[Input], report: Callable[[Tally], None]) -> None:
        self._world, self._inputs, self._report = world, inputs, report
        self._at = 0
        self._followers = world.size - 1
        self._answers: list[Any] = []  # on their way: MPI holds back a long message until its receiver looks for it

    def run(self, isolation: Isolation) -> None:
        try:
            self._run(isolation)
        finally:
            for answer in self._answers:  # soon: each has a rank that waits for it
                answer.wait()

    def _run(self, isolation: Isolation) -> None:
        at_work = 0
        while at_work or self._at < len(self._inputs):
            while at_work < _CHUNKS_AHEAD and (chunk := self._take()):
                isolation.submit(chunk)
                at_work += 1
            self._serve()
            if tally := isolation.collect(_POLL_S):
                at_work -= 1
                self._report(tally)
        isolation.close()
        while self._followers:
            self._serve()
            time.sleep(_POLL_S)

    def _take(self) -> Sequence[Input]:
        size = min(MAX_CHUNK, max(1, (len(self._inputs) - self._at) // (2 * _CHUNKS_AHEAD * self._world.size)))
        chunk = self._inputs[self._at : self._at + size]
        self._at += len(chunk)
        return chunk

    def _serve(self) -> None:
        self._answers = [each for each in self._answers if not each.test()[0]]
        while (message := _receive(self._world, _TO_DESK)) is not None:
            content, source = message
            if content is None:
                self._answers.append(self._world.comm.isend(self._take(), source, _CHUNK))
            elif content == _THROUGH:
                self._followers -= 1
            else:
                self._report(content)


def _leave(world: World) -> None:
    """Ends MPI in order: python -m mpi4py aborts all ranks at an exit code other than 0, and Slurm then shows a kill."""
    if world.comm is not None:
        from mpi4py import MPI

        MPI.Finalize()


def _await_rank_0(world: World, poll_s: float) -> tuple[int, Any]:
    while True:
        for tag in (_CHUNK, _CODE):
            if (message := _receive(world, tag)) is not None:
                return tag, message[0]
        time.sleep(poll_s)


def _receive(world: World, tag: int) -> tuple[Any, int] | None:
    """A message with this tag and who sent it, if one has come."""
    if world.comm is None or not world.comm.iprobe(tag=tag):
        return None
    from mpi4py import MPI

    status = MPI.Status()
    content = world.comm.recv(tag=tag, status=status)
    return content, status.Get_source()
