"""The status of a sweep as a table on the terminal, as JSON, and as runs.csv."""

import csv
import io
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from jobs.cluster.client import SlurmError
from jobs.records import status, sweep_directory
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.status import Status
from pianogen import atomic, streams
from pianogen.config import flatten

_TABLE_COLUMNS = ("epoch", "loss", "valid_loss", "valid_nats_per_step", "valid_onset_f1")
_REFRESH_S = 15.0
_LOG_WIDTH = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the table.

    Attributes:
        run: name of the run.
        status: its status.
        settings: those that change the result, by dotted key.
        figures: figures of the result by column; None where the run has none.
    """

    run: str
    status: Status
    settings: dict[str, Any]
    figures: dict[str, float | None]

    def flat(self) -> dict[str, Any]:
        """The row as a mapping, for JSON and CSV."""
        current = {"state": self.status.state, "reason": self.status.reason, "job": self.status.job}
        return {"run": self.run, **current, "progress": _describe_progress(self.status), **self.settings, **self.figures}


def read(target: Path) -> list[Row]:
    """A row for each run of a sweep, or for the one run."""
    runs = sweep_directory.open_runs(target)
    return [_row(run, entry) for run, entry in status.read_statuses(runs).items()]


def write(target: Path, rows: Sequence[Row]) -> None:
    """Writes runs.csv if `target` is a sweep, not a run."""
    if (target / "sweep.yaml").is_file():
        text = io.StringIO()
        flat = [row.flat() for row in rows]
        writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        atomic.write_text(target / "runs.csv", text.getvalue())


def show(target: Path, as_json: bool) -> int:
    """Prints the table once."""
    rows = read(target)
    if as_json:
        print(json.dumps([row.flat() for row in rows], indent=2))
    else:
        _console().print(_table(rows))
    _try_to_write(target, rows)
    return 0


def watch(target: Path) -> int:
    """Shows the table until no run is active: refreshed on a terminal, and otherwise as a line for every change."""
    console = _console()
    if not console.is_terminal or console.is_dumb_terminal:
        _poll(target, _ChangedLines().print)
        return 0
    with Live(console=console, auto_refresh=False) as live:
        _poll(target, lambda rows: live.update(_table(rows), refresh=True))
    return 0


def _poll(target: Path, show_rows: Callable[[Sequence[Row]], None]) -> None:
    """Reads the rows at intervals until no run is active, or until nobody reads the output."""
    while streams.is_output_read():
        try:
            rows = read(target)
            show_rows(rows)
            _try_to_write(target, rows)
            if not any(row.status.is_active for row in rows):
                return
        except SlurmError as error:
            _log.warning("%s", error)
        time.sleep(_REFRESH_S)


class _ChangedLines:
    """Prints the runs whose state, reason or progress has changed, one on each line, as it happens."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def print(self, rows: Sequence[Row]) -> None:
        for row in rows:
            text = f"{row.run}  {row.status.state}  {_describe(row.status)}".rstrip()
            if self._last.get(row.run) != text:
                print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)
            self._last[row.run] = text


def _try_to_write(target: Path, rows: Sequence[Row]) -> None:
    """The table must be printed on a full disk too, and for users who may only read the sweep."""
    try:
        write(target, rows)
    except OSError as error:
        _log.warning("%s was not updated: %s", target / "runs.csv", error.strerror)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)


def _table(rows: Sequence[Row]) -> Table:
    title = status.count([row.status.state for row in rows])  # on top: the end of a long table scrolls out of view
    table = Table(title=title, title_justify="left", title_style="", box=None, header_style="bold")
    columns = [name for name in _TABLE_COLUMNS if any(row.figures[name] is not None for row in rows)]
    for column in ("run", "state", *columns, ""):
        table.add_column(column.replace("_", " "))
    for row in rows:
        figures = [row.figures[name] for name in columns]
        texts = ["" if figure is None else f"{figure:.4g}" for figure in figures]
        table.add_row(row.run, row.status.state, *texts, _describe(row.status))
    return table


def _row(run: Run, entry: Status) -> Row:
    return Row(run.name, entry, flatten(run.read_provenance().config), _figures(run.read_result()))


def _describe(entry: Status) -> str:
    return "; ".join(part for part in (_describe_progress(entry), entry.reason) if part)


def _describe_progress(entry: Status) -> str:
    progress = entry.progress
    if progress is None:
        return ""
    if progress.has_ended:
        return f"{progress.done:,} iterations done"
    minutes, seconds = divmod(round(progress.remaining_s), 60)
    remaining = f"{minutes} min remaining" if minutes > 1 else f"{60 * minutes + seconds} s remaining"
    return ", ".join(part for part in (f"{progress.done:,} of {progress.total:,} iterations", progress.note, remaining) if part)


def _figures(result: Result | None) -> dict[str, float | None]:
    """The figures in the table and in runs.csv."""
    metrics = result.metrics if result else {}
    return {
        **{name: metrics.get(name) for name in ("epoch", "loss", "valid_loss")},
        "best_valid_loss": result.best_valid_loss if result else None,
        "constant_predictor_loss": result.constant_predictor_loss if result else None,
        "parameters": result.parameters if result else None,
        "valid_nats_per_step": result.held_out_figure("valid", "nats_per_step") if result else None,
        "valid_onset_f1": result.onset_f1("valid") if result else None,
    }
