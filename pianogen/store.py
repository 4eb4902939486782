"""The store: one HDF5 file of rolls, written whole or not at all; the one module that touches h5py.

python -m pianogen.store info corpus.h5
python -m pianogen.store verify corpus.h5
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np

from pianogen import atomic, command
from pianogen.errors import PianogenError
from pianogen.roll import PACKED_BYTES, STEPS_PER_QUARTER, Roll

SCHEMA = "pianogen-store/1"
CHUNK_STEPS = 8_192  # 180 kB of rows: large enough for a parallel file system, small enough for one random window
CHUNK_PIECES = 4_096
_READ_STEPS = 64 * CHUNK_STEPS

Kind = Literal["corpus", "samples"]


class StoreError(PianogenError):
    """A store cannot be read or trusted."""


class Split(IntEnum):
    """Which part of the corpus a piece belongs to."""

    TRAIN = 0
    VALID = 1
    TEST = 2
    NONE = 255


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a store, column by column, in the order of their rolls.

    Attributes:
        name: P names.
        group: P names of the first folder below the corpus root, '' if none.
        steps: (P,) uint32.
        first_step: (P,) uint32.
        notes: (P,) uint32, onset cells.
        split: (P,) uint8 of Split.
        sha256: P hex digests of the source bytes.
        sample: P JSON texts of what each sample was drawn with; None in a corpus.
    """

    name: list[str]
    group: list[str]
    steps: np.ndarray
    first_step: np.ndarray
    notes: np.ndarray
    split: np.ndarray
    sha256: list[str]
    sample: list[str] | None = None

    def __len__(self) -> int:
        return len(self.name)

    @property
    def offset(self) -> np.ndarray:
        """(P,) uint64: the row at which each roll begins."""
        return np.asarray(np.cumsum(self.steps, dtype=np.uint64) - self.steps)


def write_store(path: Path, kind: Kind, pieces: Pieces, rolls: Iterable[Roll], provenance: dict[str, Any]) -> None:
    """Writes a store in one pass over its rolls, holding a few chunks of them at a time.

    Equal arguments give equal bytes.

    Args:
        rolls: those of the pieces, in order; several may come as one, end to end.
        provenance: what made the content; nothing about where, when or by how many ranks.

    Raises:
        StoreError: the rolls are not as many or as long as the pieces say, or the disk has no room.
        OSError: the file cannot be written; `path` is as before.
    """
    # HDF5 may end the process with a crash when a disk fills up under it, so room is asked for before.
    needed, free = _size(pieces), shutil.disk_usage(path.parent).free
    if needed > free:
        raise StoreError(f"No space left on device: {path} needs {needed:,} bytes and {free:,} are free; make room for it")
    with atomic.replacing(path) as temporary:
        try:
            with h5py.File(temporary, "w") as file:
                _write_content(file, kind, pieces, rolls, provenance)
        except RuntimeError as error:  # what h5py makes of some failed writes
            raise StoreError(f"{path} cannot be written: {error}") from error


def _size(pieces: Pieces) -> int:
    """About how many bytes the file will have, rather too many than too few."""
    rows = -(-int(pieces.steps.sum(dtype=np.int64)) // CHUNK_STEPS) * CHUNK_STEPS
    columns = [column for column in (pieces.name, pieces.group, pieces.sha256, pieces.sample) if column is not None]
    texts = sum(max(len(text.encode()) for text in column) for column in columns)
    return rows * (PACKED_BYTES + 4) + len(pieces) * (texts + 32) + (1 << 20)


def _write_content(file: h5py.File, kind: Kind, pieces: Pieces, rolls: Iterable[Roll], provenance: dict[str, Any]) -> None:
    num_steps = int(pieces.steps.sum(dtype=np.int64))
    file.attrs["schema"] = SCHEMA
    file.attrs["kind"] = kind
    file.attrs["complete"] = False
    file.attrs["steps_per_quarter"] = STEPS_PER_QUARTER
    file.attrs["num_pieces"] = len(pieces)
    file.attrs["num_steps"] = num_steps
    file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
    _write_pieces(file.create_group("piece"), pieces)
    chunk = min(CHUNK_STEPS, num_steps)
    packed = file.create_dataset("roll", (num_steps, PACKED_BYTES), "u1", chunks=(chunk, PACKED_BYTES), fletcher32=True)
    tempo_us = file.create_dataset("tempo_us", (num_steps,), "<u4", chunks=(chunk,), fletcher32=True)
    digest = _begin_fingerprint(pieces)
    at = 0
    for block in _made_ahead(_blocks(pieces, rolls)):
        packed[at : at + len(block)] = block.packed
        tempo_us[at : at + len(block)] = block.tempo_us
        digest.update(block.packed.reshape(-1).data)
        at += len(block)
    _add_rows(digest, tempo_us)
    file.attrs["fingerprint"] = digest.hexdigest()
    file.flush()
    file.attrs["complete"] = True


def _write_pieces(group: h5py.Group, pieces: Pieces) -> None:
    def write(name: str, values: Any, dtype: Any) -> None:
        chunk = min(CHUNK_PIECES, len(pieces))
        group.create_dataset(name, data=np.asarray(values, dtype), dtype=dtype, chunks=(chunk,), fletcher32=True)

    def write_text(name: str, values: list[str]) -> None:
        encoded = [value.encode() for value in values]
        longest = max(1, max(map(len, encoded)))
        write(name, np.array(encoded, f"S{longest}"), h5py.string_dtype("utf-8", longest))

    write_text("name", pieces.name)
    write_text("group", pieces.group)
    write("offset", pieces.offset, "<u8")
    write("steps", pieces.steps, "<u4")
    write("first_step", pieces.first_step, "<u4")
    write("notes", pieces.notes, "<u4")
    write("split", pieces.split, "u1")
    write_text("sha256", pieces.sha256)
    if pieces.sample is not None:
        write_text("sample", pieces.sample)


def _blocks(pieces: Pieces, rolls: Iterable[Roll]) -> Iterator[Roll]:
    """The rows of all rolls in blocks of whole chunks, the last block excepted."""
    ends = np.cumsum(pieces.steps, dtype=np.int64)
    remaining = iter(rolls)
    waiting: list[Roll] = []
    begin = end = 0  # of what waits
    for stop in _block_stops(ends):
        while end < stop:
            if (roll := next(remaining, None)) is None:
                raise StoreError(f"the rolls have {end} steps where {ends[-1]} were announced")
            waiting.append(roll)
            end += len(roll)
            last = min(int(np.searchsorted(ends, end)), len(ends) - 1)
            if ends[last] != end:
                raise StoreError(f"the rolls up to piece {pieces.name[last]} have {end} steps where {ends[last]} were announced")
        joined, size = _join(waiting), stop - begin
        yield Roll(joined.packed[:size], joined.tempo_us[:size])
        waiting = [Roll(joined.packed[size:], joined.tempo_us[size:])]
        begin = stop
    if any(len(roll) for roll in remaining):
        raise StoreError(f"there are more rolls than the {len(pieces)} pieces that were announced")


def _made_ahead(blocks: Iterator[Roll]) -> Iterator[Roll]:
    """The blocks, each made in a thread while the one before it is written: the making may take as long as the writing."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block


def _block_stops(ends: np.ndarray) -> Iterator[int]:
    """The row at which each block stops.

    It follows from where the pieces end, not from how their rolls arrive: the order in which chunks are written is that in
    which they lie in the file, and equal arguments give equal bytes.
    """
    begin = 0
    while begin < ends[-1]:
        piece = np.searchsorted(ends, begin + _READ_STEPS)
        begin = int(ends[piece]) // CHUNK_STEPS * CHUNK_STEPS if piece < len(ends) else int(ends[-1])
        yield begin


def _join(rolls: list[Roll]) -> Roll:
    return Roll(np.concatenate([roll.packed for roll in rolls]), np.concatenate([roll.tempo_us for roll in rolls]))


def _begin_fingerprint(pieces: Pieces) -> "hashlib._Hash":
    """The hash of lengths and splits, to which all packed rows and then all tempos are added."""
    digest = hashlib.sha256()
    digest.update(pieces.steps.astype("<u4").tobytes())
    digest.update(pieces.split.astype("u1").tobytes())
    return digest


def _add_rows(digest: "hashlib._Hash", rows: h5py.Dataset) -> None:
    for start in range(0, len(rows), _READ_STEPS):
        digest.update(rows[start : start + _READ_STEPS].reshape(-1))


class Store:
    """A finished store, open for reading; a context manager.

    Attributes:
        path: where it lies.
        kind: "corpus" or "samples".
        pieces: the table of its pieces.
        fingerprint: sha256 over steps, split, roll and tempo_us.
        provenance: what made the content.
    """

    def __init__(self, path: Path) -> None:
        """Opens a store and checks that it is whole.

        Raises:
            StoreError: no such file, not HDF5, another schema, incomplete, or its table of pieces is damaged.
        """
        self.path = path
        if not path.is_file():
            raise StoreError(f"{path} does not exist; name a store that preprocessing or sampling has written")
        try:
            # A finished store is never written again, and network file systems often refuse locks.
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be opened as HDF5 ({error}); write it again with the command that made it"
            ) from error
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        attributes = self._file.attrs
        schema = attributes.get("schema")
        if schema != SCHEMA:
            raise StoreError(f"{self.path} has schema {schema!r}, expected {SCHEMA!r}; make it again with this version")
        if not attributes.get("complete", False):
            raise StoreError(f"{self.path} is incomplete: its writer stopped before the end; run the same command again")
        try:
            self.kind: Kind = attributes["kind"]
            self.fingerprint: str = attributes["fingerprint"]
            self.provenance: dict[str, Any] = json.loads(attributes["provenance"])
            self._packed, self._tempo_us, group = self._file["roll"], self._file["tempo_us"], self._file["piece"]
            self.pieces = Pieces(
                name=_read_text(group["name"]),
                group=_read_text(group["group"]),
                steps=group["steps"][:],
                first_step=group["first_step"][:],
                notes=group["notes"][:],
                split=group["split"][:],
                sha256=_read_text(group["sha256"]),
                sample=_read_text(group["sample"]) if "sample" in group else None,
            )
            offset = group["offset"][:]
            announced = int(attributes["num_steps"])
        except (KeyError, OSError, ValueError) as error:
            raise StoreError(f"{self.path} is damaged: {error}; write it again with the command that made it") from error
        num_steps = int(self.pieces.steps.sum(dtype=np.int64))
        if not (len(self._packed) == len(self._tempo_us) == num_steps == announced):
            raise StoreError(f"{self.path} is damaged: {len(self._packed)} rows where its pieces have {num_steps} steps")
        self._offset = self.pieces.offset
        if not np.array_equal(offset, self._offset):
            raise StoreError(f"{self.path} is damaged: the offsets of its pieces do not follow from their lengths")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def num_steps(self) -> int:
        """Rows of all pieces."""
        return len(self._packed)

    def rows(self, start: int, stop: int) -> Roll:
        """The rows start..stop of the whole store, whichever pieces they belong to.

        Raises:
            StoreError: a checksum fails.
        """
        try:
            return Roll(self._packed[start:stop], self._tempo_us[start:stop])
        except OSError as error:
            raise StoreError(f"{self.path} is damaged in rows {start}..{stop} ({error}); write it again") from error

    def roll(self, index: int) -> Roll:
        """The roll of one piece.

        Raises:
            StoreError: a checksum fails.
        """
        start = int(self._offset[index])
        rows = self.rows(start, start + int(self.pieces.steps[index]))
        return Roll(rows.packed, rows.tempo_us, int(self.pieces.first_step[index]))

    def read_pieces(self, indices: np.ndarray, into: Roll) -> None:
        """Reads the rows of some pieces, end to end, in as few stretches as their order and memory allow.

        Args:
            indices: (N,) ascending.
            into: as many rows as the pieces have; they are overwritten.

        Raises:
            StoreError: a checksum fails.
        """
        starts = self._offset[indices].astype(np.int64)
        stops = starts + self.pieces.steps[indices]
        is_first = np.append(True, starts[1:] != stops[:-1])[: len(indices)]
        is_last = np.append(is_first[1:], True)[: len(indices)]
        at = 0
        for start, stop in zip(starts[is_first].tolist(), stops[is_last].tolist(), strict=True):
            for first in range(start, stop, _READ_STEPS):
                rows = self.rows(first, min(first + _READ_STEPS, stop))
                into.packed[at : at + len(rows)] = rows.packed
                into.tempo_us[at : at + len(rows)] = rows.tempo_us
                at += len(rows)

    def verify(self) -> None:
        """Reads every row and compares the fingerprint.

        Raises:
            StoreError: a checksum or the fingerprint fails.
        """
        try:
            digest = _begin_fingerprint(self.pieces)
            _add_rows(digest, self._packed)
            _add_rows(digest, self._tempo_us)
        except OSError as error:
            raise StoreError(f"{self.path} is damaged: {error}; write it again with the command that made it") from error
        if digest.hexdigest() != self.fingerprint:
            raise StoreError(f"{self.path} has fingerprint {digest.hexdigest()}, expected {self.fingerprint}; write it again")


def _read_text(dataset: h5py.Dataset) -> list[str]:
    return [value.decode() for value in dataset[:].tolist()]


def _describe(store: Store) -> str:
    pieces = store.pieces
    splits = ", ".join(
        f"{split.name.lower()} {int((pieces.split == split).sum())}" for split in Split if (pieces.split == split).any()
    )
    rows = {
        "store": str(store.path),
        "kind": store.kind,
        "pieces": f"{len(pieces):,} ({splits})",
        "groups": f"{len(set(pieces.group)):,}",
        "steps": f"{store.num_steps:,}",
        "notes": f"{int(pieces.notes.sum(dtype=np.int64)):,}",
        "fingerprint": store.fingerprint,
        **{f"made by: {key}": str(value) for key, value in store.provenance.items()},
    }
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())


def main(arguments: Sequence[str]) -> int:
    """The command `python -m pianogen.store`."""
    parser = command.Parser(
        prog="python -m pianogen.store",
        description="Say what a store holds, or check every byte of it.",
        epilog="example:\n  python -m pianogen.store verify corpus.h5",
    )
    parser.add_argument("action", choices=["info", "verify"], help="info prints a table; verify also reads every row")
    parser.add_argument("store", type=Path, help="an HDF5 file of this schema")
    options = parser.parse(arguments)
    with Store(options.store) as store:
        if options.action == "verify":
            store.verify()
            print(f"{store.path} is whole: {len(store.pieces):,} pieces, {store.num_steps:,} steps; every checksum agrees")
        else:
            print(_describe(store))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
