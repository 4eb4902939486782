"""Members of .zip, .tar and .tar.gz archives, read in place: listed once, and then read by position.

A .tar.gz can only be decompressed from its beginning, or from the points of an index. Listing the archive writes this index to a
file that all ranks read. Chunks of inputs follow the order of the archive, so that a chunk costs one seek.
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
_ZIP_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, skipped fields, lengths of name and extra field
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
# An index takes 32 kB per point, and a seek decompresses half the distance between two points on average.
_MIN_SPACING_BYTES = 4 << 20
_MAX_POINTS = 2_048
_COMPRESSION_RATIO = 4  # of a typical corpus; only the number of points depends on it
_MAX_LINKS = 40  # the limit of Linux
_TAR_END = bytes(tarfile.BLOCKSIZE)
# The errors that the archive readers raise for damaged archives; the built-in ones come from invalid numbers and texts.
_DAMAGE_ERRORS = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, indexed_gzip.ZranError, struct.error),
    *(EOFError, ArithmeticError, ValueError, RuntimeError),
)


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """The position of a member in its archive.

    Attributes:
        kind: "gzip" is a compressed tar.
        offset: byte offset of the local header of a zip member, or of the uncompressed data of a tar member.
        stored_size: compressed size in bytes.
        method: the zip compression method; -1 for a member that cannot be read.
        crc: the CRC-32 of a zip member.
    """

    kind: Literal["zip", "tar", "gzip"]
    offset: int
    stored_size: int
    method: int = 0
    crc: int = 0


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its suffix in any case."""
    return name.lower().endswith(SUFFIXES)


def list_members(path: str, index_folder: Path) -> Iterator[tuple[bytes, int, Member]]:
    """The name, uncompressed size and position of every file in an archive.

    Args:
        index_folder: the folder to write the index of a .tar.gz to.

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
            yield from _list_gzip(path, index_folder)
    except (OSError, *_DAMAGE_ERRORS) as error:
        raise UsageError(f"{path} cannot be read as an archive ({error}); copy it again or remove it from the corpus") from error


def read_member(path: str, member: Member, size: int, index_folder: Path) -> bytes:
    """The uncompressed bytes of one member.

    Args:
        size: uncompressed size in bytes, at most 16,777,216.

    Raises:
        Rejection: the member is damaged, encrypted, or compressed with an unsupported method.
    """
    if member.method < 0:
        raise Rejection(Reason.UNREADABLE, "a link to a file outside the archive, or an encrypted or sparse member")
    try:
        data = _read_zip(path, member, size) if member.kind == "zip" else _read_tar(path, member, size, index_folder)
    except _DAMAGE_ERRORS as error:
        raise Rejection(Reason.UNREADABLE, f"the member is damaged: {error}") from error
    if len(data) != size:
        raise Rejection(Reason.UNREADABLE, f"the archive has {len(data)} of {size} bytes of the member")
    return data


def _list_zip(path: str) -> Iterator[tuple[bytes, int, Member]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.orig_filename.endswith("/"):
                continue
            # A name without the UTF-8 flag has an unknown encoding, and Python decodes it as code page 437.
            name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437", "surrogateescape")
            method = -1 if info.flag_bits & _ENCRYPTED else info.compress_type
            yield _relative_path(name), info.file_size, Member("zip", info.header_offset, info.compress_size, method, info.CRC)


def _read_zip(path: str, member: Member, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(member.offset)
        signature, name_size, extra_size = _ZIP_LOCAL_HEADER.unpack(file.read(_ZIP_LOCAL_HEADER.size))
        file.seek(name_size + extra_size, io.SEEK_CUR)
        stored = file.read(min(member.stored_size, 2 * MAX_BYTES))
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Rejection(Reason.UNREADABLE, f"zip compression method {member.method}, expected stored or deflated")
    data = stored
    if member.method == zipfile.ZIP_DEFLATED:
        # One byte more than the directory declares shows that the declared size is wrong.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, size + 1)
    if signature != b"PK\x03\x04" or len(data) != size or zlib.crc32(data) != member.crc:
        raise Rejection(Reason.UNREADABLE, "size or checksum of the member differ from the archive's directory")
    return data


class _Header(tarfile.TarInfo):
    """The header of a tar member; a negative size, which makes tarfile loop endlessly (CVE-2025-8194), is an error."""

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError(f"a member has {count} bytes")
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
                yield _relative_path(name), 0, Member(kind, 0, 0, -1)
            else:
                yield _relative_path(name), target.size, Member(kind, target.offset_data, target.size)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != _TAR_END:  # tarfile ends silently at a damaged header
            raise tarfile.ReadError(f"no member and no end of the archive at byte {archive.offset}")


def _follow(link: tarfile.TarInfo, members: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The member that a chain of links leads to, None if the chain leaves the archive or is a loop."""
    for _ in range(_MAX_LINKS):
        path = link.linkname if link.islnk() else posixpath.join(posixpath.dirname(link.name), link.linkname)
        target = members.get(posixpath.normpath(path))
        if target is None or not (target.islnk() or target.issym()):
            return target
        link = target
    return None


def _list_gzip(path: str, index_folder: Path) -> Iterator[tuple[bytes, int, Member]]:
    spacing = max(_MIN_SPACING_BYTES, _COMPRESSION_RATIO * Path(path).stat().st_size // _MAX_POINTS)
    with indexed_gzip.IndexedGzipFile(path, spacing=spacing) as stream:
        yield from _list_tar(stream, "gzip")
        stream.build_full_index()
        _check_end(path, stream.seek(0, os.SEEK_END))
        stream.export_index(str(_index_path(path, index_folder)))


def _check_end(path: str, size: int) -> None:
    """Raises an error for a gzip file that ends before its checksum, which indexed_gzip reads without an error.

    Args:
        size: uncompressed size in bytes; a file of one gzip stream ends with this number modulo 2**32 (RFC 1952).
    """
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(4), "little") == size % (1 << 32):
            return
    with gzip.open(path) as stream:  # several streams or a damaged one; decompressing all of it raises the error
        while stream.read(1 << 20):
            pass


def _read_tar(path: str, member: Member, size: int, index_folder: Path) -> bytes:
    if member.kind == "gzip":
        stream = _open_gzip(path, index_folder)
        stream.seek(member.offset)
        return bytes(stream.read(size))
    with open(path, "rb") as file:
        file.seek(member.offset)
        return file.read(size)


@functools.lru_cache(maxsize=4)
def _open_gzip(path: str, index_folder: Path) -> "indexed_gzip.IndexedGzipFile":
    # drop_handles opens the archive for every read, so that forked worker processes never share a file position.
    return indexed_gzip.IndexedGzipFile(path, index_file=str(_index_path(path, index_folder)), drop_handles=True)


def _index_path(path: str, index_folder: Path) -> Path:
    return index_folder / f"gzip-{zlib.crc32(path.encode('utf-8', 'surrogateescape')):08x}"


def _relative_path(name: bytes) -> bytes:
    """The path of a member below the archive's root, up to a NUL byte; it is used as a name and never opened."""
    return b"/".join(part for part in name.partition(b"\0")[0].split(b"/") if part not in (b"", b".", b".."))
