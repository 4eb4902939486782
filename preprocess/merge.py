"""Shards to one store and one ledger: duplicates, splits and the order of pieces, decided from the entries alone."""

import csv
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pianogen import atomic
from pianogen.errors import PianogenError, UsageError
from pianogen.midi.counts import Counts
from pianogen.store import Pieces, Split, write_store
from preprocess.shard import Entry, read_rows
from preprocess.sources import group_of

_LEDGER = ["name", "status", "reason", "message", "steps", *Counts._fields]
_NO_NUMBERS = [""] * (1 + len(Counts._fields))


class PreprocessError(PianogenError):
    """The corpus was read and no store can be made of it; the ledger says why."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a store was made of.

    Attributes:
        kept: pieces of the store.
        duplicates: inputs equal to a piece before them.
        rejected: inputs by reason code.
        totals: the sum of each number of the ledger over the kept pieces.
    """

    kept: int
    duplicates: int
    rejected: Counter[str]
    totals: Counter[str]


def read_split_file(path: Path, names: Sequence[str]) -> dict[str, Split]:
    """The split of each name in a CSV with columns name and split.

    Raises:
        UsageError: it cannot be read, lacks a column, or names an input or split that does not exist.
    """
    known = set(names)
    splits: dict[str, Split] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"name", "split"} <= set(reader.fieldnames or []):
                raise UsageError(f"{path} has columns {reader.fieldnames}, expected name and split")
            for row in reader:
                if row["name"] not in known:
                    raise UsageError(
                        f"{path}:{reader.line_num}: no input is named {row['name']!r}; names are paths below the corpus"
                    )
                if row["split"] not in ("train", "valid", "test"):
                    raise UsageError(f"{path}:{reader.line_num}: split {row['split']!r}, expected train, valid or test")
                split = Split[row["split"].upper()]
                if splits.setdefault(row["name"], split) != split:
                    raise UsageError(f"{path}:{reader.line_num}: {row['name']} is named twice, in two splits")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the split file {path} cannot be read: {error}") from error
    return splits


def _splits_by_content(entries: Sequence[Entry], splits: Mapping[str, Split]) -> dict[bytes, Split]:
    """The split of each content that a split file names: that of the first of equal inputs that it names.

    Says where two equal inputs are named in two splits, since one of those loses a piece.
    """
    named: dict[bytes, str] = {}
    for entry in entries:
        if entry.status == "kept" and entry.name in splits:
            first = named.setdefault(entry.content, entry.name)
            if splits[first] != splits[entry.name]:
                print(
                    f"{first} and {entry.name} are equal: they are one piece, in {splits[first].name.lower()}, though the split "
                    f"file has the second in {splits[entry.name].name.lower()}",
                    file=sys.stderr,
                )
    return {content: splits[name] for content, name in named.items()}


def merge(
    entries: Sequence[Entry],
    store: Path,
    ledger: Path,
    splits: Mapping[str, Split] | None,
    max_rejects: float,
    provenance: dict[str, Any],
) -> Merged:
    """Writes the ledger, then the store.

    Args:
        entries: one per input, in order of name.
        splits: from a split file; None splits by hash.
        max_rejects: the share of inputs that may be refused.

    Raises:
        PreprocessError: more were refused, none is left, or none is left to train on; only the ledger was written.
    """
    first_of: dict[bytes, str] = {}
    kept = [entry for entry in entries if entry.status == "kept" and first_of.setdefault(entry.content, entry.name) == entry.name]
    _write_ledger(ledger, entries, first_of)
    rejected = Counter(entry.reason for entry in entries if entry.status == "rejected")
    if rejected.total() > max_rejects * len(entries):
        most = ", ".join(f"{count} {reason}" for reason, count in rejected.most_common(3))
        raise PreprocessError(
            f"{rejected.total()} of {len(entries)} inputs were refused ({most}), more than --max-rejects {max_rejects} allows; "
            f"{ledger} names each with its reason. No store was written: mend or remove them, or raise --max-rejects"
        )
    if not kept:
        raise PreprocessError(f"none of {len(entries)} inputs became a roll; {ledger} names each with its reason")
    named = {} if splits is None else _splits_by_content(entries, splits)
    split = [entry.hash_split if splits is None else named.get(entry.content, Split.NONE) for entry in kept]
    if Split.TRAIN not in split:
        raise PreprocessError(
            f"none of {len(kept)} pieces is in the train split; add pieces, or name some as train in a --split-file"
        )
    pieces = Pieces(
        name=[entry.name for entry in kept],
        group=[group_of(entry.name) for entry in kept],
        steps=np.array([entry.steps for entry in kept], np.uint32),
        first_step=np.array([entry.first_step for entry in kept], np.uint32),
        notes=np.array([entry.counts.notes for entry in kept if entry.counts], np.uint32),
        split=np.array(split, np.uint8),
        sha256=[entry.source.hex() for entry in kept],
    )
    write_store(store, "corpus", pieces, read_rows(kept), provenance)
    counts = [entry.counts for entry in kept if entry.counts]
    totals = Counter({field: sum(getattr(each, field) for each in counts) for field in Counts._fields})
    totals["steps"] = sum(entry.steps for entry in kept)
    return Merged(len(kept), len(entries) - len(kept) - rejected.total(), rejected, totals)


def _write_ledger(path: Path, entries: Sequence[Entry], first_of: Mapping[bytes, str]) -> None:
    with atomic.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        # All text in quotes: the csv module would leave a carriage return in a name bare.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(_LEDGER)
        for entry in entries:
            if entry.counts is None:
                writer.writerow([entry.name, entry.status, entry.reason, entry.message, *_NO_NUMBERS])
                continue
            first = first_of[entry.content]
            status, message = (entry.status, entry.message) if first == entry.name else ("duplicate", f"equal to {first}")
            writer.writerow([entry.name, status, entry.reason, message, entry.steps, *entry.counts])
