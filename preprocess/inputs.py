"""The inputs of a corpus. In columns two million of them take 0.2 GB of memory, and as objects 0.9 GB."""

import io
import os
import stat
import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from gzip import GzipFile
from pathlib import Path
from typing import NamedTuple, get_args, overload

import numpy as np

from pianogen.midi.reader import MAX_BYTES, too_large
from pianogen.midi.rejection import Reason, Rejection
from preprocess.archives import ArchiveKind, Member, read_member, seek_member
from preprocess.lazy_sequence import LazySequence
from preprocess.text_column import Names

GZIP = ".gz"
_GZIP_FIRST_BYTES = b"\x1f\x8b"
_KINDS: tuple[ArchiveKind, ...] = get_args(ArchiveKind)
_MEMBER = struct.Struct("<BqqiI")  # the fields of Member, the kind as a number
_MEMBER_ROW = np.dtype({"names": ["offset"], "formats": ["<i8"], "offsets": [1], "itemsize": _MEMBER.size})
_NO_MEMBER = -1
_READ_AHEAD_BYTES = 4096  # the file may grow
_ROW = np.dtype([("path", "<u4"), ("size", "<i8"), ("mtime_ns", "<i8"), ("member", "<i4")])


class Input(NamedTuple):
    """A file, or a member of an archive, that is converted to one or more pieces or rejected.

    Attributes:
        name: path below the corpus root, with '/'; invalid bytes as \\xNN, a backslash doubled.
        path: the file, or the archive that contains the member.
        size: bytes, -1 if the file system does not report it; the compressed size of a .mid.gz.
        mtime_ns: modification time of the file or archive; name, size and time identify a version of the input.
        member: the position in the archive, None for a file.
        number: the position among all inputs, in order of name.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    member: Member | None = None
    number: int = 0

    def seek(self, index_folder: Path) -> None:
        """Moves to the input in its archive; what lies before it costs time that is not due to this input."""
        if self.member is not None:
            seek_member(self.path, self.member, index_folder)

    def read(self, index_folder: Path) -> bytes:
        """The bytes of the input, uncompressed.

        Args:
            index_folder: the folder of the archive indexes.

        Raises:
            Rejection: the input cannot be read, is not a regular file, or is larger than 16,777,216 bytes.
        """
        if self.size > MAX_BYTES:
            raise too_large(self.size)
        try:
            if self.member is not None:
                data = read_member(self.path, self.member, self.size, index_folder)
            else:
                data = _read_file(self.path)
        except OSError as error:
            raise Rejection(Reason.UNREADABLE, error.strerror or str(error)) from error
        # Browsers decompress what they download, and keep its name.
        is_compressed = self.name.lower().endswith(GZIP) and data.startswith(_GZIP_FIRST_BYTES)
        return _gunzip(data) if is_compressed else data


def _read_file(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # O_NONBLOCK: opening a FIFO would block until it has a writer
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Rejection(Reason.UNREADABLE, "not a regular file")
        if status.st_size > MAX_BYTES:
            raise too_large(status.st_size)
        parts = []
        while part := os.read(handle, status.st_size + _READ_AHEAD_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _gunzip(data: bytes) -> bytes:
    with GzipFile(fileobj=io.BytesIO(data)) as stream:
        try:
            content = stream.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Rejection(Reason.UNREADABLE, f"the gzip data is damaged: {error}") from error
    if len(content) > MAX_BYTES:
        raise Rejection(Reason.TOO_LARGE, f"more than {MAX_BYTES:,} bytes, uncompressed")
    return content


class Inputs(Sequence[Input]):
    """All inputs, in order of name.

    Args:
        inputs: the inputs in any order; their `number` is set here.

    Attributes:
        names: the names of the inputs.
    """

    def __init__(self, inputs: Iterable[Input]) -> None:
        names: list[str] = []
        columns = {"path": array("I"), "size": array("q"), "mtime_ns": array("q"), "member": array("i")}
        paths: dict[tuple[str, bool], int] = {}
        self._members = bytearray()
        for source in inputs:
            names.append(source.name)
            row = (paths.setdefault(_shorten(source), len(paths)), source.size, source.mtime_ns, self._add_member(source.member))
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        self._paths = list(paths)
        order = sorted(range(len(names)), key=names.__getitem__)
        self.names = Names(names[index] for index in order)
        self._rows = np.empty(len(names), _ROW)
        for name, column in columns.items():
            self._rows[name] = np.frombuffer(column, _ROW[name])[order]

    def _add_member(self, member: Member | None) -> int:
        """Stores a member, and returns its number."""
        if member is None:
            return _NO_MEMBER
        kind = _KINDS.index(member.kind)
        self._members += _MEMBER.pack(kind, member.offset, member.stored_size, member.method, member.crc)
        return len(self._members) // _MEMBER.size - 1

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Input: ...
    @overload
    def __getitem__(self, index: slice) -> list[Input]: ...
    def __getitem__(self, index: int | slice) -> Input | list[Input]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        name = self.names[index]
        path, size, mtime_ns, number = self._rows[index].item()
        prefix, has_name = self._paths[path]
        member = None
        if number != _NO_MEMBER:
            kind, *position = _MEMBER.unpack_from(self._members, number * _MEMBER.size)
            member = Member(_KINDS[kind], *position)
        return Input(name, prefix + name if has_name else prefix, size, mtime_ns, member, index)

    def in_reading_order(self, indices: np.ndarray) -> Sequence[Input]:
        """Some inputs: files sorted by name, then the members of each archive sorted by offset.

        Args:
            indices: (N,) int64, ascending.
        """
        path, member = self._rows["path"][indices].astype(np.int64), self._rows["member"][indices]
        has_member = member != _NO_MEMBER
        archive, offset = np.where(has_member, path, _NO_MEMBER), np.zeros(len(indices), np.int64)
        offset[has_member] = np.frombuffer(self._members, _MEMBER_ROW)["offset"][member[has_member]]
        ordered = indices[np.lexsort((offset, archive))]
        return LazySequence(len(ordered), lambda positions: [self[index] for index in ordered[positions].tolist()])


def _shorten(source: Input) -> tuple[str, bool]:
    """The path without the name at its end, and whether it was there: nearly all inputs of a corpus share these."""
    if source.member is None and source.path.endswith(source.name):
        return source.path.removesuffix(source.name), True
    return source.path, False
