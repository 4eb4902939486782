"""Progress of long work: a progress bar on a terminal, log lines otherwise, and a record that other processes can read."""

import json
import logging
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_INTERVAL_S, RECORD_INTERVAL_S = 10.0, 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """The progress of a process, as it is written for other processes.

    Attributes:
        done: number of finished units.
        total: number of units.
        rate: units per second.
        remaining_s: estimated time until all units are finished.
        note: a short text such as the current loss.
        has_ended: whether all units are finished.
    """

    done: int
    total: int
    rate: float
    remaining_s: float
    note: str
    has_ended: bool


def read_progress(path: Path) -> ProgressRecord | None:
    """Reads a progress record, None if the process has not written one yet, or if it is damaged."""
    try:
        return ProgressRecord(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):  # it is not fsynced
        return None


class Progress:
    """Counts finished units of work and reports them; a context manager.

    Args:
        label: the name of the work.
        total: the number of units.
        unit: the plural name of the units.
        done: the number of units that earlier attempts finished.
        record: the file to which a ProgressRecord is written every few seconds.
    """

    def __init__(self, label: str, total: int, unit: str, done: int = 0, record: Path | None = None) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = self._done_before = done
        self._record = record
        self._note = ""
        self._begin = self._last_line = time.monotonic()
        self._last_record = -math.inf
        self._is_record_failing = False
        self._logged = -1
        self._bar: Bar | None = None
        if sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal:
            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}  {task.fields[rate]}  {task.fields[note]}", markup=False),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(label, total=total, completed=done, unit=unit, rate="", note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
        elif error is None and self._logged != self._done:
            self._log_line()
        if self._record and error is None:
            self._write_record(self._record, has_ended=True)

    def advance(self, count: int, note: str = "") -> None:
        """Adds finished units; `note` is a short text such as the current loss."""
        self._done += count
        self._note = note
        if self._bar:
            self._bar.update(self._task, advance=count, rate=f"{self._rate():.3g}/s", note=note)
        elif time.monotonic() - self._last_line >= LINE_INTERVAL_S:
            self._log_line()
        if self._record and time.monotonic() - self._last_record >= RECORD_INTERVAL_S:
            self._write_record(self._record)

    def _rate(self) -> float:
        return (self._done - self._done_before) / max(time.monotonic() - self._begin, 1e-9)

    def _remaining_s(self) -> float:
        return (self._total - self._done) / max(self._rate(), 1e-9)

    def _write_record(self, path: Path, has_ended: bool = False) -> None:
        self._last_record = time.monotonic()
        remaining_s = 0 if has_ended else self._remaining_s()
        record = ProgressRecord(self._done, self._total, self._rate(), remaining_s, self._note, has_ended)
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            temporary.parent.mkdir(exist_ok=True)
            temporary.write_text(json.dumps(asdict(record)))  # not fsynced: the next record replaces it within seconds
            temporary.replace(path)
        except OSError as error:  # the record only shows the progress
            if not self._is_record_failing:
                _log.warning("%s was not written (%s); the work continues", path, error)
            self._is_record_failing = True
        else:
            self._is_record_failing = False

    def _log_line(self) -> None:
        self._last_line, self._logged = time.monotonic(), self._done
        parts = [f"{self._label}: {self._done:,} of {self._total:,} {self._unit}", f"{self._rate():.3g}/s"]
        parts += [f"{self._remaining_s():.0f} s remaining"] if self._done < self._total else []
        parts += [self._note] if self._note else []
        _log.info(", ".join(parts))
