"""The metrics of a run, epoch by epoch, in metrics.csv."""

import csv
import io
from pathlib import Path
from typing import Any

from pianogen import atomic


class History:
    """Rows of metrics, written whole after each addition.

    Args:
        path: the CSV file; what it holds is read back.
        until_iteration: later rows belong to work that was lost, and are dropped.
    """

    def __init__(self, path: Path, until_iteration: int) -> None:
        self._path = path
        self.rows = [row for row in read_history(path) if row["iteration"] <= until_iteration]

    @property
    def last_iteration(self) -> int:
        """The iteration of the last row, 0 if there is none."""
        return int(self.rows[-1]["iteration"]) if self.rows else 0

    def append(self, row: dict[str, Any]) -> None:
        """Adds the row of one epoch."""
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        atomic.write_text(self._path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv as numbers; empty if there is none."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _number(value) for name, value in row.items() if value != ""} for row in csv.DictReader(file)]


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)  # written again, it is the same text
