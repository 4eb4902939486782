"""The file format of a store, schema `pianogen-store/2`; the only module that imports h5py.

/roll                  (S, 22) uint8, the packed rows of all pieces end to end
/tempo_us              (S,) uint32
/bar_position          (S,) uint8
/piece/COLUMN          (P,) each: the columns of `Pieces`, and offset, uint64
attributes             schema, kind, complete (set at the end), steps_per_quarter, num_pieces, num_steps, fingerprint, provenance
"""

import functools
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import h5py
import numpy as np

from pianogen import atomic
from pianogen.command import counted
from pianogen.errors import UsageError, cause
from pianogen.roll import PACKED_BYTES, ROW_BYTES, Roll
from pianogen.store.blocks import cut_blocks, read_ahead
from pianogen.store.pieces import InvalidStoreError, Kind, Pieces, StoreError

_SCHEMA_NAME = "pianogen-store/"
SCHEMA = f"{_SCHEMA_NAME}2"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # the first bytes of an HDF5 file
_CHUNK_STEPS = 8_192  # 180 kB of rows: large enough for a parallel file system, small enough to read a single random window
_CHUNK_PIECES = 4_096
_BLOCK_STEPS = 64 * _CHUNK_STEPS  # read or written at a time


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:  # h5py.is_hdf5 would lock the file
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def check_replaceable(path: Path) -> None:
    """Checks that a new store at `path` would replace nothing but a store of any version, damaged or not, or an empty file.

    Raises:
        UsageError: the file was not written by this program.
    """
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return
    is_store = path.is_file() and _is_hdf5(path)
    if is_store:
        with suppress(OSError), h5py.File(path, "r", locking=False) as file:  # a store may be damaged
            is_store = str(file.attrs.get("schema")).startswith(_SCHEMA_NAME)
    if not is_store:
        raise UsageError(f"{path} exists and is not a store of this program; choose another path, or move the file away")


def write_store(path: Path, kind: Kind, pieces: Pieces, rolls: Iterable[Roll], provenance: dict[str, Any]) -> None:
    """Writes a store in one pass over its rolls, with a few chunks in memory; equal arguments give equal bytes.

    Args:
        rolls: the rolls of the pieces, in order; one roll may contain several pieces, end to end.
        provenance: what determines the content, and never paths, times or the number of ranks.

    Raises:
        StoreError: the rolls do not have the lengths of the pieces, or there is no space left on the device.
        OSError: the file cannot be written; a previous file at `path` is unchanged.
    """
    # HDF5 may crash the process if a device is full, so free space is checked first.
    texts = _text_columns(pieces)
    required, free = _upper_bound_bytes(pieces, texts), shutil.disk_usage(path.parent).free
    if required > free:
        raise StoreError(
            f"No space left on device: {path} needs {required:,} bytes and {free:,} are free; free some space and retry"
        )
    with atomic.replacing(path) as temporary:
        try:
            # Without a lock, which some file systems refuse: no other process knows the temporary name.
            with h5py.File(temporary, "w", locking=False) as file:
                _write_pieces(file.create_group("piece"), pieces, texts)
                _write_content(file, kind, pieces, rolls, provenance)
        except RuntimeError as error:  # h5py raises it for some failed writes
            raise StoreError(f"{path} cannot be written: {cause(error)}; free disk space and retry") from error


class _TextColumn(NamedTuple):
    """A column of texts, and the bytes of the longest one."""

    texts: Sequence[str]
    width: int


def _text_columns(pieces: Pieces) -> dict[str, _TextColumn]:
    columns = {"name": pieces.name, "group": pieces.group, "sha256": pieces.sha256, "sample": pieces.sample}
    return {
        name: _TextColumn(texts, max(1, max(len(text.encode()) for text in texts)))
        for name, texts in columns.items()
        if texts is not None
    }


def _upper_bound_bytes(pieces: Pieces, texts: Mapping[str, _TextColumn]) -> int:
    num_rows = -(-pieces.num_steps // _CHUNK_STEPS) * _CHUNK_STEPS
    text_bytes = sum(column.width for column in texts.values())
    return num_rows * ROW_BYTES + len(pieces) * (text_bytes + 32) + (1 << 20)


def _write_content(file: h5py.File, kind: Kind, pieces: Pieces, rolls: Iterable[Roll], provenance: dict[str, Any]) -> None:
    num_steps = pieces.num_steps
    file.attrs["schema"] = SCHEMA
    file.attrs["kind"] = kind
    file.attrs["complete"] = False
    file.attrs["num_pieces"] = len(pieces)
    file.attrs["num_steps"] = num_steps
    file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
    chunk = min(_CHUNK_STEPS, num_steps)
    packed = file.create_dataset("roll", (num_steps, PACKED_BYTES), "u1", chunks=(chunk, PACKED_BYTES), fletcher32=True)
    tempo_us = file.create_dataset("tempo_us", (num_steps,), "<u4", chunks=(chunk,), fletcher32=True)
    bar_position = file.create_dataset("bar_position", (num_steps,), "u1", chunks=(chunk,), fletcher32=True)
    digest = _new_digest(pieces)
    start = 0
    for block in read_ahead(cut_blocks(pieces, rolls, _CHUNK_STEPS, _BLOCK_STEPS)):
        stop = start + len(block)
        packed[start:stop] = block.packed
        tempo_us[start:stop] = block.tempo_us
        bar_position[start:stop] = block.bar_position
        digest.update(block.packed.reshape(-1).data)
        start = stop
    _update_digest(digest, tempo_us)
    _update_digest(digest, bar_position)
    file.attrs["steps_per_quarter"] = block.steps_per_quarter
    file.attrs["fingerprint"] = digest.hexdigest()
    file.flush()  # all data is in the file before it is marked as complete
    file.attrs["complete"] = True


def _write_pieces(group: h5py.Group, pieces: Pieces, texts: Mapping[str, _TextColumn]) -> None:
    chunk = min(_CHUNK_PIECES, len(pieces))

    def write(name: str, values: np.ndarray, dtype: str) -> None:
        group.create_dataset(name, data=values.astype(dtype), chunks=(chunk,), fletcher32=True)

    write("offset", pieces.offset, "<u8")
    write("steps", pieces.steps, "<u4")
    write("first_step", pieces.first_step, "<u4")
    write("notes", pieces.notes, "<u4")
    write("split", pieces.split, "u1")
    for name, (column, width) in texts.items():
        dtype = h5py.string_dtype("utf-8", width)
        dataset = group.create_dataset(name, len(pieces), dtype, chunks=(chunk,), fletcher32=True)
        for start in range(0, len(pieces), chunk):  # a chunk at a time, because millions of texts would take gigabytes
            encoded = [text.encode() for text in column[start : start + chunk]]
            dataset[start : start + len(encoded)] = np.array(encoded, dtype)


def _new_digest(pieces: Pieces) -> "hashlib._Hash":
    """The hash of the fingerprint, with lengths and splits; all packed rows, all tempos and all bar positions must be added."""
    digest = hashlib.sha256()
    digest.update(pieces.steps.astype("<u4").tobytes())
    digest.update(pieces.split.astype("u1").tobytes())
    return digest


def _update_digest(digest: "hashlib._Hash", rows: h5py.Dataset) -> None:
    for start in range(0, len(rows), _BLOCK_STEPS):
        digest.update(rows[start : start + _BLOCK_STEPS].reshape(-1))


class Store:
    """A complete store, open for reading: a sequence of rolls, which can be looked up by name too; a context manager.

    Attributes:
        path: the file.
        kind: "corpus" or "samples".
        pieces: the table of pieces.
        steps_per_quarter: steps of a quarter note.
        fingerprint: hex sha256 of steps, split, roll, tempo_us and bar_position.
        provenance: what determined the content.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens a store and reads its table of pieces.

        Raises:
            InvalidStoreError: the file does not exist, is not HDF5, has another schema, is incomplete, or its table is damaged.
        """
        self.path = path = Path(path)
        if not path.is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise InvalidStoreError(f"{path} {problem}; give the path of a store that preprocessing or sampling has written")
        if not _is_hdf5(path):
            raise InvalidStoreError(
                f"{path} is not an HDF5 file; expected a store that preprocessing or sampling has written, such as corpus.h5"
            )
        try:
            # Without a lock, which network file systems often refuse: a complete store is never modified.
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            action = "write it again with the command that wrote it"
            if "locking flag" in str(error):  # a process opens a file several times only with the same setting of locks
                action = "close the h5py.File of it in this process, or open that with locking=False"
            raise InvalidStoreError(f"{path} cannot be opened as HDF5 ({cause(error)}); {action}") from error
        try:
            self._read_table()
        except BaseException:
            self._file.close()
            raise

    def _read_table(self) -> None:
        attributes = self._file.attrs
        schema = attributes.get("schema")
        if schema != SCHEMA:
            action = "give the path of a store" if schema is None else "write it again with this version"
            raise InvalidStoreError(f"{self.path} has schema {schema!r}, expected {SCHEMA!r}; {action}")
        if not attributes.get("complete", False):
            raise InvalidStoreError(
                f"{self.path} is incomplete because its writer was stopped; run the command that wrote it again"
            )
        try:
            self.kind: Kind = attributes["kind"]
            self.fingerprint: str = attributes["fingerprint"]
            self.provenance: dict[str, Any] = json.loads(attributes["provenance"])
            self.steps_per_quarter = int(attributes["steps_per_quarter"])
            self._packed, self._tempo_us, self._bar_position = (self._file[name] for name in ("roll", "tempo_us", "bar_position"))
            group = self._file["piece"]
            self.pieces = _read_pieces(group)
            offset, num_steps = group["offset"][:], int(attributes["num_steps"])
        except (KeyError, OSError, ValueError) as error:
            raise InvalidStoreError(self._damage(cause(error))) from error
        lengths = {len(column) for column in (self._packed, self._tempo_us, self._bar_position)}
        if lengths != {num_steps} or num_steps != self.pieces.num_steps:
            found = " and ".join(map(str, sorted(lengths)))
            raise InvalidStoreError(
                self._damage(f"it has {found} rows, expected {self.pieces.num_steps}, the steps of its pieces")
            )
        self._offset = self.pieces.offset
        if not np.array_equal(offset, self._offset):
            raise InvalidStoreError(self._damage("the offsets of its pieces do not match their lengths"))

    def _damage(self, problem: str) -> str:
        return f"{self.path} is damaged: {problem}; write it again with the command that wrote it"

    def _check_open(self) -> None:
        if not self._file:
            raise StoreError(f"{self.path} was closed at the end of its with statement; open it again to read its rolls")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __repr__(self) -> str:
        return f"Store({self.path}: {counted(len(self), 'piece')}, {counted(self.num_steps, 'step')}, kind {self.kind})"

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, piece: int | str) -> Roll:
        """The roll of a piece, by its index or name.

        Raises:
            IndexError, KeyError: the store has no such piece.
            StoreError: a checksum does not match.
        """
        if isinstance(piece, str):
            if piece not in self._index:
                raise KeyError(f"{self.path} has no piece {piece!r}, expected a name in pieces.name")
            return self.roll(self._index[piece])
        return self.roll(range(len(self))[piece])

    def __iter__(self) -> Iterator[Roll]:
        return map(self.roll, range(len(self)))

    def __contains__(self, name: object) -> bool:
        """Whether a piece has this name; without this method, `in` would compare the name with every roll."""
        return name in self._index

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        """Maps the name of each piece to its index."""
        return {name: index for index, name in enumerate(self.pieces.name)}

    @property
    def num_steps(self) -> int:
        """The rows of all pieces."""
        return len(self._packed)

    def rows(self, start: int, stop: int) -> Roll:
        """A range of rows of the store, regardless of where pieces begin.

        Raises:
            StoreError: a checksum does not match, or the store is closed.
        """
        self._check_open()
        try:
            return Roll(
                self._packed[start:stop],
                self._tempo_us[start:stop],
                self._bar_position[start:stop],
                steps_per_quarter=self.steps_per_quarter,
            )
        except OSError as error:
            raise StoreError(self._damage(f"rows {start} to {stop} cannot be read ({cause(error)})")) from error

    def roll(self, index: int) -> Roll:
        """The roll of one piece.

        Raises:
            StoreError: a checksum does not match.
        """
        start = int(self._offset[index])
        rows = self.rows(start, start + int(self.pieces.steps[index]))
        return replace(rows, first_step=int(self.pieces.first_step[index]))

    def read_pieces(self, indices: np.ndarray, into: Roll) -> None:
        """Reads several pieces end to end; adjacent pieces are read together.

        Args:
            indices: (N,) ascending.
            into: a roll of the length of all these pieces, which is overwritten.

        Raises:
            StoreError: a checksum does not match.
        """
        starts = self._offset[indices].astype(np.int64)
        stops = starts + self.pieces.steps[indices]
        is_first = np.append(True, starts[1:] != stops[:-1])[: len(indices)]
        is_last = np.append(is_first[1:], True)[: len(indices)]
        at = 0
        for start, stop in zip(starts[is_first].tolist(), stops[is_last].tolist(), strict=True):
            for first in range(start, stop, _BLOCK_STEPS):
                rows = self.rows(first, min(first + _BLOCK_STEPS, stop))
                into.packed[at : at + len(rows)] = rows.packed
                into.tempo_us[at : at + len(rows)] = rows.tempo_us
                into.bar_position[at : at + len(rows)] = rows.bar_position
                at += len(rows)

    def verify(self) -> None:
        """Reads every row and compares the fingerprint.

        Raises:
            StoreError: a checksum or the fingerprint does not match, or the store is closed.
        """
        self._check_open()
        try:
            digest = _new_digest(self.pieces)
            _update_digest(digest, self._packed)
            _update_digest(digest, self._tempo_us)
            _update_digest(digest, self._bar_position)
        except OSError as error:
            raise StoreError(self._damage(cause(error))) from error
        if digest.hexdigest() != self.fingerprint:
            raise StoreError(self._damage(f"it has fingerprint {digest.hexdigest()}, expected {self.fingerprint}"))


def _read_pieces(group: h5py.Group) -> Pieces:
    def read_text(name: str) -> list[str]:
        return [value.decode() for value in group[name][:].tolist()]

    return Pieces(
        name=read_text("name"),
        group=read_text("group"),
        steps=group["steps"][:],
        first_step=group["first_step"][:],
        notes=group["notes"][:],
        split=group["split"][:],
        sha256=read_text("sha256"),
        sample=read_text("sample") if "sample" in group else None,
    )
