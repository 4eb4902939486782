"""Members of .zip, .tar and .tar.gz archives, read where they lie: listed once, then each read by its position.

A .tar.gz has no positions of its own; listing it builds an index of points to decompress from, which the ranks share as a
file. Workers open it once per chunk, and chunks follow the archive's order, so a chunk costs one search.
"""

import functools
import gzip
import io
import os
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import indexed_gzip

from pianogen.errors import UsageError
from pianogen.midi.reader import MAX_BYTES
from pianogen.midi.rejection import Reason, Rejection

SUFFIXES = (".zip", ".tar", ".tar.gz")
_ZIP_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, what the central directory repeats, lengths of name and extra
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
# An index holds 32 kB per point. A search decompresses half the distance between two points on average.
_POINT_BYTES = 4 << 20
_MOST_POINTS = 2_048
_LIKELY_RATIO = 4
_MOST_LINKS = 40  # as Linux follows
_TAR_END = bytes(tarfile.BLOCKSIZE)
# What the readers of archives raise over damaged ones; of the built-in errors, those of numbers and texts that make no sense.
_DAMAGES = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, indexed_gzip.ZranError, struct.error),
    *(EOFError, ArithmeticError, ValueError, RuntimeError),
)


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """Where one member of an archive lies.

    Attributes:
        kind: of archive; "gzip" is a tar compressed as a whole.
        offset: of a zip member's local header; of a tar member's data, before compression.
        stored_size: bytes in the archive.
        method: the zip compression method; -1 for a member that cannot be read.
        crc: the zip checksum.
    """

    kind: Literal["zip", "tar", "gzip"]
    offset: int
    stored_size: int
    method: int = 0
    crc: int = 0


def is_archive(name: str) -> bool:
    """Whether a file of this name is looked into; its suffix decides, in any case."""
    return name.lower().endswith(SUFFIXES)


def list_members(path: str, folder: Path) -> Iterator[tuple[bytes, int, Member]]:
    """Name, size and place of every file in an archive.

    Args:
        folder: where the index of a .tar.gz is kept.

    Raises:
        UsageError: the archive is damaged.
    """
    try:
        if path.lower().endswith(".zip"):
            yield from _list_zip(path)
        elif path.lower().endswith(".tar"):
            with open(path, "rb") as file:
                yield from _list_tar(file, "tar")
        else:
            yield from _list_gzip(path, folder)
    except (OSError, *_DAMAGES) as error:
        raise UsageError(f"{path} cannot be read as an archive ({error}); copy it again, or take it out of the corpus") from error


def read_member(path: str, member: Member, size: int, folder: Path) -> bytes:
    """The bytes of one member, of at most 16,777,216.

    Raises:
        Rejection: it is damaged, encrypted, or compressed in a way that is not read.
    """
    if member.method < 0:
        raise Rejection(Reason.UNREADABLE, "a link out of the archive, an encrypted or a sparse member")
    try:
        data = _read_zip(path, member, size) if member.kind == "zip" else _read_tar(path, member, size, folder)
    except _DAMAGES as error:
        raise Rejection(Reason.UNREADABLE, f"the member is damaged: {error}") from error
    if len(data) != size:
        raise Rejection(Reason.UNREADABLE, f"{len(data)} of {size} bytes are in the archive")
    return data


def _list_zip(path: str) -> Iterator[tuple[bytes, int, Member]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.orig_filename.endswith("/"):
                continue
            # A name without the UTF-8 flag is bytes of unknown meaning; Python reads them as code page 437.
            name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437", "surrogateescape")
            method = -1 if info.flag_bits & _ENCRYPTED else info.compress_type
            yield _plain(name), info.file_size, Member("zip", info.header_offset, info.compress_size, method, info.CRC)


def _read_zip(path: str, member: Member, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(member.offset)
        signature, name_size, extra_size = _ZIP_LOCAL_HEADER.unpack(file.read(_ZIP_LOCAL_HEADER.size))
        file.seek(name_size + extra_size, io.SEEK_CUR)
        stored = file.read(min(member.stored_size, 2 * MAX_BYTES))
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Rejection(Reason.UNREADABLE, f"zip compression method {member.method}; stored and deflated members are read")
    data = stored
    if member.method == zipfile.ZIP_DEFLATED:
        # One byte more than announced is enough to see that the announcement was false.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, size + 1)
    if signature != b"PK\x03\x04" or len(data) != size or zlib.crc32(data) != member.crc:
        raise Rejection(Reason.UNREADABLE, "the member is not what the archive's directory says")
    return data


class _Header(tarfile.TarInfo):
    """A member's header; a negative size would have tarfile go back and forth for ever (CVE-2025-8194)."""

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError(f"a member of {count} bytes")
        return -(-count // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _list_tar(file: "io.BufferedIOBase", kind: Literal["tar", "gzip"]) -> Iterator[tuple[bytes, int, Member]]:
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape", tarinfo=_Header) as archive:
        members = {posixpath.normpath(info.name): info for info in archive}
        for info in archive:
            name = info.name.encode("utf-8", "surrogateescape")
            is_link = info.islnk() or info.issym()
            if not is_link and not info.isfile():
                continue
            target = _follow(info, members) if is_link else info
            if target is None or not target.isfile() or target.issparse():
                yield _plain(name), 0, Member(kind, 0, 0, -1)
            else:
                yield _plain(name), target.size, Member(kind, target.offset_data, target.size)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != _TAR_END:  # tarfile takes a damaged or missing header for the end
            raise tarfile.ReadError(f"neither a member nor the end of the archive at byte {archive.offset}")


def _follow(link: tarfile.TarInfo, members: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The member at the end of a link, or of a chain of links; None if it leads out of the archive, or in a circle."""
    for _ in range(_MOST_LINKS):
        place = link.linkname if link.islnk() else posixpath.join(posixpath.dirname(link.name), link.linkname)
        target = members.get(posixpath.normpath(place))
        if target is None or not (target.islnk() or target.issym()):
            return target
        link = target
    return None


def _list_gzip(path: str, folder: Path) -> Iterator[tuple[bytes, int, Member]]:
    spacing = max(_POINT_BYTES, _LIKELY_RATIO * Path(path).stat().st_size // _MOST_POINTS)
    with indexed_gzip.IndexedGzipFile(path, spacing=spacing) as stream:
        yield from _list_tar(stream, "gzip")
        stream.build_full_index()
        _check_end(path, stream.seek(0, os.SEEK_END))
        stream.export_index(str(_index(path, folder)))


def _check_end(path: str, size: int) -> None:
    """Refuses a stream that ends before its checksum, which reading with an index would take for whole.

    Args:
        size: bytes it unpacked to. The last four bytes of a file of one stream say the same (RFC 1952).
    """
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(4), "little") == size % (1 << 32):
            return
    with gzip.open(path) as stream:  # several streams, or one that is damaged: unpacked once more, this tells
        while stream.read(1 << 20):
            pass


def _read_tar(path: str, member: Member, size: int, folder: Path) -> bytes:
    if member.kind == "gzip":
        stream = _open_gzip(path, folder)
        stream.seek(member.offset)
        return bytes(stream.read(size))
    with open(path, "rb") as file:
        file.seek(member.offset)
        return file.read(size)


@functools.lru_cache(maxsize=4)
def _open_gzip(path: str, folder: Path) -> "indexed_gzip.IndexedGzipFile":
    # It opens the archive for each read and closes it again, so that forked workers never share a position.
    return indexed_gzip.IndexedGzipFile(path, index_file=str(_index(path, folder)), drop_handles=True)


def _index(path: str, folder: Path) -> Path:
    return folder / f"gzip-{zlib.crc32(path.encode('utf-8', 'surrogateescape')):08x}"


def _plain(name: bytes) -> bytes:
    """A member's path below the archive's root; it is a name and never a place on disk, and ends at a NUL."""
    return b"/".join(part for part in name.partition(b"\0")[0].split(b"/") if part not in (b"", b".", b".."))
