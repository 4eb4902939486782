"""Atomic writes: the content is written to a temporary file in the same folder, fsynced, and renamed."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAX_STEM_BYTES = 200  # of the temporary file's name; most file systems limit names to 255 bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces `path` at the end of the context and is removed after an error.

    The temporary name starts with the name of `path` and `.tmp-`, so that files of killed processes can be recognized. It has the
    suffix of `path`, which some writers require.
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
    """Replaces the content of a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replaces the content of a file atomically, in UTF-8."""
    write_bytes(path, text.encode())


def fsync(path: Path) -> None:
    """Waits until the content of a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
