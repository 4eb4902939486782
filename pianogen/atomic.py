"""Atomic writes: a file is written to a temporary beside it, fsynced, and renamed."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAX_STEM_BYTES = 200  # of the temporary's name; most file systems allow names of 255 bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces `path` at the end of the context and is removed after an error.

    Its name is that of `path` followed by `.tmp-`, so that the leftover of a killed process is recognizable, and has the same
    suffix, which some writers require.
    """
    stem = os.fsdecode(os.fsencode(path.name)[:_MAX_STEM_BYTES])
    temporary = path.with_name(f"{stem}.tmp-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the content of a file."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replaces the content of a file, in UTF-8."""
    write_bytes(path, text.encode())


def fsync(path: Path) -> None:
    """Returns once the content of a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
