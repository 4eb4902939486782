"""How far a long piece of work has come: a bar on a terminal, plain lines in a log."""

import json
import math
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINE_EVERY_S, _RECORD_EVERY_S = 10.0, 2.0


class Progress:
    """Counts work done towards a total; a context manager that writes to standard error.

    Args:
        label: what is being done.
        total: how many units there are.
        unit: what is counted, in the plural.
        done: how many were finished before.
        record: a file that is kept up to date with done, total, rate, left_s, note and has_ended, for others to look at.
    """

    def __init__(self, label: str, total: int, unit: str, done: int = 0, record: Path | None = None) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = self._done_before = done
        self._record = record
        self._note = ""
        self._begin = self._last_line = time.monotonic()
        self._last_record = -math.inf
        self._printed = -1
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}  {task.fields[rate]}  {task.fields[note]}"),
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
        elif error is None and self._printed != self._done:
            self._print_line()
        if self._record and error is None:
            self._write_record(self._record, has_ended=True)

    def advance(self, count: int, note: str = "") -> None:
        """Adds finished units; `note` says something of the state, such as a loss."""
        self._done += count
        self._note = note
        if self._bar:
            self._bar.update(self._task, advance=count, rate=f"{self._rate():.3g}/s", note=note)
        elif time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._print_line()
        if self._record and time.monotonic() - self._last_record >= _RECORD_EVERY_S:
            self._write_record(self._record)

    def _rate(self) -> float:
        return (self._done - self._done_before) / max(time.monotonic() - self._begin, 1e-9)

    def _left_s(self) -> float:
        return (self._total - self._done) / max(self._rate(), 1e-9)

    def _write_record(self, path: Path, has_ended: bool = False) -> None:
        self._last_record = time.monotonic()
        speed = {"rate": self._rate(), "left_s": 0 if has_ended else self._left_s()}
        content = {"done": self._done, "total": self._total, **speed, "note": self._note, "has_ended": has_ended}
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(content))  # not fsynced: it is out of date in a moment
        temporary.replace(path)

    def _print_line(self) -> None:
        self._last_line, self._printed = time.monotonic(), self._done
        parts = [f"{self._label}: {self._done:,} of {self._total:,} {self._unit}", f"{self._rate():.3g}/s"]
        parts += [f"{self._left_s():.0f} s left"] if self._done < self._total else []
        parts += [self._note] if self._note else []
        print(", ".join(parts), file=sys.stderr, flush=True)
