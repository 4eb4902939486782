"""Files that are whole or not there: written as a temporary beside the target, fsynced, renamed."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST_BYTES = 200  # of a name, which has room for 255 on most systems


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; at the end it becomes `path`, and after an error it is gone.

    Its name begins with that of `path` and `.tmp`, so that what a killed process leaves is seen for what it is, and ends
    in the same suffix, which some writers insist on.
    """
    begin = os.fsdecode(os.fsencode(path.name)[:_MOST_BYTES])
    temporary = path.with_name(f"{begin}.tmp-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """The whole content of `path`, durably."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """The whole content of `path` in UTF-8, durably."""
    write_bytes(path, text.encode())


def fsync(path: Path) -> None:
    """Returns when the content of a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
