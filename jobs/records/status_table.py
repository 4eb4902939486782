"""The status of a sweep as a table on the terminal, as JSON, and as runs.csv."""

import csv
import io
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
from jobs.records import record_file, status
from jobs.records.held_out import TRIVIAL, Baseline, Measure, find_baselines, find_figure, find_unbeaten
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.selection import open_selected
from jobs.records.status import Status
from pianogen import atomic, streams
from pianogen.config import flatten

_MEASURES = {f"valid_{measure}": measure for measure in Measure}
_TABLE_COLUMNS = ("epoch", "loss", "valid_loss", *_MEASURES)
_TRIVIAL_FIGURES = {  # a repeat has no likelihood
    f"valid_{name}_{measure}": (measure, name)
    for measure in Measure
    for name in TRIVIAL
    if (measure, name) != (Measure.NATS, "repeat")
}
_UNBEATEN = "!"
_REFRESH_S = 30.0
_LOG_WIDTH = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the table.

    Attributes:
        run: name of the run.
        status: its status.
        settings: those that change the result, by dotted key.
        result: None while the run is not done.
    """

    run: str
    status: Status
    settings: dict[str, Any]
    result: Result | None

    @property
    def figures(self) -> dict[str, float | None]:
        """Figures of the result by column; None where the run has none."""
        result = self.result
        metrics = result.metrics if result else {}
        return {
            **{name: metrics.get(name) for name in ("epoch", "loss", "valid_loss")},
            "best_valid_loss": result.best_valid_loss if result else None,
            "constant_predictor_loss": result.constant_predictor_loss if result else None,
            "parameters": result.parameters if result else None,
            **{column: result.figure("valid", measure) if result else None for column, measure in _MEASURES.items()},
        }

    def flat(self) -> dict[str, Any]:
        """The row as a mapping, for JSON and CSV: with the figures of the trivial predictors, and those that are not beaten."""
        current = {"state": self.status.state, "reason": self.status.reason, "job": self.status.job}
        valid = self.result.held_out.get("valid", {}) if self.result else {}
        trivial = {column: find_figure(valid, *key) for column, key in _TRIVIAL_FIGURES.items()}
        unbeaten = {f"valid_{measure}_unbeaten": " ".join(names) for measure, names in find_unbeaten(valid).items()}
        progress = {"progress": _describe_progress(self.status)}
        return {"run": self.run, **current, **progress, **self.settings, **self.figures, **trivial, **unbeaten}


def read(target: Path, selection: Sequence[str] = ()) -> list[Row]:
    """A row for each run of a sweep, for the selected ones, or for the one run; see `open_selected`."""
    runs = open_selected(target, selection)
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


def show(target: Path, as_json: bool, selection: Sequence[str] = ()) -> int:
    """Prints the table once."""
    rows = read(target, selection)
    if as_json:
        print(record_file.to_json([row.flat() for row in rows]))
    else:
        _console().print(_table(rows))
    if not selection:
        _try_to_write(target, rows)
    return 0


def watch(target: Path, selection: Sequence[str] = ()) -> int:
    """Shows the table until no run is active: refreshed on a terminal, and otherwise as a line for every change."""
    console = _console()
    if not console.is_terminal or console.is_dumb_terminal:
        _poll(target, selection, _ChangedLines().print)
        return 0
    with Live(console=console, auto_refresh=False) as live:
        _poll(target, selection, lambda rows: live.update(_table(rows), refresh=True))
    return 0


def _poll(target: Path, selection: Sequence[str], show_rows: Callable[[Sequence[Row]], None]) -> None:
    """Reads the rows at intervals until no run is active, or until nobody reads the output."""
    while streams.is_output_read():
        try:
            rows = read(target, selection)
            show_rows(rows)
            if not selection:
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
    # Without markup: a reason or the name of a folder may contain brackets.
    return Console(width=None if sys.stdout.isatty() else _LOG_WIDTH, markup=False, emoji=False, highlight=False)


def _table(rows: Sequence[Row]) -> Table:
    title = status.count([row.status.state for row in rows])  # on top: the end of a long table scrolls out of view
    table = Table(title=title, title_justify="left", title_style="", box=None, header_style="bold", caption_justify="left")
    table.caption_style = ""
    columns = [name for name in _TABLE_COLUMNS if any(row.figures[name] is not None for row in rows)]
    for column in ("run", "state", *columns, ""):
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(row.run, row.status.state, *(_marked_figure(row, name) for name in columns), _describe(row.status))
    for baseline in find_baselines({row.run: row.result.held_out for row in rows if row.result}):
        table.add_row(baseline.title, "", *(_baseline_figure(baseline, name) for name in columns), "")
    if any(row.result and row.result.unbeaten("valid", measure) for row in rows for measure in Measure):
        table.caption = f"{_UNBEATEN} not better than a trivial predictor in the last rows"
    return table


def _marked_figure(row: Row, column: str) -> str:
    is_unbeaten = column in _MEASURES and row.result and row.result.unbeaten("valid", _MEASURES[column])
    return _format_figure(row.figures[column]) + (f" {_UNBEATEN}" if is_unbeaten else "")


def _baseline_figure(baseline: Baseline, column: str) -> str:
    return _format_figure(baseline.figures["valid", _MEASURES[column]]) if column in _MEASURES else ""


def _format_figure(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4g}"


def _row(run: Run, entry: Status) -> Row:
    return Row(run.name, entry, flatten(run.read_provenance().config), run.read_result())


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
