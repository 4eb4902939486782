"""The jobs of this machine while they run: on a terminal a table of the runs that train, and otherwise log lines."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.table import Table

from jobs.records.run_directory import Run
from pianogen import progress
from pianogen.progress import Progress, ProgressRecord, read_progress

REFRESH_S = 1.0
_log = logging.getLogger(__name__)


class JobDisplay:
    """Shows how many jobs have ended, and the progress of those that train a run.

    Args:
        kind: train, sample or decode.
        jobs: the progress of all jobs.
    """

    def __init__(self, kind: str, jobs: Progress) -> None:
        self._trains = kind == "train"
        self._jobs = jobs
        self._num_failed = 0
        self._last_refresh = -math.inf
        self._last_lines: dict[str, tuple[int, float]] = {}  # by run: the epoch and the time of its last log line

    def start(self, argument: str) -> None:
        """Shows that a job has been started."""
        if self._trains:
            with suppress(OSError):  # it shows the progress of the attempt before, until this one has started
                Run(Path(argument)).progress.unlink()
            if not self._jobs.is_refreshed_in_place:
                _log.info("%s: started", Path(argument).name)

    def refresh(self, running: Sequence[str], num_waiting: int) -> None:
        """Shows the progress of running jobs, at most once per second.

        Args:
            running: the arguments of the jobs.
        """
        now = time.monotonic()
        if now - self._last_refresh < REFRESH_S:
            return
        self._last_refresh = now
        records = {run.name: read_progress(run.progress) for run in map(Run, map(Path, running))} if self._trains else {}
        if not self._jobs.is_refreshed_in_place:
            self._log_epochs(records, now)
            return
        self._jobs.advance(0, self._counts(len(running), num_waiting))
        self._jobs.show_below(_table(records) if records else None)

    def end(self, argument: str, error: str | None, num_running: int, num_waiting: int) -> None:
        """Shows that a job has ended; `error` is the reason if it failed."""
        self._num_failed += error is not None
        if self._trains:
            record = read_progress(Run(Path(argument)).progress)
            figures = f", {record.figures}" if record and record.figures else ""
            _log.log(logging.ERROR if error else logging.INFO, "%s: %s%s", Path(argument).name, error or "done", figures)
        self._jobs.advance(1, self._counts(num_running, num_waiting))
        self._jobs.show_below(None)
        self._last_refresh = -math.inf

    def _counts(self, num_running: int, num_waiting: int) -> str:
        counts = {"running": num_running, "waiting": num_waiting, "failed": self._num_failed}
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

    def _log_epochs(self, records: Mapping[str, ProgressRecord | None], now: float) -> None:
        """Logs the runs that have reached another epoch, each at intervals."""
        for run, record in records.items():
            if record is None or record.figures is None:
                continue
            epoch, time_s = self._last_lines.get(run, (0, -math.inf))
            if record.figures.epoch != epoch and now - time_s >= progress.LINE_INTERVAL_S:
                self._last_lines[run] = record.figures.epoch, now
                rate = record.rate_text and f"{record.rate_text} iterations/s"
                _log.info("%s: %s", run, ", ".join(part for part in (str(record.figures), rate, record.remaining) if part))


def _table(records: Mapping[str, ProgressRecord | None]) -> Table:
    """The runs that train.

    Args:
        records: by the name of the run, None before its first iteration.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = ("epoch", "loss", "valid_loss")
    for column in ("run", *columns, "iterations/s", ""):
        table.add_column(column.replace("_", " "))
    for run, record in records.items():
        figures = record.figures.as_text() if record and record.figures else {}
        rate = record.rate_text if record else ""
        table.add_row(run, *(figures.get(column, "") for column in columns), rate, _stage(record))
    return table


def _stage(record: ProgressRecord | None) -> str:
    if record is None:
        return "starting"
    return "evaluating and drawing samples" if record.has_ended else record.remaining
