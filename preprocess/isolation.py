"""The conversion of inputs, as a rank uses it: no input can crash or block the rank, because other processes convert it.

    rank  ─ chunks ─→  host process  ─ inputs ─→  worker process  ─ records ─→  shard
          ←─ ChunkResult ─           ←─ shared counters ─

A rank starts one host process (host.py) before it initializes MPI, which does not survive a fork. The host process never uses
MPI, and forks a worker process (worker.py) with limits on memory and time. When an input kills the worker process, the host
process rejects that input and forks the next worker process.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pianogen.errors import PianogenError
from pianogen.midi.options import ReadOptions
from preprocess import host
from preprocess.child_process import ChildProcess, describe_exit
from preprocess.host import ChunkResult
from preprocess.inputs import Input
from preprocess.worker import Limits

_MAX_CHUNKS_SENT = 2  # the chunk that the host process converts, and the next one


class Isolation:
    """The host process of one rank, as the rank uses it. It must be created before MPI is initialized.

    Args:
        shard: the file that records are appended to; the host process creates it with the first chunk.
    """

    def __init__(self, shard: Path, options: ReadOptions, limits: Limits) -> None:
        self._process = ChildProcess(lambda connection: host.run(connection, shard, options, limits))
        self._queue: deque[Sequence[Input]] = deque()
        self._num_sent = 0

    def submit(self, chunk: Sequence[Input]) -> None:
        """Queues a chunk without blocking; chunks are converted in order."""
        self._queue.append(chunk)
        self._send()

    def _send(self) -> None:
        """Sends no more chunks than the pipe can hold, because the host process does not read while it converts."""
        with suppress(BrokenPipeError):  # the host process has ended; `collect` reports it
            while self._queue and self._num_sent < _MAX_CHUNKS_SENT:
                self._process.connection.send(self._queue.popleft())
                self._num_sent += 1

    def collect(self, timeout_s: float) -> ChunkResult | None:
        """The result of the oldest chunk, None if the chunk is not finished before the timeout.

        Raises:
            PianogenError: the shard cannot be written, or the host process has ended.
        """
        connection = self._process.connection
        try:
            result: ChunkResult | PianogenError | None = connection.recv() if connection.poll(timeout_s) else None
        except (EOFError, ConnectionResetError):
            raise PianogenError(
                f"the host process that converts inputs ended unexpectedly ({describe_exit(self._process.wait())}); "
                "finished inputs are kept: run the same command again to resume"
            ) from None
        if isinstance(result, PianogenError):
            raise result
        if result is not None:
            self._num_sent -= 1
            self._send()
        return result

    def close(self) -> None:
        """Ends the host process after its last chunk; other nodes then see the complete shard.

        Raises:
            PianogenError: the host process failed.
        """
        self._process.connection.send(None)
        status = self._process.wait()
        self._process.connection.close()
        if status != 0:
            raise PianogenError(
                f"the host process that converts inputs failed while it shut down ({describe_exit(status)}); "
                "run the same command again to resume"
            )
