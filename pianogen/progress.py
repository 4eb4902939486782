"""How far a long piece of work has come: a bar on a terminal, plain lines in a log."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINE_EVERY_S = 10.0


class Progress:
    """Counts work done towards a total; a context manager that writes to standard error.

    Args:
        label: what is being done.
        total: how many units there are.
        unit: what is counted, in the plural.
    """

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._note = ""
        self._begin = self._last_line = time.monotonic()
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
            self._task = self._bar.add_task(label, total=total, unit=unit, rate="", note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
        elif error is None and self._printed != self._done:
            self._print_line()

    def advance(self, count: int, note: str = "") -> None:
        """Adds finished units; `note` says something of the state, such as a loss."""
        self._done += count
        self._note = note
        if self._bar:
            self._bar.update(self._task, advance=count, rate=f"{self._rate():.3g}/s", note=note)
        elif time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._print_line()

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._begin, 1e-9)

    def _print_line(self) -> None:
        self._last_line, self._printed = time.monotonic(), self._done
        left_s = (self._total - self._done) / max(self._rate(), 1e-9)
        parts = [f"{self._label}: {self._done:,} of {self._total:,} {self._unit}", f"{self._rate():.3g}/s"]
        parts += [f"{left_s:.0f} s left"] if self._done < self._total else []
        parts += [self._note] if self._note else []
        print(", ".join(parts), file=sys.stderr, flush=True)
