"""Writes of the files of a run: those that a run needs to resume are retried, those that only show its progress may fail."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pianogen.polling import wait_until

_PERMANENT = (NotADirectoryError, IsADirectoryError, FileExistsError)  # a later attempt to write has the same result
_RETRY_EVERY_S = 5.0
_OPERATION = re.compile(r"\{\{(?:function_)?node .*?\}\}\s*|\s*\[Op:\w+\]")  # TensorFlow names it before and after a message
_log = logging.getLogger(__name__)


def write_with_retries(write: Callable[[], None], path: Path, retry_min: float) -> None:
    """Calls a function that writes a file, again while the disk is full or does not respond.

    Args:
        path: the file, for log lines.
        retry_min: the time in minutes after which the last error is raised.

    Raises:
        OSError: the file cannot be written.
    """
    failure: OSError | None = None

    def has_written() -> bool:
        nonlocal failure
        try:
            write()
        except _PERMANENT:
            raise
        except OSError as error:
            failure = error
            if retry_min > 0:
                _log.warning("cannot write %s (%s); retrying for up to %g minutes", path, first_line(error), retry_min)
            return False
        return True

    if not wait_until(has_written, 60 * retry_min, _RETRY_EVERY_S if retry_min else 0) and failure is not None:
        raise failure


@contextmanager
def for_display(path: Path) -> Iterator[None]:
    """Logs a warning if a file that only shows the progress of a run cannot be written or drawn."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        _log.warning("%s was not written (%s: %s); training continues", path, type(error).__name__, first_line(error))


def first_line(error: BaseException) -> str:
    """The first line of the message of an error without the operation of TensorFlow, or the name of its type."""
    return (_OPERATION.sub("", str(error)).strip().splitlines() or [type(error).__name__])[0]
