"""The metrics of a run by epoch, in metrics.csv."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from pianogen import atomic
from pianogen.command import counted
from pianogen.errors import PianogenError
from pianogen.training.run_files import write_with_retries

Row = dict[str, float]  # epoch, iteration, each metric of the network and, with a valid split, each with the prefix valid_


class HistoryError(PianogenError):
    """metrics.csv is damaged, or does not match the checkpoint."""


class History:
    """The rows of metrics.csv, which is written again after each addition.

    Args:
        path: the CSV file; its rows are read if it exists.
        last_epoch_end: iteration of the last row that the checkpoint includes; later rows are dropped, because their epochs are
            repeated, or only their ends. None if there is no checkpoint: then there must be no rows.
        retry_min: minutes for which a write that fails is retried.

    Raises:
        HistoryError: the file is damaged, or has rows although there is no checkpoint.
    """

    def __init__(self, path: Path, last_epoch_end: int | None, retry_min: float = 0) -> None:
        self._path, self._retry_min = path, retry_min
        rows = read_history(path)
        if rows and last_epoch_end is None:
            raise HistoryError(
                f"{path} has {counted(len(rows), 'epoch')}, but {path.parent / 'checkpoints'} has no checkpoint: restore "
                f"the folder from a backup; to start from iteration 0, remove {path.name} too"
            )
        self.rows = [row for row in rows if row["iteration"] <= (last_epoch_end or 0)]

    def check_complete(self, last_epoch_end: int, epoch_ends: Sequence[int]) -> None:
        """Checks that all epochs that a checkpoint includes have a row.

        Args:
            last_epoch_end: iteration of the last row that the checkpoint includes.
            epoch_ends: last iteration of each epoch.

        Raises:
            HistoryError: a row is missing.
        """
        recorded = [row["iteration"] for row in self.rows]
        expected = [end for end in epoch_ends if end <= last_epoch_end]
        if recorded != expected:
            raise HistoryError(
                f"{self._path} has {counted(len(recorded), 'epoch')} until iteration {last_epoch_end}, and the checkpoint "
                f"requires {len(expected)}: restore the file from a backup; to start from iteration 0, remove it and "
                f"{self._path.parent / 'checkpoints'}"
            )

    def append(self, row: Row) -> None:
        """Adds the row of one epoch.

        Raises:
            OSError: the file cannot be written.
        """
        self.rows.append(row)
        write_with_retries(self._write, self._path, self._retry_min)

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        atomic.write_text(self._path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """The rows of a metrics.csv; empty if there is no file.

    Raises:
        HistoryError: the file is damaged.
    """
    if not os.path.lexists(path):
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: _number(value) for name, value in row.items() if value != ""} for row in csv.DictReader(file)]
        if not rows or any(not row.keys() >= {"epoch", "iteration"} for row in rows):
            raise ValueError("columns epoch and iteration are missing")
    except (ValueError, TypeError, AttributeError, csv.Error, FileNotFoundError, IsADirectoryError) as error:
        raise HistoryError(f"{path} cannot be read ({error}): it is damaged; restore the file from a backup") from error
    return rows


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)  # an int stays an int when the row is written again
