"""The rendezvous of the processes that train one run together, one on each node: they exchange their addresses."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.cluster import environment
from jobs.cluster.own_job import OwnJob
from jobs.records.run_directory import Run
from pianogen.command import counted
from pianogen.errors import PianogenError
from pianogen.polling import wait_until
from pianogen.training.resources import Workers

_TIMEOUT_S, _POLL_S = 300.0, 0.2


class WorkerError(PianogenError):
    """The workers of a run did not all start."""


@contextmanager
def meet(run: Run, own: OwnJob) -> Iterator[Workers]:
    """The workers of the job of this process.

    Each worker writes its address, with a port that is free on its node, to a file in the directory of the run.

    Raises:
        WorkerError: a worker is missing after 5 minutes, or their number is not the configured one.
    """
    nodes = run.read_config().slurm.nodes
    if own.id and own.num_tasks != nodes:
        raise WorkerError(
            f"job {own.id} has {counted(own.num_tasks, 'task')}, but config.yaml has slurm.nodes {nodes}; resubmit the run"
        )
    if own.num_tasks == 1:
        yield Workers()
        return
    folder = run.path / "log" / f"workers-{own.id}-{own.restarts}"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{own.rank}.tmp"
    temporary.write_text(f"{socket.gethostname()}:{_free_port()}")
    temporary.rename(folder / str(own.rank))
    paths = [folder / str(rank) for rank in range(own.num_tasks)]
    if not wait_until(lambda: all(path.is_file() for path in paths), _TIMEOUT_S, _POLL_S):
        missing = ", ".join(path.name for path in paths if not path.is_file())
        raise WorkerError(
            f"workers {missing} of {own.num_tasks} did not start within {_TIMEOUT_S:.0f} s; see {run.path / 'log'}, and resubmit"
        )
    addresses = [path.read_text() for path in paths]
    # gRPC would send the messages of the workers to a proxy that http_proxy names, and they would wait for each other forever.
    hosts = ",".join(address.rpartition(":")[0] for address in addresses)
    try:
        with environment.modified({"no_grpc_proxy": hosts}):
            yield Workers(own.rank, addresses)
    finally:
        if own.rank == 0:
            shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
