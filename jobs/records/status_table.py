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
from jobs.records.run_state import State
from jobs.records.run_usage import RunUsage
from jobs.records.seed_groups import find_spread, group_by_seed
from jobs.records.selection import open_selected
from jobs.records.status import Status
from pianogen import atomic, streams
from pianogen.config import flatten

MEASURES = {f"valid_{measure}": measure for measure in Measure}
_TABLE_COLUMNS = ("epoch", "loss", "valid_loss", *MEASURES)
_TRIVIAL_FIGURES = {  # a repeat has no likelihood
    f"valid_{name}_{measure}": (measure, name)
    for measure in Measure
    for name in TRIVIAL
    if (measure, name) != (Measure.NATS, "repeat")
}
SEED_FIGURES = ("loss", "valid_loss", *MEASURES)  # those whose spread over seeds is shown
UNBEATEN = "!"  # marks a figure
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
        usage: the resources of its attempts.
    """

    run: str
    status: Status
    settings: dict[str, Any]
    result: Result | None
    usage: RunUsage

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
            **{column: result.figure("valid", measure) if result else None for column, measure in MEASURES.items()},
        }

    def flat(self) -> dict[str, Any]:
        """The row as a mapping, for JSON and CSV: with the figures of the trivial predictors, and those that are not beaten."""
        current = {"state": self.status.state, "reason": self.status.reason, "job": self.status.job}
        valid = self.result.held_out.get("valid", {}) if self.result else {}
        trivial = {column: find_figure(valid, *key) for column, key in _TRIVIAL_FIGURES.items()}
        unbeaten = {f"valid_{measure}_unbeaten": " ".join(names) for measure, names in find_unbeaten(valid).items()}
        progress = {"progress": _describe_progress(self.status)}
        usage = self.usage.columns()
        return {"run": self.run, **current, **progress, **self.settings, **self.figures, **trivial, **unbeaten, **usage}


MakeTable = Callable[[Sequence[Row]], Table]


def read(target: Path, selection: Sequence[str] = ()) -> list[Row]:
    """A row for each run of a sweep, for the selected ones, or for the one run; see `open_selected`."""
    runs = open_selected(target, selection)
    return [_row(run, entry) for run, entry in status.read_statuses(runs).items()]


def flatten_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as mappings, with the mean and the standard deviation of their figures over the runs that differ in the seed."""
    by_name = {row.run: row for row in rows}
    spreads: dict[str, dict[str, Any]] = {}
    for group in group_by_seed({row.run: row.settings for row in rows}):
        columns: dict[str, Any] = {"seed_group": group[0], "num_seeds": len(group)}
        for name in SEED_FIGURES:
            spread = find_spread(by_name[run].figures[name] for run in group)
            columns[f"{name}_mean"] = spread.mean if spread else None
            columns[f"{name}_std"] = spread.deviation if spread and len(group) > 1 else None
        spreads |= dict.fromkeys(group, columns)
    return [row.flat() | spreads[row.run] for row in rows]


def write(target: Path, rows: Sequence[Row]) -> None:
    """Writes runs.csv if `target` is a sweep, not a run."""
    if (target / "sweep.yaml").is_file():
        text = io.StringIO()
        flat = flatten_rows(rows)
        columns = dict.fromkeys(name for row in flat for name in row)  # a run of an earlier version has other settings
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        atomic.write_text(target / "runs.csv", text.getvalue())


def update(target: Path) -> None:
    """Writes runs.csv, or logs why it cannot be written: Slurm does not respond, or the disk is full."""
    try:
        _try_to_write(target, read(target))
    except SlurmError as error:
        _log.warning("%s was not updated: %s", target / "runs.csv", error)


def show(target: Path, as_json: bool, selection: Sequence[str] = (), make_table: MakeTable | None = None) -> int:
    """Prints a table once.

    Args:
        as_json: print JSON instead.
        make_table: makes the table from the rows; None is that of the states and results.
    """
    rows = read(target, selection)
    if as_json:
        print(record_file.to_json(flatten_rows(rows)))
    else:
        _console().print((make_table or _table)(rows))
    if not selection:
        _try_to_write(target, rows)
    return 0


def watch(target: Path, selection: Sequence[str] = ()) -> int:
    """Shows the table until no run is active: refreshed on a terminal, and otherwise as a line for every change."""
    console = _console()
    if not (sys.stdout.isatty() and console.is_terminal) or console.is_dumb_terminal:  # FORCE_COLOR makes any output a terminal
        _poll(target, selection, _ChangedLines().print)
        return 0
    with Live(console=console, auto_refresh=False) as live:
        _poll(target, selection, lambda rows: live.update(_table(rows), refresh=True))
    return 0


def _poll(target: Path, selection: Sequence[str], show_rows: Callable[[Sequence[Row]], None]) -> None:
    """Reads the rows at intervals until no run is active, or until the reader of the output exits."""
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
    """Writes runs.csv if possible: the table must be printed on a full disk too, and for users who may only read the sweep."""
    try:
        write(target, rows)
    except OSError as error:
        _log.warning("%s was not updated: %s", target / "runs.csv", error.strerror)


def _console() -> Console:
    # Without markup: a reason or the name of a folder may contain brackets.
    return Console(width=None if sys.stdout.isatty() else _LOG_WIDTH, markup=False, emoji=False, highlight=False)


def new_table(states: Sequence[State]) -> Table:
    """An empty table under the number of runs in each state: on top, since the end of a long table scrolls out of view."""
    title = status.count(states)
    table = Table(
        title=title,
        min_width=len(title),  # or the title of a narrow table would be wrapped
        title_justify="left",
        title_style="",
        box=None,
        header_style="bold",
        caption_justify="left",
    )
    table.caption_style = ""
    return table


def _table(rows: Sequence[Row]) -> Table:
    table = new_table([row.status.state for row in rows])
    columns = [name for name in _TABLE_COLUMNS if any(_marked_figure(row, name) for row in rows)]
    for column in ("run", "state", *columns, ""):
        table.add_column(column.replace("_", " "))
    for row in rows:
        figures = [_marked_figure(row, name) for name in columns]
        table.add_row(row.run, row.status.state, *figures, _describe(row.status, has_figures=True))
    add_baselines(table, rows, ["run", "state", *columns, ""])
    return table


def add_baselines(table: Table, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Adds a row for each trivial predictor, and a caption if figures are marked.

    Args:
        columns: those of the table; the first one has the title of the predictor.
    """
    for baseline in find_baselines({row.run: row.result.held_out for row in rows if row.result}):
        table.add_row(baseline.title, *(_baseline_figure(baseline, name) for name in columns[1:]))
    marked = (cell for name, column in zip(columns, table.columns, strict=True) if name in MEASURES for cell in column.cells)
    if any(str(cell).endswith(UNBEATEN) for cell in marked):
        table.caption = f"{UNBEATEN} not better than a trivial predictor in the last rows"


def _marked_figure(row: Row, column: str) -> str:
    progress = row.status.progress
    if progress and progress.figures and not row.result:
        return progress.figures.as_text().get(column, "")
    is_unbeaten = column in MEASURES and row.result and row.result.unbeaten("valid", MEASURES[column])
    return _format_figure(row.figures[column]) + (f" {UNBEATEN}" if is_unbeaten else "")


def _baseline_figure(baseline: Baseline, column: str) -> str:
    return _format_figure(baseline.figures["valid", MEASURES[column]]) if column in MEASURES else ""


def _format_figure(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4g}"


def _row(run: Run, entry: Status) -> Row:
    provenance = run.read_provenance()
    return Row(run.name, entry, flatten(provenance.config), run.read_result(), RunUsage.of(run, provenance.attempts))


def _describe(entry: Status, has_figures: bool = False) -> str:
    return "; ".join(part for part in (_describe_progress(entry, has_figures), entry.reason) if part)


def _describe_progress(entry: Status, has_figures: bool = False) -> str:
    """The progress of a run as text.

    Args:
        has_figures: whether the table has columns for the figures of the training.
    """
    progress = entry.progress
    if progress is None:
        return ""
    if progress.has_ended:
        return f"{progress.done:,} iterations done"
    note = "" if has_figures and progress.figures else progress.note
    rate = progress.rate_text and f"{progress.rate_text}/s"
    parts = (f"{progress.done:,} of {progress.total:,} iterations", note, rate, progress.remaining)
    return ", ".join(part for part in parts if part)
