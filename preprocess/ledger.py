"""The ledger: a CSV file with the outcome of every piece, in order of name."""

import csv
from collections.abc import Iterator
from pathlib import Path

from pianogen import atomic
from pianogen.errors import UsageError
from pianogen.midi.counts import Counts
from preprocess.near_duplicates import NONE
from preprocess.outcome import Status
from preprocess.piece_table import KEPT, REASONS, PieceTable
from preprocess.selection import Selection

# `notes_silent`, the last count, is part of the message.
_NUM_NOTE_COUNTS, _SILENT = (Counts._fields.index(name) for name in ("tempo_seen", "notes_silent"))
_COUNTS = [*Counts._fields[:_NUM_NOTE_COUNTS], "repairs", *Counts._fields[_NUM_NOTE_COUNTS:_SILENT]]
COLUMNS = ["name", "status", "reason", "message", "steps", *_COUNTS, "similar_to", "similarity"]
_NO_COUNTS = [""] * (1 + len(_COUNTS))
_NO_SIMILAR: list[object] = ["", ""]
_BLOCK_PIECES = 4_096
_MAX_HEADER = 1_000  # characters


def check_replaceable(path: Path) -> None:
    """Checks that a new ledger at `path` would replace nothing but a ledger of any version, or an empty file.

    Raises:
        UsageError: the file was not written by this program.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        columns = file.readline(_MAX_HEADER).replace('"', "").split(",")
    if columns[:4] != COLUMNS[:4]:
        raise UsageError(f"{path} exists and is not a ledger of this program; choose another --store, or move the file away")


def write_ledger(path: Path, table: PieceTable, selection: Selection) -> None:
    """Writes the ledger."""
    with atomic.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        # All text is quoted: the csv module would write a name with a carriage return without quotes.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(COLUMNS)
        writer.writerows(_ledger_rows(table, selection))


def _ledger_rows(table: PieceTable, selection: Selection) -> Iterator[list[object]]:
    def name_of(index: int) -> str:
        return table.name(int(selection.number[index]))

    for begin in range(0, len(selection.number), _BLOCK_PIECES):
        block = slice(begin, begin + _BLOCK_PIECES)
        numbers, rows = selection.number[block], table.rows[selection.number[block]]
        decisions = (selection.first[block], *(column[block] for column in selection.similar))
        columns = (column.tolist() for column in (rows["reason"], rows["steps"], rows["counts"], *decisions))
        pieces = zip(table.names(numbers), numbers.tolist(), *columns, strict=True)
        for index, (name, number, reason, steps, counts, first, earlier, similarity) in enumerate(pieces, begin):
            if reason != KEPT:
                yield [name, Status.REJECTED, REASONS[reason], table.text(number), *_NO_COUNTS, *_NO_SIMILAR]
                continue
            silent = counts[_SILENT]
            status, message = Status.KEPT, f"{silent:,} notes of the score are silent, such as cue notes" if silent else ""
            if first != index:
                relation = "equal" if earlier == NONE else f"similar ({similarity:.2f})"
                status, message = Status.DUPLICATE, f"{relation} to {name_of(first)}"
            similar = _NO_SIMILAR if earlier == NONE else [name_of(earlier), round(similarity, 2)]
            notes, tempos = counts[:_NUM_NOTE_COUNTS], counts[_NUM_NOTE_COUNTS:_SILENT]
            yield [name, status, "", message, steps, *notes, table.text(number), *tempos, *similar]
