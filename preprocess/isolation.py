"""Inputs are converted in a child process, so that no input can take its rank with it.

A rank starts one host process before it starts MPI; the host never touches MPI and forks a worker per chunk of inputs. A
worker has limits on memory and on the CPU time of each input, and appends finished outcomes to the rank's shard itself.
When it dies, the input it was at begins a fresh worker; one that kills this one too has shown that it is the cause.
"""

import ctypes
import functools
import os
import resource
import select
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath

from pianogen.errors import PianogenError
from pianogen.midi_in import SCORE_SUFFIXES, read_roll
from pianogen.rejection import Reason
from preprocess import shard
from preprocess.outcome import Options, Outcome, convert, rejected
from preprocess.sources import Input

MEMORY_LIMIT_BYTES = 4 << 30
_WALL_PER_CPU = 10  # a sleeper is caught by the clock, a busy input on a loaded node is not
_PR_SET_PDEATHSIG = 1
_CANNOT_WRITE = "cannot-write"
_WARM_UP = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\x0c\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one input may take.

    Attributes:
        cpu_s: seconds of CPU time.
        memory_bytes: address space of the worker.
    """

    cpu_s: int = 60
    memory_bytes: int = MEMORY_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a chunk: inputs by status or reason code, and their bytes."""

    outcomes: Counter[str]
    num_bytes: int


class ShardError(PianogenError):
    """A shard cannot be written; no input is at fault."""


class Isolation:
    """The host process of one rank, seen from the rank. Made before MPI is started.

    Args:
        path: the shard that outcomes go to; it is created with the first chunk.
    """

    def __init__(self, path: Path, options: Options, limits: Limits) -> None:
        self._connection, theirs = Pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._connection.close()
            _run_child(parent, lambda: _host(theirs, path, options, limits))
        theirs.close()
        self._pid = pid

    def submit(self, chunk: Sequence[Input]) -> None:
        """Hands over a chunk; chunks are converted in turn."""
        self._connection.send(list(chunk))

    def collect(self, timeout_s: float) -> Tally | None:
        """The tally of the oldest chunk at work, None if it is not done in time.

        Raises:
            PianogenError: the shard cannot be written, or the host process is gone.
        """
        try:
            answer: Tally | PianogenError | None = self._connection.recv() if self._connection.poll(timeout_s) else None
        except EOFError:
            _, status = os.waitpid(self._pid, 0)
            raise PianogenError(
                f"the process that converts inputs ended ({_describe_end(status)}); what it had finished is kept: "
                "run the same command again"
            ) from None
        if isinstance(answer, PianogenError):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the host after its last chunk; its shard is on disk then."""
        self._connection.send(None)
        _, status = os.waitpid(self._pid, 0)
        self._connection.close()
        if status != 0:
            raise PianogenError(f"the process that converts inputs failed at its end ({_describe_end(status)})")


def _run_child(parent: int, body: Callable[[], None]) -> None:
    """Runs the body of a forked child, which ends with its parent and never returns into its code."""
    code = 1
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else it ended before the line above took effect
            body()
            code = 0
    except BaseException:  # noqa: BLE001 - a child must report anything and still never return
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _host(connection: Connection, path: Path, options: Options, limits: Limits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rank decides what an interrupt means
    read_roll(_WARM_UP, "warm.mid")  # workers inherit the compiled kernels
    handle = None
    while (chunk := _next_chunk(connection)) is not None:
        if options.parser == "music21" or any(PurePosixPath(each.name).suffix.lower() in SCORE_SUFFIXES for each in chunk):
            import pianogen.music21_reader  # noqa: F401 - workers inherit it
        if handle is None:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        conversion = functools.partial(convert, options=options, folder=path.parent)
        try:
            connection.send(_convert_chunk(handle, chunk, conversion, limits))
        except ShardError as error:
            connection.send(PianogenError(f"{path} cannot be written: {error}; make room and run the same command again"))
    if handle is not None:
        os.fsync(handle)


def _next_chunk(connection: Connection) -> list[Input] | None:
    try:
        chunk: list[Input] | None = connection.recv()
    except EOFError:  # the rank is gone or has given up
        return None
    return chunk


def _convert_chunk(handle: int, chunk: list[Input], conversion: Callable[[Input], Outcome], limits: Limits) -> Tally:
    outcomes: Counter[str] = Counter()
    at = 0
    while at < len(chunk):
        finished, failure = _run_worker(handle, chunk[at:], conversion, limits, outcomes)
        at += finished
        if failure is not None and finished == 0:
            reason, message = failure
            shard.append(handle, rejected(chunk[at], reason, message))
            outcomes[reason] += 1
            at += 1
    return Tally(outcomes, sum(max(each.size, 0) for each in chunk))


def _run_worker(
    handle: int, inputs: list[Input], conversion: Callable[[Input], Outcome], limits: Limits, outcomes: Counter[str]
) -> tuple[int, tuple[Reason, str] | None]:
    """How many of the inputs a fresh worker finished, and why it died if it did."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run_child(parent, lambda: _work(handle, writer, inputs, conversion, limits))
    os.close(writer)
    whole = os.fstat(handle).st_size
    finished = 0
    overslept = False
    problem = ""
    with os.fdopen(reader, "rb") as acknowledgements:
        while True:
            ready, _, _ = select.select([acknowledgements], [], [], limits.cpu_s * _WALL_PER_CPU)
            if not ready:
                overslept = True
                os.kill(pid, signal.SIGKILL)
            line = acknowledgements.readline()
            if not line.endswith(b"\n"):
                break
            what, _, rest = line.decode().strip().partition(" ")
            if what == _CANNOT_WRITE:
                problem = rest
                continue
            outcomes[what] += 1
            whole = int(rest)
            finished += 1
    _, status = os.waitpid(pid, 0)
    if finished == len(inputs) and status == 0 and not problem:
        return finished, None
    os.ftruncate(handle, whole)
    if problem:
        raise ShardError(problem)
    return finished, _cause_of_death(status, overslept, limits)


def _work(handle: int, writer: int, inputs: list[Input], conversion: Callable[[Input], Outcome], limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    for source in inputs:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + limits.cpu_s, resource.RLIM_INFINITY))
        try:
            outcome = conversion(source)
        except MemoryError:
            outcome = rejected(source, Reason.MEMORY, f"needs more than {limits.memory_bytes >> 20} MiB of memory")
        try:
            shard.append(handle, outcome)
        except OSError as error:
            os.write(writer, f"{_CANNOT_WRITE} {error.strerror}\n".encode())
            return
        os.write(writer, f"{outcome.reason or outcome.status} {os.fstat(handle).st_size}\n".encode())


def _cause_of_death(status: int, overslept: bool, limits: Limits) -> tuple[Reason, str]:
    if overslept:
        return Reason.TIMEOUT, f"not done after {limits.cpu_s * _WALL_PER_CPU} s"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Reason.TIMEOUT, f"not done after {limits.cpu_s} s of CPU time"
    return Reason.CRASHED, f"the process that read it ended ({_describe_end(status)})"


def _describe_end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.WEXITSTATUS(status)}"
