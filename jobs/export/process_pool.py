"""Work on one chunk after another, done in several processes."""

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

_CHUNKS_AHEAD = 2  # of each process, so that results do not pile up

_Chunk = TypeVar("_Chunk")
_Result = TypeVar("_Result")


def in_processes(work: Callable[[_Chunk], _Result], chunks: Sequence[_Chunk], processes: int) -> Iterator[_Result]:
    """The result of each chunk, in order; one process is this one.

    Args:
        work: it, the chunks and the results are pickled; so it stands in a module, and not in the one that was started.

    Raises:
        PianogenError: a process was killed.
    """
    if processes == 1:
        yield from map(work, chunks)
        return
    # Not forked: whoever calls may have threads.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _follow_parent)
    waiting: deque[Future[_Result]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > _CHUNKS_AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise PianogenError(
            "a process was killed, perhaps for want of memory; what was finished is kept: run the same command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leaves it to the parent what an interrupt means, and ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
