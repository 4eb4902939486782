"""Parallel map over chunks of work, with bounded memory and no leftover processes."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pianogen.errors import PianogenError

_CHUNKS_PER_PROCESS = 2  # submitted at a time, so that results do not accumulate

_Chunk = TypeVar("_Chunk")
_Result = TypeVar("_Result")


def map_in_order(function: Callable[[_Chunk], _Result], chunks: Sequence[_Chunk], num_processes: int) -> Iterator[_Result]:
    """Calls a function with every chunk and yields the results in order; one process means the calling process.

    Args:
        function: must be importable; it, the chunks and the results are pickled.

    Raises:
        PianogenError: a process was killed, or this machine cannot create semaphores.
    """
    if num_processes == 1:
        yield from map(function, chunks)
        return
    # Spawned, because a fork is not safe in a process with threads, and the caller may have some.
    try:
        pool = ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn"), _follow_parent)
    except OSError as error:
        raise PianogenError(
            f"processes cannot work together without a writable /dev/shm ({error.strerror}); make it writable, or run the "
            "command on one core: taskset --cpu-list 0 python …"
        ) from error
    pending: deque[Future[_Result]] = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(function, chunk))
            if len(pending) > _CHUNKS_PER_PROCESS * num_processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise PianogenError(
            "a worker process was killed, probably because the machine or the job ran out of memory; run the same command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leaves SIGINT to the parent, and exits when the parent exits, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
