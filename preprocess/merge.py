"""The merge of all shards into one store and one ledger; the table of pieces alone decides duplicates, splits and order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pianogen.command import counted
from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason
from pianogen.store import Pieces, Split, write_store
from preprocess.errors import PreprocessError
from preprocess.lazy_sequence import LazySequence
from preprocess.ledger import write_ledger
from preprocess.metadata import NO_GROUP, Metadata
from preprocess.piece_table import KEPT, REASONS, PieceTable
from preprocess.selection import Selection, check_tunes, select
from preprocess.shard import read_rolls
from preprocess.sources import group_of


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """The options of a merge.

    Attributes:
        metadata: groups and splits of pieces; None takes folders and splits by hash.
        should_drop: whether near-duplicates of similarity 0.8 and above are dropped.
        max_rejects: the largest allowed share of rejected pieces.
        steps_per_quarter: of all rolls.
    """

    metadata: Metadata | None = None
    should_drop: bool = False
    max_rejects: Fraction = Fraction(1, 10)
    steps_per_quarter: int = 4


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The contents of a new store.

    Attributes:
        num_pieces: all pieces, the rejected ones included.
        num_kept: pieces of the store.
        num_duplicates: pieces equal to an earlier one, or dropped as near-duplicates.
        rejected: the number of rejected pieces by reason code.
        repaired: the number of other pieces by repair.
        num_steps: steps of the kept pieces.
        counts: the sums of the ledger counts over the kept pieces.
        num_similar: kept pieces that are near-duplicates of an earlier one.
        num_across_splits: near-duplicates that are not in the split of the piece that they resemble.
    """

    num_pieces: int
    num_kept: int
    num_duplicates: int
    rejected: Counter[Reason]
    repaired: Counter[str]
    num_steps: int
    counts: Counts
    num_similar: int
    num_across_splits: int


def merge(
    table: PieceTable, shards: Sequence[Path], store: Path, ledger: Path, options: MergeOptions, provenance: dict[str, Any]
) -> MergeResult:
    """Writes the ledger, and then the store unless there is an error.

    Args:
        table: the pieces of all inputs; its signatures are released.
        shards: the files by number.

    Raises:
        PreprocessError: too many pieces were rejected, no piece remains, or no piece is in the train split.
        UsageError: the metadata names a tune that its score does not have.
    """
    selection = select(table, options.metadata, options.should_drop)
    table.drop_signatures()
    write_ledger(ledger, table, selection)
    if options.metadata is not None:
        check_tunes(table, options.metadata)
    codes = np.bincount(table.rows["reason"][selection.number], minlength=len(REASONS) + 1)
    rejected = Counter({reason: int(count) for reason, count in zip(REASONS, codes[:KEPT], strict=True) if count})
    _check_rejects(rejected, len(selection.number), options.max_rejects, ledger)
    kept = selection.kept
    if not (selection.split[kept] == Split.TRAIN).any():
        raise PreprocessError(
            f"none of {counted(len(kept), 'piece')} is in the train split; add pieces, or assign some to train with --metadata"
        )
    num_similar, num_across_splits = int(selection.is_near_duplicate.sum()), int(selection.is_across_splits.sum())
    rule = "drop" if options.should_drop else "keep"
    near_duplicates = {"rule": rule, "found": num_similar, "across_splits": num_across_splits}
    pieces = _make_pieces(table, selection, options.metadata)
    rolls = read_rolls(table, selection.number[kept], shards, options.steps_per_quarter)
    write_store(store, "corpus", pieces, rolls, {**provenance, "near_duplicates": near_duplicates})
    return MergeResult(
        num_pieces=len(selection.number),
        num_kept=len(kept),
        num_duplicates=len(selection.number) - len(kept) - rejected.total(),
        rejected=rejected,
        repaired=_count_repairs(table, selection),
        num_steps=pieces.num_steps,
        counts=Counts(*table.rows["counts"][selection.number[kept]].sum(axis=0, dtype=np.int64).tolist()),
        num_similar=num_similar,
        num_across_splits=num_across_splits,
    )


def _count_repairs(table: PieceTable, selection: Selection) -> Counter[str]:
    has_text = (table.rows["reason"][selection.number] == KEPT) & (table.rows["text_bytes"][selection.number] > 0)
    repaired = selection.number[has_text]
    return Counter(word for piece in repaired.tolist() for word in table.text(piece).split())


def _check_rejects(rejected: Counter[Reason], num_pieces: int, max_rejects: Fraction, ledger: Path) -> None:
    if rejected.total() > max_rejects * num_pieces:
        most_common = ", ".join(f"{count} {reason}" for reason, count in rejected.most_common(3))
        raise PreprocessError(
            f"{rejected.total()} of {counted(num_pieces, 'piece', 'were')} rejected ({most_common}), more than --max-rejects "
            f"{float(max_rejects)} allows; no store was written. {ledger} has the reason for each piece: repair or remove these "
            "inputs, or raise --max-rejects"
        )
    if rejected.total() == num_pieces:
        raise PreprocessError(
            f"all {counted(num_pieces, 'piece', 'were')} rejected; {ledger} has the reason for each piece: repair one"
        )


def _make_pieces(table: PieceTable, selection: Selection, metadata: Metadata | None) -> Pieces:
    """The table of the store. Its texts are computed when they are written, because as strings they would take gigabytes."""
    kept = selection.kept
    numbers = selection.number[kept]
    rows, groups = table.rows, metadata.groups if metadata else []

    def group(indices: np.ndarray) -> list[str]:
        of_pieces = zip(selection.group[kept[indices]].tolist(), table.names(numbers[indices]), strict=True)
        return [group_of(name) if number == NO_GROUP else groups[number] for number, name in of_pieces]

    return Pieces(
        name=LazySequence(len(kept), lambda indices: table.names(numbers[indices])),
        group=LazySequence(len(kept), group),
        steps=rows["steps"][numbers],
        first_step=rows["first_step"][numbers].astype(np.uint32),
        notes=rows["counts"][numbers, Counts._fields.index("notes")],
        split=selection.split[kept],
        sha256=LazySequence(len(kept), lambda indices: [digest.tobytes().hex() for digest in rows["source"][numbers[indices]]]),
    )
