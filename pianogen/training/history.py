"""The metrics of a run by epoch, in metrics.csv."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pianogen import atomic
from pianogen.errors import PianogenError

Row = dict[str, float]  # epoch, iteration, each metric of the network and, with a valid split, each with the prefix valid_


class HistoryError(PianogenError):
    """metrics.csv does not match the checkpoint."""


class History:
    """The rows of metrics.csv, which is written again after each addition.

    Args:
        path: the CSV file; its rows are read if it exists.
        until_iteration: iteration of the checkpoint; later rows are dropped, because their epochs are repeated.
    """

    def __init__(self, path: Path, until_iteration: int) -> None:
        self._path = path
        self.rows = [row for row in read_history(path) if row["iteration"] <= until_iteration]

    @property
    def last_iteration(self) -> int:
        """The iteration of the last row, 0 if there is none."""
        return int(self.rows[-1]["iteration"]) if self.rows else 0

    def check_complete(self, iteration: int, epoch_ends: Sequence[int]) -> None:
        """Checks that all epochs before a checkpoint have a row.

        Args:
            iteration: iteration of the checkpoint.
            epoch_ends: last iteration of each epoch.

        Raises:
            HistoryError: a row is missing, and early stopping would not know its validation loss.
        """
        recorded = [row["iteration"] for row in self.rows]
        expected = [end for end in dict.fromkeys(epoch_ends) if end < iteration]
        if recorded[: len(expected)] != expected:
            raise HistoryError(
                f"{self._path} has {len(recorded)} epochs, and the checkpoint at iteration {iteration} requires {len(expected)}: "
                f"restore the file from a backup, or remove {self._path.parent / 'checkpoints'} to start from iteration 0"
            )

    def append(self, row: Row) -> None:
        """Adds the row of one epoch."""
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        atomic.write_text(self._path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """The rows of a metrics.csv; empty if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _number(value) for name, value in row.items() if value != ""} for row in csv.DictReader(file)]


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)  # an int stays an int when the row is written again
