"""The distribution of chunks: rank 0 dispatches them, and every rank, rank 0 included, converts them.

A worker rank requests chunks, and sends a result for each chunk it has converted. Chunks are large at first and shrink towards
the end, so that all ranks finish together. Every rank has a few chunks in progress, so that no rank waits for a reply. A message
holds at most one chunk; rolls never travel between ranks. The conversion runs in a host process (isolation.py), so that rank 0
has time to answer requests.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from preprocess.host import ChunkResult
from preprocess.inputs import Input
from preprocess.isolation import Isolation
from preprocess.world import Message, Tag, World

_MAX_CHUNK_INPUTS = 256
_MAX_CHUNKS_IN_PROGRESS = 4
_POLL_S = 0.01
_WORKER_POLL_S = 0.05


class WorkerEvent(Enum):
    """The events that a worker rank reports to rank 0, besides the results of its chunks."""

    CHUNK_REQUESTED = auto()
    SHARD_COMPLETE = auto()
    LAST_MESSAGE = auto()


def dispatch(world: World, isolation: Isolation, inputs: Sequence[Input], report: Callable[[ChunkResult], None]) -> None:
    """Runs on rank 0: distributes the inputs to all ranks, and returns when every shard is complete.

    Args:
        report: called with the result of every chunk of every rank.
    """
    dispatcher = _Dispatcher(world, inputs, report)
    try:
        dispatcher.run(isolation)
    finally:
        dispatcher.wait_for_sends()


def shut_down(world: World, exit_code: int) -> None:
    """Runs on rank 0, after success and after an error: sends the exit code to the worker ranks and finalizes MPI."""
    for rank in range(1, world.size):
        world.comm.send(exit_code, rank, Tag.EXIT_CODE)
    num_connected = world.size - 1
    while num_connected:  # receives all remaining messages: MPI warns of messages that were never received
        message = world.wait_for_message([Tag.TO_RANK_0], _POLL_S)
        num_connected -= message.content is WorkerEvent.LAST_MESSAGE
    world.finalize()


def run_worker_rank(world: World, isolation: Isolation) -> int:
    """Runs on every other rank: converts chunks until rank 0 sends the exit code, which is returned."""
    exit_code = _work(world, isolation)
    world.comm.send(WorkerEvent.LAST_MESSAGE, 0, Tag.TO_RANK_0)
    world.finalize()
    return exit_code


def _work(world: World, isolation: Isolation) -> int:
    num_in_progress = 0
    has_more = True
    while num_in_progress or has_more:
        if early_exit := world.receive([Tag.EXIT_CODE]):
            return int(early_exit.content)
        while has_more and num_in_progress < _MAX_CHUNKS_IN_PROGRESS:
            world.comm.send(WorkerEvent.CHUNK_REQUESTED, 0, Tag.TO_RANK_0)
            reply = world.wait_for_message([Tag.CHUNK, Tag.EXIT_CODE], _POLL_S)
            if reply.tag is Tag.EXIT_CODE:
                return int(reply.content)
            has_more = len(reply.content) > 0
            if has_more:
                isolation.submit(reply.content)
                num_in_progress += 1
        if num_in_progress and (result := isolation.collect(_WORKER_POLL_S)):
            num_in_progress -= 1
            world.comm.send(result, 0, Tag.TO_RANK_0)
    isolation.close()
    world.comm.send(WorkerEvent.SHARD_COMPLETE, 0, Tag.TO_RANK_0)
    return int(world.wait_for_message([Tag.EXIT_CODE], _WORKER_POLL_S).content)


class _Dispatcher:
    """Rank 0: gives chunks to the worker ranks on request, and to its own host process."""

    def __init__(self, world: World, inputs: Sequence[Input], report: Callable[[ChunkResult], None]) -> None:
        self._world, self._inputs, self._report = world, inputs, report
        self._num_dispatched = 0
        self._num_working = world.size - 1  # worker ranks whose shard is not complete
        self._sends: list[Any] = []  # MPI requests; MPI delivers a long message only when its receiver waits for it

    def run(self, isolation: Isolation) -> None:
        num_in_progress = 0
        while num_in_progress or self._num_dispatched < len(self._inputs):
            while num_in_progress < _MAX_CHUNKS_IN_PROGRESS and (chunk := self._next_chunk()):
                isolation.submit(chunk)
                num_in_progress += 1
            while message := self._world.receive([Tag.TO_RANK_0]):
                self._handle(message)
            if result := isolation.collect(_POLL_S):
                num_in_progress -= 1
                self._report(result)
        isolation.close()
        while self._num_working:
            self._handle(self._world.wait_for_message([Tag.TO_RANK_0], _POLL_S))

    def wait_for_sends(self) -> None:
        """Returns soon: every message has a rank that waits for it."""
        for send in self._sends:
            send.wait()

    def _next_chunk(self) -> Sequence[Input]:
        num_remaining = len(self._inputs) - self._num_dispatched
        size = min(_MAX_CHUNK_INPUTS, max(1, num_remaining // (2 * _MAX_CHUNKS_IN_PROGRESS * self._world.size)))
        chunk = self._inputs[self._num_dispatched : self._num_dispatched + size]
        self._num_dispatched += len(chunk)
        return chunk

    def _handle(self, message: Message) -> None:
        if message.content is WorkerEvent.CHUNK_REQUESTED:
            self._sends = [send for send in self._sends if not send.test()[0]]
            self._sends.append(self._world.comm.isend(self._next_chunk(), message.source, Tag.CHUNK))
        elif message.content is WorkerEvent.SHARD_COMPLETE:
            self._num_working -= 1
        else:
            self._report(message.content)
