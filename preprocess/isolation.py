"""Inputs are converted in a child process, so that no input can take its rank with it.

A rank starts one host process before it starts MPI; the host never touches MPI and forks a worker that converts chunk after
chunk. The worker has limits on memory and on the CPU time of each input, and appends finished outcomes to the rank's shard
itself. When it dies, the input it was at begins a fresh worker; one that kills this one too has shown that it is the cause.
"""

import ctypes
import errno
import functools
import gc
import math
import mmap
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from pianogen.errors import PianogenError
from pianogen.midi.reader import is_score, read_roll
from pianogen.midi.rejection import Reason
from preprocess import shard
from preprocess.outcome import Options, Outcome, convert, rejected
from preprocess.sources import Input

MEMORY_LIMIT_BYTES = 4 << 30
_WALL_PER_CPU = 10  # a sleeper is caught by the clock, a busy input on a loaded node is not
_PR_SET_PDEATHSIG = 1
_CHUNKS_SENT = 2  # the one the host is at and the next
_INPUTS_PER_WORKER = 16_384  # what libraries leak goes with the worker
_FINISHED, _REJECTED, _SHARD_SIZE, _WRITE_ERROR = range(4)  # places in the memory a worker shares with the host
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


class Tally(NamedTuple):
    """What became of a chunk.

    Attributes:
        num_inputs: in the chunk.
        num_rejected: of them.
        shard: where its records are.
        size: bytes of that shard when the last of them was written.
    """

    num_inputs: int
    num_rejected: int
    shard: Path
    size: int


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
        gc.freeze()  # looking for garbage would write to the pages that parent and child share
        pid = os.fork()
        if pid == 0:
            self._connection.close()
            _run_child(parent, lambda: _host(theirs, path, options, limits))
        theirs.close()
        self._pid = pid
        self._waiting: deque[list[Input]] = deque()
        self._num_sent = 0

    def submit(self, chunk: Sequence[Input]) -> None:
        """Hands over a chunk, without waiting; chunks are converted in turn."""
        self._waiting.append(list(chunk))
        self._send()

    def _send(self) -> None:
        """Sends what the pipe has room for, so that it never blocks: the host takes nothing while it is at a chunk."""
        with suppress(BrokenPipeError):  # the host is gone, as collecting will tell
            while self._waiting and self._num_sent < _CHUNKS_SENT:
                self._connection.send(self._waiting.popleft())
                self._num_sent += 1

    def collect(self, timeout_s: float) -> Tally | None:
        """The tally of the oldest chunk at work, None if it is not done in time.

        Raises:
            PianogenError: the shard cannot be written, or the host process is gone.
        """
        try:
            answer: Tally | PianogenError | None = self._connection.recv() if self._connection.poll(timeout_s) else None
        except (EOFError, ConnectionResetError):
            _, status = os.waitpid(self._pid, 0)
            raise PianogenError(
                f"the process that converts inputs ended ({_describe_end(status)}); what it had finished is kept: "
                "run the same command again"
            ) from None
        if isinstance(answer, PianogenError):
            raise answer
        if answer is not None:
            self._num_sent -= 1
            self._send()
        return answer

    def close(self) -> None:
        """Ends the host after its last chunk; other nodes see its whole shard then."""
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
    with tempfile.TemporaryDirectory(prefix="pianogen-") as folder:
        tempfile.tempdir = folder  # for what a worker that is killed leaves behind
        _serve(connection, path, options, limits)


def _serve(connection: Connection, path: Path, options: Options, limits: Limits) -> None:
    from pianogen.midi.kernel_cache import compile_once, release_compiler  # the rank itself needs neither numba nor its memory

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rank decides what an interrupt means
    compile_once(lambda: read_roll(_WARM_UP, "warm.mid"))  # workers inherit the kernels
    release_compiler()
    handle = None
    crew = None
    while (chunk := _next_chunk(connection)) is not None:
        if options.parser == "music21" or any(is_score(each.name) for each in chunk):
            import pianogen.midi.music21_reader  # noqa: F401 - workers inherit it
        if crew is None or handle is None:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            crew = _Crew(path, handle, functools.partial(convert, options=options, folder=path.parent), limits)
        answer: Tally | PianogenError
        try:
            answer = crew.convert(chunk)
        except ShardError as error:
            answer = PianogenError(f"{path} cannot be written: {error}; make room and run the same command again")
        with suppress(BrokenPipeError):  # the rank is gone or has given up, as the next look for a chunk will tell
            connection.send(answer)
    # No fsync: records say themselves whether they are whole, and what a power cut takes is converted again.
    if handle is not None:
        os.close(handle)  # a network file system shows other nodes what was written before


def _next_chunk(connection: Connection) -> list[Input] | None:
    try:
        chunk: list[Input] | None = connection.recv()
    except (EOFError, ConnectionResetError):  # the rank is gone or has given up
        return None
    return chunk


class _Crew:
    """The host's worker: one at a time, replaced when it dies, and now and then before."""

    def __init__(self, path: Path, handle: int, conversion: Callable[[Input], Outcome], limits: Limits) -> None:
        self._path, self._handle, self._conversion, self._limits = path, handle, conversion, limits
        # What the worker has finished, in shared memory: the host learns it without being woken for each input.
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self._pid = 0
        self._num_converted = 0

    def convert(self, chunk: list[Input]) -> Tally:
        """Every input of the chunk becomes one record of the shard.

        Raises:
            ShardError: the shard cannot be written.
        """
        at = num_rejected = 0
        while at < len(chunk):
            if self._pid == 0:
                self._hire()
            is_fresh = self._num_converted == 0
            self._numbers[:4] = memoryview(array("q", [0, 0, os.fstat(self._handle).st_size, 0]))
            failure = self._run(chunk[at:])
            num_finished, rejects = self._numbers[_FINISHED], self._numbers[_REJECTED]
            at += num_finished
            num_rejected += rejects
            self._num_converted += num_finished
            # An input that kills a worker which had done others before may be innocent: it gets a fresh one.
            if failure is not None and num_finished == 0 and is_fresh:
                self._reject(chunk[at], *failure)
                at += 1
                num_rejected += 1
            if self._num_converted > _INPUTS_PER_WORKER:
                self._dismiss()
        return Tally(len(chunk), num_rejected, self._path, os.fstat(self._handle).st_size)

    def _reject(self, source: Input, reason: Reason, message: str) -> None:
        try:
            shard.append(self._handle, rejected(source, reason, message))
        except OSError as error:
            raise ShardError(os.strerror(error.errno or errno.EIO)) from error

    def _hire(self) -> None:
        self._connection, theirs = Pipe()
        parent = os.getpid()
        gc.freeze()
        self._pid = os.fork()
        if self._pid == 0:
            self._connection.close()
            _run_child(parent, lambda: self._work(theirs))
        theirs.close()
        self._num_converted = 0

    def _dismiss(self) -> int:
        self._connection.close()
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return status

    def _run(self, inputs: list[Input]) -> tuple[Reason, str] | None:
        """Has the worker convert the inputs; why it died, if it did."""
        with suppress(BrokenPipeError):  # it died between two chunks, as it turns out below
            self._connection.send(inputs)
        seen, overslept = -1, False
        while not self._connection.poll(self._limits.cpu_s * _WALL_PER_CPU):
            if seen == self._numbers[_FINISHED]:
                overslept = True
                os.kill(self._pid, signal.SIGKILL)
            seen = self._numbers[_FINISHED]
        try:
            self._connection.recv()
        except (EOFError, ConnectionResetError):
            status = self._dismiss()
            os.ftruncate(self._handle, self._numbers[_SHARD_SIZE])
            return _cause_of_death(status, overslept, self._limits)
        if self._numbers[_WRITE_ERROR]:
            os.ftruncate(self._handle, self._numbers[_SHARD_SIZE])
            raise ShardError(os.strerror(self._numbers[_WRITE_ERROR]))
        return None

    def _work(self, connection: Connection) -> None:
        """The worker: converts what it is sent, one record of the shard each."""
        limits = self._limits
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit(resource.RLIMIT_AS, limits.memory_bytes)
        while (inputs := _next_chunk(connection)) is not None:
            try:
                self._convert_all(inputs)
            except OSError as error:
                self._numbers[_WRITE_ERROR] = error.errno or errno.EIO
            connection.send(None)

    def _convert_all(self, inputs: list[Input]) -> None:
        limits = self._limits
        for source in inputs:
            _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + limits.cpu_s)
            try:
                outcome = self._conversion(source)
            except MemoryError:
                outcome = rejected(source, Reason.MEMORY, f"needs more than {limits.memory_bytes >> 20} MiB of memory")
            self._numbers[_SHARD_SIZE] += shard.append(self._handle, outcome)
            self._numbers[_REJECTED] += outcome.status == "rejected"
            self._numbers[_FINISHED] += 1


def _limit(kind: int, most: int) -> None:
    """Sets a limit of this process, the site's own if that is lower."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _cause_of_death(status: int, overslept: bool, limits: Limits) -> tuple[Reason, str]:
    if overslept:
        return Reason.TIMEOUT, f"not done after {limits.cpu_s * _WALL_PER_CPU} s"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Reason.TIMEOUT, f"not done after {limits.cpu_s} s of CPU time"
    return Reason.CRASHED, f"the process that read it ended ({_describe_end(status)})"


def _describe_end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}, {signal.strsignal(os.WTERMSIG(status))}"
    return f"exit code {os.WEXITSTATUS(status)}"
