"""The worker process of a host process: converts inputs one by one under limits, and is replaced after an input has killed it."""

import ctypes
import errno
import math
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import ClassVar

from pianogen.midi.rejection import Reason
from preprocess import library_messages, shard
from preprocess.child_process import ChildProcess, describe_exit, receive_inputs
from preprocess.errors import ShardError
from preprocess.inputs import Input
from preprocess.outcome import Outcome, rejected

_MAX_INPUTS_PER_WORKER = 16_384  # a new process from time to time bounds the memory that libraries leak


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one input.

    Attributes:
        cpu_s: CPU time.
        wall_s: wall-clock time, for an input that waits instead of computing. A worker process that finishes no input for this
            long is killed, after twice this time at the latest.
        memory_bytes: address space of the worker process.
    """

    cpu_s: int = 60
    wall_s: int = 600
    memory_bytes: int = 4 << 30


class _Counters(ctypes.Structure):
    """Counters that the worker process writes and the host process reads, in shared memory.

    They survive the death of the worker process, and reading them costs the host process no message per input.

    Attributes:
        num_finished: inputs finished since the inputs were sent.
        num_rejected: rejected pieces among them.
        shard_bytes: the size of the shard after its last complete record.
        write_errno: the error that writing the shard raised, 0 if none.
    """

    num_finished: int
    num_rejected: int
    shard_bytes: int
    write_errno: int
    _fields_: ClassVar = [(name, ctypes.c_int64) for name in ("num_finished", "num_rejected", "shard_bytes", "write_errno")]


class WorkerProcess:
    """Runs one worker process at a time; forks it when there is work, and a new one after its death or after many inputs.

    Args:
        handle: the shard, opened with O_APPEND.
        seek: moves to the input in its archive; the limit of CPU time does not apply.
        conversion: converts one input to its pieces.
    """

    def __init__(
        self, handle: int, seek: Callable[[Input], None], conversion: Callable[[Input], list[Outcome]], limits: Limits
    ) -> None:
        self._handle, self._seek, self._conversion, self._limits = handle, seek, conversion, limits
        self._counters = _Counters.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
        self._process: ChildProcess | None = None
        self._num_converted = 0

    def convert(self, chunk: Sequence[Input]) -> tuple[int, int]:
        """Appends one record per input to the shard.

        Returns:
            The number of rejected pieces, and the size of the shard in bytes.

        Raises:
            ShardError: the shard cannot be written.
        """
        num_finished = num_rejected = 0
        while num_finished < len(chunk):
            if self._process is None:
                self._process = ChildProcess(self._work)
                self._num_converted = 0
            is_new = self._num_converted == 0
            failure = self._run(self._process, chunk[num_finished:])
            self._num_converted += self._counters.num_finished
            num_finished += self._counters.num_finished
            num_rejected += self._counters.num_rejected
            # A worker process that dies at its first input shows that this input is the cause. If it has converted others
            # before, they may be the cause, and the input is tried again in a new process.
            if failure is not None and self._counters.num_finished == 0 and is_new:
                self._reject(chunk[num_finished], *failure)
                num_finished += 1
                num_rejected += 1
            if self._num_converted > _MAX_INPUTS_PER_WORKER and self._process is not None:
                self._end(self._process)
        return num_rejected, os.fstat(self._handle).st_size

    def _reject(self, source: Input, reason: Reason, message: str) -> None:
        try:
            shard.append(self._handle, source.number, [rejected(reason, message)])
        except OSError as error:
            raise ShardError(os.strerror(error.errno or errno.EIO)) from error

    def _end(self, process: ChildProcess) -> int:
        """Waits for the end of the process, which ends when its pipe is closed, and returns its wait status."""
        process.connection.close()
        self._process = None
        return process.wait()

    def _run(self, process: ChildProcess, inputs: Sequence[Input]) -> tuple[Reason, str] | None:
        """Sends inputs to the worker process and waits; returns the reason and message of its death, None if it is alive.

        Raises:
            ShardError: the shard cannot be written.
        """
        counters = self._counters
        counters.num_finished = counters.num_rejected = counters.write_errno = 0
        counters.shard_bytes = os.fstat(self._handle).st_size
        with suppress(BrokenPipeError):  # the process died between two chunks, which recv() below detects
            process.connection.send(inputs)
        has_timed_out = self._kill_if_stuck(process)
        try:
            process.connection.recv()
        except (EOFError, ConnectionResetError):
            status = self._end(process)
            self._truncate()
            return _cause_of_death(status, has_timed_out, self._limits)
        if counters.write_errno:
            self._truncate()
            raise ShardError(os.strerror(counters.write_errno))
        return None

    def _kill_if_stuck(self, process: ChildProcess) -> bool:
        """Waits until the process answers or dies, and kills it if it makes no progress; returns whether it was killed."""
        num_finished, is_killed = -1, False
        while not process.connection.poll(self._limits.wall_s):
            if num_finished == self._counters.num_finished:
                is_killed = True
                os.kill(process.pid, signal.SIGKILL)
            num_finished = self._counters.num_finished
        return is_killed

    def _truncate(self) -> None:
        """Removes an incomplete record from the end of the shard."""
        os.ftruncate(self._handle, self._counters.shard_bytes)

    def _work(self, connection: Connection) -> None:
        """The code of the worker process."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _set_limit(resource.RLIMIT_AS, self._limits.memory_bytes)
        with library_messages.collected() as messages:
            while (inputs := receive_inputs(connection)) is not None:
                try:
                    for source in inputs:
                        self._convert_one(source)
                        messages.log(source.name)
                except OSError as error:
                    self._counters.write_errno = error.errno or errno.EIO
                connection.send(None)

    def _convert_one(self, source: Input) -> None:
        try:
            if source.member is not None:
                _set_limit(resource.RLIMIT_CPU, sys.maxsize)
                self._seek(source)
            _set_limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + self._limits.cpu_s)
            outcomes = self._conversion(source)
        except MemoryError:
            outcomes = [rejected(Reason.MEMORY, f"needs more than {self._limits.memory_bytes >> 20} MiB of memory")]
        # In this order: a process killed in between leaves num_finished too low, and the input is converted again.
        self._counters.shard_bytes += shard.append(self._handle, source.number, outcomes)
        self._counters.num_rejected += sum(outcome.reason is not None for outcome in outcomes)
        self._counters.num_finished += 1


def _set_limit(kind: int, value: int) -> None:
    """Sets a soft limit of this process, or the site's hard limit if that is lower."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _cause_of_death(status: int, has_timed_out: bool, limits: Limits) -> tuple[Reason, str]:
    if has_timed_out:
        return Reason.TIMEOUT, f"not finished after {limits.wall_s} s of wall-clock time"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Reason.TIMEOUT, f"not finished after {limits.cpu_s} s of CPU time"
    return Reason.CRASHED, f"the worker process that converted it ended ({describe_exit(status)})"
