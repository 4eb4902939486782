"""The processes that train one run together, one on each node: who they are, as Slurm says, and where each listens."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.cluster.slurm import OwnJob
from jobs.records.run_directory import Run
from pianogen.errors import PianogenError
from pianogen.training.resources import Workers

_WAIT_S, _LOOK_EVERY_S = 300.0, 0.2


class WorkerError(PianogenError):
    """The processes of a run do not find each other."""


@contextmanager
def meet(run: Run, own: OwnJob) -> Iterator[Workers]:
    """The workers of the job this process belongs to.

    Each takes a port that is free on its node, whoever else works there, and tells it through the run's directory.

    Raises:
        WorkerError: not all were there in time, or they are not as many as the configuration says.
    """
    wanted = run.read_config().slurm.nodes
    if own.id and own.size != wanted:
        raise WorkerError(f"job {own.id} has {own.size} tasks and config.yaml says slurm.nodes {wanted}; submit it again")
    if own.size == 1:
        yield Workers()
        return
    folder = run.path / "log" / f"workers-{own.id}-{own.restart}"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{own.rank}.tmp"
    temporary.write_text(f"{socket.gethostname()}:{_free_port()}")
    temporary.rename(folder / str(own.rank))
    deadline = time.monotonic() + _WAIT_S
    paths = [folder / str(rank) for rank in range(own.size)]
    while missing := [path.name for path in paths if not path.is_file()]:
        if time.monotonic() > deadline:
            raise WorkerError(
                f"workers {', '.join(missing)} of {own.size} have not come within {_WAIT_S:.0f} s; see {run.path / 'log'}"
            )
        time.sleep(_LOOK_EVERY_S)
    try:
        yield Workers(own.rank, [path.read_text() for path in paths])
    finally:
        if own.rank == 0:
            shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
