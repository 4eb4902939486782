"""Atomic writes: the content is written to a temporary file in the same folder, fsynced, and renamed."""

import errno
import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAX_STEM_BYTES = 200  # of the temporary file's name; most file systems limit names to 255 bytes
_KEY_LENGTH = 8  # hexadecimal digits
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces `path` at the end of the context and is removed after an error.

    The temporary name starts with the name of `path` and `.tmp-`, so that files of killed processes can be recognized. It has the
    suffix of `path`, which some writers require.
    """
    temporary = path.with_name(f"{_stem(path)}.tmp-{uuid.uuid4().hex[:_KEY_LENGTH]}{path.suffix}")
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    return os.fsdecode(os.fsencode(path.name)[:_MAX_STEM_BYTES])


def remove_leftovers(path: Path) -> None:
    """Removes the temporary files of killed processes that wrote `path`; the caller must be the only process that writes it."""
    pattern = f"{glob.escape(_stem(path))}.tmp-{'[0-9a-f]' * _KEY_LENGTH}{glob.escape(path.suffix)}"
    for temporary in path.parent.glob(pattern):
        temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the content of a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replaces the content of a file atomically, in UTF-8; invalid bytes, such as of the name of a folder, are escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def fsync(path: Path) -> None:
    """Waits until the content of a file, or the entries of a folder, are on the disk.

    Some file systems, such as those of VirtualBox, SMB and FUSE, cannot do that for a folder. Its entries are then written later.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (path.is_dir() and error.errno in _UNSUPPORTED):
            raise OSError(error.errno, error.strerror, str(path)) from error  # the error has no path
    finally:
        os.close(handle)
