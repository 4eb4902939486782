"""The curves of all runs over each other, as lines that are stretched to whatever width there is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.ticker

SIZE = 1_000  # of the plane a path is drawn in, both ways
_NUM_COLORS, _NUM_DASHES = 8, 3
_MOST_POINTS = 500
_LOG_RATIO = 20  # a larger one between the ends of an axis wants logarithms
_FEW_DECADES = 1_000
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """The curve of one run.

    Attributes:
        run: its number among the runs of the report.
        path: an SVG path.
        last: its last value.
    """

    run: int
    path: str
    last: float

    @property
    def style(self) -> str:
        """Its classes in report.css: runs in a row have different colors, then other dashes."""
        return f"c{self.run % _NUM_COLORS} d{self.run // _NUM_COLORS % _NUM_DASHES}"


@dataclass(frozen=True, slots=True)
class Tick:
    """A value on an axis; `percent` of it away from the left or the bottom."""

    percent: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One measure of all runs by epoch; the lines from the highest last value to the lowest."""

    title: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    is_log: bool


def make_chart(title: str, curves: Mapping[int, Sequence[tuple[float, float]]]) -> Chart | None:
    """A chart of finite (epoch, value) points by run, None if there are none."""
    finite = {run: [point for point in points if math.isfinite(point[1])] for run, points in curves.items()}
    drawn = {run: _thin(points) for run, points in finite.items() if points}
    if not drawn:
        return None
    epochs = [epoch for points in drawn.values() for epoch, _ in points]
    values = [value for points in drawn.values() for _, value in points]
    is_log = min(values) > 0 and max(values) > _LOG_RATIO * min(values)
    x_axis = _Axis(min(epochs), max(epochs), is_log=False, is_integer=True)
    y_axis = _Axis(min(values), max(values), is_log, is_integer=False)
    lines = [Line(run, _path(points, x_axis, y_axis), points[-1][1]) for run, points in drawn.items()]
    return Chart(title, sorted(lines, key=lambda line: -line.last), x_axis.ticks(), y_axis.ticks(), is_log)


class _Axis:
    """From values to places from 0 to 1; the ends are ticks, except where epochs are counted."""

    def __init__(self, low: float, high: float, is_log: bool, is_integer: bool) -> None:
        self._is_log, self._is_integer = is_log, is_integer
        locator = (
            matplotlib.ticker.LogLocator(subs=(1, 2, 5) if high < _FEW_DECADES * low else (1,))
            if is_log
            else matplotlib.ticker.MaxNLocator(_TICKS, steps=[1, 2, 5, 10], integer=is_integer)
        )
        widest = abs(low) / 10 or 0.5
        if low == high:
            low, high = (low - 0.5, high + 0.5) if is_integer else (low - widest, high + widest)
        self._values = [float(value) for value in locator.tick_values(low, high)]
        if not is_integer:
            low = max((value for value in self._values if value <= low), default=low)
            high = min((value for value in self._values if value >= high), default=high)
        self._low, self._high = low, high

    def place(self, value: float) -> float:
        low, high = self._low, self._high
        if self._is_log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)

    def ticks(self) -> list[Tick]:
        shown = [value for value in self._values if self._low <= value <= self._high]
        shown = [value for value in shown if value.is_integer() or not self._is_integer]
        return [Tick(round(100 * self.place(value), 2), f"{value:.6g}") for value in shown]


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every so many of them, and the last."""
    every = -(-len(points) // _MOST_POINTS)
    return [*points[:-1:every], points[-1]]


def _path(points: Sequence[tuple[float, float]], x_axis: _Axis, y_axis: _Axis) -> str:
    places = [f"{SIZE * x_axis.place(epoch):.1f} {SIZE * (1 - y_axis.place(value)):.1f}" for epoch, value in points]
    # A line of no length is drawn as a dot.
    return f"M{' L'.join(places)}" + (" h0" if len(places) == 1 else "")
