"""Members of archives, read in place: listed once by rank 0, and then read by position by any rank."""

import errno
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pianogen.errors import UsageError, cause
from pianogen.midi.rejection import Reason, Rejection
from preprocess.archives import streams
from preprocess.archives.member import REFUSAL_MESSAGES, ArchiveKind, Member, Refusal, UnusualEnd
from preprocess.archives.tar_files import list_tar
from preprocess.archives.tree import Tree, TreeError
from preprocess.archives.zip_files import list_zip, read_zip

__all__ = [
    "SUFFIXES",
    "ArchiveKind",
    "Member",
    "Refusal",
    "UnusualEnd",
    "is_archive",
    "list_members",
    "read_member",
    "seek_member",
]

_KINDS: dict[str, ArchiveKind] = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bzip2",
    ".tbz2": "bzip2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
}
SUFFIXES = tuple(_KINDS)
_FIRST_BYTES: dict[bytes, ArchiveKind] = {
    b"PK\3\4": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
# The errors that the archive readers raise for damaged archives; the built-in ones come from invalid numbers and texts.
_DAMAGE_ERRORS = (
    *(zipfile.BadZipFile, tarfile.TarError, struct.error, TreeError, *streams.DAMAGE_ERRORS),
    *(EOFError, ArithmeticError, ValueError, RuntimeError),
)


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its suffix in any case."""
    return name.lower().endswith(SUFFIXES)


def list_members(
    path: str, index_folder: Path | None, report: Callable[[UnusualEnd], None]
) -> Iterator[tuple[bytes, int, Member]]:
    """The name, uncompressed size and position of every file that a file system would show after extraction.

    Args:
        index_folder: the folder to write the index of a compressed tar to; None writes no index, and members cannot be read.
        report: is called if the archive may contain more files.

    Raises:
        UsageError: the archive is damaged or cannot be read.
        PianogenError: its index cannot be written.
    """
    try:
        tree = _list(path, index_folder)
        if tree.unusual_end is not None:
            report(tree.unusual_end)
        yield from tree.files()
    except (OSError, *_DAMAGE_ERRORS) as error:
        # Damage also gives an OSError: without a number from a decompressor, or EINVAL for a position outside the file. Other
        # numbers are failures of the file system.
        is_damaged = not isinstance(error, OSError) or error.errno in (None, errno.EINVAL)
        action = "copy it again" if is_damaged else "make it readable"
        raise UsageError(
            f"{path} cannot be read as an archive ({cause(error)}); {action} or remove it from the corpus"
        ) from error


def _list(path: str, index_folder: Path | None) -> Tree:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")  # opening a FIFO would block until it has a writer
    kind = _kind_of(path)
    if kind == "zip":
        return list_zip(path)
    if kind == "tar":
        with open(path, "rb") as file:
            return list_tar(file, kind)
    with streams.listing(path, kind, index_folder) as stream:
        return list_tar(stream, kind)


def _kind_of(path: str) -> ArchiveKind:
    """The kind by the suffix, except for a tar with the content of another kind: browsers decompress what they download."""
    kind = next(kind for suffix, kind in _KINDS.items() if path.lower().endswith(suffix))
    if kind == "zip":
        return kind
    with open(path, "rb") as file:
        start = file.read(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    if start[_TAR_MAGIC_AT:] == _TAR_MAGIC:  # first, because a tar starts with a name, which may begin with BZh
        return "tar"
    return next((other for first_bytes, other in _FIRST_BYTES.items() if start.startswith(first_bytes)), kind)


def seek_member(path: str, member: Member, index_folder: Path) -> None:
    """Decompresses what lies before the member in a sequential archive, so that reading the member takes little time."""
    if member.kind in streams.SEQUENTIAL and member.method >= 0:
        with suppress(OSError, *_DAMAGE_ERRORS):  # `read_member` raises the error again
            stream = streams.seekable(path, member.kind, index_folder)
            stream.seek(member.offset - 1)
            stream.read(1)


def read_member(path: str, member: Member, size: int, index_folder: Path) -> bytes:
    """The uncompressed bytes of one member.

    Args:
        size: uncompressed size in bytes, at most 16,777,216.

    Raises:
        Rejection: the member is damaged, encrypted, not a regular file, or compressed with an unsupported method.
    """
    if member.method < 0:
        raise Rejection(Reason.UNREADABLE, REFUSAL_MESSAGES[Refusal(member.method)])
    try:
        data = read_zip(path, member, size) if member.kind == "zip" else _read_tar(path, member, size, index_folder)
    except _DAMAGE_ERRORS as error:
        raise Rejection(Reason.UNREADABLE, f"the member is damaged: {error}") from error
    if len(data) != size:
        raise Rejection(Reason.UNREADABLE, f"the archive has {len(data)} of {size} bytes of the member")
    return data


def _read_tar(path: str, member: Member, size: int, index_folder: Path) -> bytes:
    if member.kind == "tar":
        with open(path, "rb") as file:
            file.seek(member.offset)
            return file.read(size)
    stream = streams.seekable(path, member.kind, index_folder)
    stream.seek(member.offset)
    return bytes(stream.read(size))
