"""MPI ranks whose conversion takes no time, and whose chunks are so long that MPI delivers them only to a waiting receiver.

mpiexec -n 2 python -m mpi4py instant_ranks.py slow FOLDER    rank 1 receives its first chunk late; rank 0 prints the inputs
mpiexec -n 3 python -m mpi4py instant_ranks.py failing NUM    rank 0 fails after NUM chunks; every rank prints its exit code
"""

import sys
import time
from pathlib import Path

from pianogen.errors import PianogenError
from preprocess import dispatch
from preprocess.dispatch import WorkerEvent
from preprocess.host import ChunkResult
from preprocess.inputs import Input
from preprocess.isolation import Isolation
from preprocess.world import Tag, World, find_world

INPUTS = [Input(f"{number:0>1000}.mid", "", 0, 0) for number in range(20_000)]
SHARD = Path("shard")


class InstantIsolation(Isolation):
    """Converts without a host process."""

    def __init__(self) -> None:
        self._sizes: list[int] = []

    def submit(self, chunk: object) -> None:
        assert isinstance(chunk, list)
        self._sizes.append(len(chunk))

    def collect(self, timeout_s: float) -> ChunkResult | None:  # noqa: ARG002 - as in Isolation
        return ChunkResult(self._sizes.pop(0), 0, SHARD, 0) if self._sizes else None

    def close(self) -> None:
        pass


def slow(world: World, marker: Path) -> None:
    """Rank 1 requests a chunk, and receives it only after rank 0 has reported another result."""
    sizes = []

    def report(result: ChunkResult) -> None:
        marker.touch()
        sizes.append(result.num_inputs)

    if world.rank == 0:
        world.comm.probe(source=1)
        dispatch.dispatch(world, InstantIsolation(), INPUTS, report)
        dispatch.shut_down(world, 0)
        print(sum(sizes))
    else:
        world.comm.send(WorkerEvent.CHUNK_REQUESTED, 0, Tag.TO_RANK_0)
        while not marker.exists():
            time.sleep(0.01)
        chunk = world.comm.recv(source=0, tag=Tag.CHUNK)
        world.comm.send(ChunkResult(len(chunk), 0, SHARD, 0), 0, Tag.TO_RANK_0)
        dispatch.run_worker_rank(world, InstantIsolation())


def failing(world: World, num_chunks: int) -> None:
    """Rank 0 fails while it reports the result of this chunk."""
    sizes, exit_code = [], 1

    def report(result: ChunkResult) -> None:
        sizes.append(result.num_inputs)
        if len(sizes) == num_chunks:
            raise PianogenError("no space")

    if world.rank == 0:
        try:
            dispatch.dispatch(world, InstantIsolation(), INPUTS, report)
        except PianogenError:
            dispatch.shut_down(world, 1)
    else:
        exit_code = dispatch.run_worker_rank(world, InstantIsolation())
    print(f"exit code {exit_code}\n", end="")  # one write: the lines of several ranks must not mix


if __name__ == "__main__":
    if sys.argv[1] == "slow":
        slow(find_world(), Path(sys.argv[2]) / "marker")
    else:
        failing(find_world(), int(sys.argv[2]))
