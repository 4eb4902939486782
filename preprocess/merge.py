"""The merge of all shards into one store and one ledger; entries alone decide duplicates, splits and the order of pieces."""

import csv
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pianogen import atomic
from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason
from pianogen.store import Pieces, Split, write_store
from preprocess.errors import PreprocessError
from preprocess.outcome import Status
from preprocess.shard import Entry, read_rolls
from preprocess.sources import group_of

_LEDGER_COLUMNS = ["name", "status", "reason", "message", "steps", *Counts._fields]
_NO_COUNTS = [""] * (1 + len(Counts._fields))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The contents of a new store.

    Attributes:
        num_kept: pieces of the store.
        num_duplicates: inputs equal to an earlier piece.
        rejected: the number of rejected inputs by reason code.
        num_steps: steps of the kept pieces.
        counts: the sums of the ledger counts over the kept pieces.
    """

    num_kept: int
    num_duplicates: int
    rejected: Counter[Reason]
    num_steps: int
    counts: Counts


def merge(
    entries: Sequence[Entry],
    store: Path,
    ledger: Path,
    splits: Mapping[str, Split] | None,
    max_rejects: float,
    steps_per_quarter: int,
    provenance: dict[str, Any],
) -> MergeResult:
    """Writes the ledger, then the store.

    Args:
        entries: one per input, in order of name.
        splits: from a split file; None splits by hash.
        max_rejects: the largest allowed share of rejected inputs.
        steps_per_quarter: the number of steps of a quarter note in all rolls.

    Raises:
        PreprocessError: too many inputs were rejected, no piece remains, or no piece is in the train split. The ledger is
            written, the store is not.
    """
    first_names: dict[bytes, str] = {}  # by content
    kept = [
        entry
        for entry in entries
        if entry.status is Status.KEPT and first_names.setdefault(entry.content, entry.name) == entry.name
    ]
    _write_ledger(ledger, entries, first_names)
    rejected = Counter(entry.reason for entry in entries if entry.reason)
    _check_rejects(rejected, len(entries), max_rejects, ledger)
    if splits is None:
        piece_splits = [entry.hash_split for entry in kept]
    else:
        by_content = _splits_by_content(entries, splits)
        piece_splits = [by_content.get(entry.content, Split.NONE) for entry in kept]
    if Split.TRAIN not in piece_splits:
        raise PreprocessError(
            f"none of {len(kept)} pieces is in the train split; add pieces, or assign some to train with --split-file"
        )
    write_store(store, "corpus", _make_pieces(kept, piece_splits), read_rolls(kept, steps_per_quarter), provenance)
    counts = [entry.counts for entry in kept if entry.counts]
    return MergeResult(
        num_kept=len(kept),
        num_duplicates=len(entries) - len(kept) - rejected.total(),
        rejected=rejected,
        num_steps=sum(entry.steps for entry in kept),
        counts=Counts._make(sum(getattr(row, field) for row in counts) for field in Counts._fields),
    )


def _check_rejects(rejected: Counter[Reason], num_inputs: int, max_rejects: float, ledger: Path) -> None:
    if rejected.total() > max_rejects * num_inputs:
        most_common = ", ".join(f"{count} {reason}" for reason, count in rejected.most_common(3))
        raise PreprocessError(
            f"{rejected.total()} of {num_inputs} inputs were rejected ({most_common}), more than --max-rejects {max_rejects} "
            f"allows; no store was written. {ledger} has the reason for each input: repair or remove these inputs, or raise "
            "--max-rejects"
        )
    if rejected.total() == num_inputs:
        raise PreprocessError(f"all {num_inputs} inputs were rejected; {ledger} has the reason for each input")


def _splits_by_content(entries: Sequence[Entry], splits: Mapping[str, Split]) -> dict[bytes, Split]:
    """The splits by content. If the split file lists several equal inputs, the first by name decides.

    Warns where the split file assigns equal inputs to different splits, because one of those splits loses a piece.
    """
    names: dict[bytes, str] = {}
    for entry in entries:
        if entry.status is Status.KEPT and entry.name in splits:
            first = names.setdefault(entry.content, entry.name)
            if splits[first] != splits[entry.name]:
                _log.warning(
                    "%s and %s are equal and become one piece of the split %s, although the split file assigns the second to %s",
                    *(first, entry.name, splits[first].name.lower(), splits[entry.name].name.lower()),
                )
    return {content: splits[name] for content, name in names.items()}


def _make_pieces(kept: Sequence[Entry], splits: Sequence[Split]) -> Pieces:
    return Pieces(
        name=[entry.name for entry in kept],
        group=[group_of(entry.name) for entry in kept],
        steps=np.array([entry.steps for entry in kept], np.uint32),
        first_step=np.array([entry.first_step for entry in kept], np.uint32),
        notes=np.array([entry.counts.notes for entry in kept if entry.counts], np.uint32),
        split=np.array(splits, np.uint8),
        sha256=[entry.source.hex() for entry in kept],
    )


def _write_ledger(path: Path, entries: Sequence[Entry], first_names: Mapping[bytes, str]) -> None:
    with atomic.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        # All text is quoted: the csv module would write a name with a carriage return without quotes.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(_LEDGER_COLUMNS)
        for entry in entries:
            if entry.counts is None:
                writer.writerow([entry.name, entry.status, entry.reason, entry.message, *_NO_COUNTS])
            elif (first := first_names[entry.content]) == entry.name:
                writer.writerow([entry.name, entry.status, "", "", entry.steps, *entry.counts])
            else:
                writer.writerow([entry.name, Status.DUPLICATE, "", f"equal to {first}", entry.steps, *entry.counts])
