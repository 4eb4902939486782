"""Shards that tests write, and the records in them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason
from pianogen.roll import Roll
from pianogen.store import Split
from preprocess.outcome import Outcome
from preprocess.piece_table import KEPT, REASONS, PieceTable
from preprocess.shard import append, read_records, read_rolls


@dataclass(frozen=True)
class Record:
    """One piece of a record, as plain values."""

    number: int
    tune: int
    num_pieces: int
    reason: Reason | None
    message: str
    repairs: tuple[str, ...]
    sha256: str
    counts: Counts | None
    roll: Roll | None
    split: Split
    content: tuple[int, ...]
    body_offset: int


def write_shard(path: Path, written: Sequence[tuple[int, Sequence[Outcome]]]) -> list[int]:
    """Appends the records of inputs with these numbers; returns the size of the shard after each record."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sizes = []
    for number, outcomes in written:
        append(handle, number, outcomes)
        sizes.append(os.fstat(handle).st_size)
    os.close(handle)
    return sizes


def table_of(paths: Sequence[Path], names: Sequence[str]) -> PieceTable:
    """The table of the pieces in complete shards."""
    table = PieceTable(names)
    for shard, path in enumerate(paths):
        for batch, _ in read_records(path):
            table.add(batch, shard)
    return table


def read_shard(path: Path, begin: int = 0, end: int | None = None, num_inputs: int = 1_000) -> list[Record]:
    """All pieces of a shard, with their rolls."""
    table = PieceTable([f"{number:04}.mid" for number in range(num_inputs)])
    for batch, _ in read_records(path, begin, end):
        table.add(batch, 0)
    return [record_of(table, piece, path) for piece in range(len(table.rows))]


def record_of(table: PieceTable, piece: int, path: Path) -> Record:
    """One piece of a table whose pieces are in one shard."""
    row = table.rows[[piece]]
    is_kept = bool(row["reason"][0] == KEPT)
    rolls = list(read_rolls(table, np.array([piece]), [path], 4)) if is_kept else []
    return Record(
        number=int(row["input"][0]),
        tune=int(row["tune"][0]),
        num_pieces=int(row["num_pieces"][0]),
        reason=None if is_kept else REASONS[row["reason"][0]],
        message="" if is_kept else table.text(piece),
        repairs=tuple(table.text(piece).split()) if is_kept else (),
        sha256=row["source"][0].tobytes().hex() if row["source"].any() else "",
        counts=Counts(*row["counts"][0].tolist()) if is_kept else None,
        roll=replace(rolls[0], first_step=int(row["first_step"][0])) if rolls else None,
        split=Split(int(row["split"][0])),
        content=tuple(row["content"][0].tolist()),
        body_offset=int(row["body_offset"][0]),
    )
