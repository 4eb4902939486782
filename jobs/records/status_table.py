"""The table of a sweep: for people on a terminal, for programs as JSON and as runs.csv."""

import csv
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from jobs.cluster.slurm import SlurmError
from jobs.records import run_directory, status
from jobs.records.run_directory import Run
from jobs.records.status import Status
from pianogen import atomic
from pianogen.config import flatten

_METRICS = ("epoch", "loss", "valid_loss", "best_valid_loss", "constant_predictor_loss", "parameters")
_SHOWN = ("epoch", "loss", "valid_loss", "valid_nats_per_step", "valid_onset_f1")
_LOOK_EVERY_S = 15.0
_LOG_WIDTH = 200


def read(out: Path) -> list[dict[str, Any]]:
    """A row for each run."""
    runs = run_directory.open_runs(out)
    return [_row(run, found) for run, found in zip(runs, status.look(runs), strict=True)]


def write(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes runs.csv, if they are those of a sweep and not of one run."""
    if (out / "sweep.yaml").is_file():
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic.write_text(out / "runs.csv", text.getvalue())


def show(out: Path, as_json: bool) -> int:
    """Prints the table once."""
    rows = read(out)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _console().print(_table(rows))
    _try_to_write(out, rows)
    return 0


def watch(out: Path) -> int:
    """Keeps the table up to date as long as anything is queued or runs."""
    with Live(console=_console(), auto_refresh=False) as live:
        while True:
            try:
                rows = read(out)
                live.update(_table(rows), refresh=True)
                _try_to_write(out, rows)
                if not any(row["job"] or row["state"] == "running" for row in rows):
                    return 0
            except SlurmError as error:
                live.console.print(f"{time.strftime('%H:%M')} {error}")
            time.sleep(_LOOK_EVERY_S)


def _try_to_write(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Looking must be possible where the disk is full, and for those who may only read."""
    try:
        write(out, rows)
    except OSError as error:
        print(f"{out / 'runs.csv'} is not up to date: {error.strerror}", file=sys.stderr)


def _console() -> Console:
    """As wide as the terminal; a log has no width."""
    return Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    title = status.count([row["state"] for row in rows])  # above, where a long table on a low terminal does not hide it
    table = Table(title=title, title_justify="left", title_style="", box=None, header_style="bold")
    measured = [name for name in _SHOWN if any(row[name] is not None for row in rows)]
    for column in ("run", "state", *measured, ""):
        table.add_column(column.replace("_", " "))
    for row in rows:
        numbers = [f"{row[name]:.4g}" if row[name] is not None else "" for name in measured]
        table.add_row(row["run"], row["state"], *numbers, row["progress"] or row["reason"])
    return table


def _row(run: Run, found: Status) -> dict[str, Any]:
    configured = run.read_provenance()["config"]
    flat = flatten(configured)
    result = run.read_result() or {}
    measured = {name: result.get(name) for name in _METRICS}
    told = {"state": found.state, "reason": found.reason, "job": found.job, "progress": _told(found)}
    return {"run": run.name, **told, **flat, **measured, **_held_out(result)}


def _told(found: Status) -> str:
    """How far a running one has come."""
    if not found.progress:
        return ""
    progress = found.progress
    if progress.has_ended:
        return f"{progress.done:,} iterations done; evaluating and drawing samples"
    minutes, seconds = divmod(round(progress.remaining_s), 60)
    remaining = f"{minutes} min remaining" if minutes > 1 else f"{60 * minutes + seconds} s remaining"
    return ", ".join(part for part in (f"{progress.done:,} of {progress.total:,} iterations", progress.note, remaining) if part)


def _held_out(result: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of the evaluation on the valid split."""
    network = result.get("held_out", {}).get("valid", {}).get("network", {})
    best = network.get("static_threshold", {})
    return {"valid_nats_per_step": network.get("nats_per_step"), "valid_onset_f1": best.get("onset_f1")}
