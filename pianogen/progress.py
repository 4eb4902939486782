"""Progress of long work: refreshed in place on a terminal, log lines otherwise, and a record that other processes can read."""

import json
import logging
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.status import Status

LINE_INTERVAL_S, RECORD_INTERVAL_S = 10.0, 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingFigures:
    """The figures of a training in progress.

    Attributes:
        epoch: the current epoch, from 1.
        num_epochs: number of epochs, if the training does not stop early.
        loss: mean over the iterations of the epoch so far.
        valid_loss: of the last epoch that has been validated; None before, and without a valid split.
    """

    epoch: int
    num_epochs: int
    loss: float
    valid_loss: float | None = None

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in self.as_text().items())

    def as_text(self) -> dict[str, str]:
        """The figures by the names that they have in metrics.csv."""
        texts = {"epoch": f"{self.epoch:,} of {self.num_epochs:,}", "loss": f"{self.loss:.4g}"}
        return texts if self.valid_loss is None else texts | {"valid_loss": f"{self.valid_loss:.4g}"}


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """The progress of a process, as it is written for other processes.

    Attributes:
        done: number of finished units.
        total: number of units.
        rate: units per second, without the first units if there are others: they may include a compilation. None while only
            the first units are finished.
        remaining_s: estimated time until all units are finished; None while the rate is.
        note: a short text such as the current loss.
        has_ended: whether all units are finished.
        figures: of a training.
    """

    done: int
    total: int
    rate: float | None
    remaining_s: float | None
    note: str
    has_ended: bool
    figures: TrainingFigures | None = None

    @property
    def rate_text(self) -> str:
        """The rate as text; empty while it is not known."""
        return "" if self.rate is None else f"{self.rate:.3g}"

    @property
    def remaining(self) -> str:
        """The remaining time as text; empty while it is not known."""
        if self.remaining_s is None:
            return ""
        minutes, seconds = divmod(round(self.remaining_s), 60)
        return f"{minutes:,} min remaining" if minutes > 1 else f"{60 * minutes + seconds} s remaining"


def read_progress(path: Path) -> ProgressRecord | None:
    """Reads a progress record, None if the process has not written one yet, or if it is damaged."""
    try:
        values = json.loads(path.read_bytes())
        figures = values.pop("figures", None)
        return ProgressRecord(**values, figures=TrainingFigures(**figures) if figures else None)
    except (OSError, ValueError, TypeError, AttributeError):  # it is not fsynced
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
        self._done = self._done_before = self._done_first = done
        self._record = record
        self._note: str | TrainingFigures = ""
        self._begin = self._begin_second = self._last_line = time.monotonic()
        self._last_record = -math.inf
        self._is_record_failing = False
        self._logged = -1
        self._bar: _Bar | None = None
        if _is_refreshed_in_place():
            self._bar = _Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}  {task.fields[rate]}  {task.fields[note]}", markup=False),
                TimeRemainingColumn(),
                console=_console(),
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

    @property
    def is_refreshed_in_place(self) -> bool:
        """Whether the progress is a bar on a terminal, not log lines."""
        return self._bar is not None

    def show_below(self, content: RenderableType | None) -> None:
        """Shows content below the bar, if there is a bar; replaces the previous content."""
        if self._bar:
            self._bar.below = content
            self._bar.refresh()

    def advance(self, count: int, note: str | TrainingFigures = "") -> None:
        """Adds finished units; `note` is a short text, or the figures of a training."""
        is_first = self._done == self._done_before
        self._done += count
        if is_first:
            self._done_first, self._begin_second = self._done, time.monotonic()
        self._note = note
        if self._bar:
            rate = self._rate()
            self._bar.update(self._task, advance=count, rate="" if rate is None else f"{rate:.3g}/s", note=str(note))
        elif time.monotonic() - self._last_line >= LINE_INTERVAL_S:
            self._log_line()
        if self._record and time.monotonic() - self._last_record >= RECORD_INTERVAL_S:
            self._write_record(self._record)

    def _rate(self) -> float | None:
        """See `ProgressRecord`."""
        if self._done > self._done_first:
            return (self._done - self._done_first) / max(time.monotonic() - self._begin_second, 1e-9)
        if self._done < self._total:
            return None
        return (self._done - self._done_before) / max(time.monotonic() - self._begin, 1e-9)

    def _remaining_s(self, rate: float | None) -> float | None:
        return None if rate is None else (self._total - self._done) / max(rate, 1e-9)

    def _write_record(self, path: Path, has_ended: bool = False) -> None:
        self._last_record = time.monotonic()
        rate = self._rate()
        remaining_s = 0 if has_ended else self._remaining_s(rate)
        figures = self._note if isinstance(self._note, TrainingFigures) else None
        record = ProgressRecord(self._done, self._total, rate, remaining_s, str(self._note), has_ended, figures)
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
        parts = [f"{self._label}: {self._done:,} of {self._total:,} {self._unit}"]
        rate = self._rate()
        remaining_s = self._remaining_s(rate)
        parts += [f"{rate:.3g}/s"] if rate is not None else []
        parts += [f"{remaining_s:.0f} s remaining"] if remaining_s else []
        parts += [str(self._note)] if self._note else []
        _log.info(", ".join(parts))


class Stages:
    """Shows the current stage of a command: in place on a terminal, and otherwise as log lines; a context manager.

    Args:
        label: the name of the work.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._stage = ""
        self._last_line = -math.inf
        self._status: Status | None = None
        if _is_refreshed_in_place():
            self._status = Status(label, console=_console())

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status:
            self._status.stop()

    def show(self, stage: str, detail: str = "") -> None:
        """Shows a stage; in a log, a stage of which only the detail has changed is repeated every 10 s at most."""
        text = f"{self._label}: {stage} {detail}".rstrip()
        if self._status:
            self._status.update(text)
        elif stage != self._stage or time.monotonic() - self._last_line >= LINE_INTERVAL_S:
            self._last_line = time.monotonic()
            _log.info(text)
        self._stage = stage


class _Bar(RichProgress):
    """A progress bar with something below it."""

    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below is not None:
            yield self.below


def _console() -> Console:
    # Without markup: the name of a run or a folder may contain brackets.
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def _is_refreshed_in_place() -> bool:
    return sys.stderr.isatty() and not _console().is_dumb_terminal
