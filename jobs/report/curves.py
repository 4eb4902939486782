"""Charts of the learning curves of all runs, as SVG paths that scale with the width of the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.ticker

SIZE = 1_000  # width and height of the coordinate system of a path
_NUM_COLORS, _NUM_DASHES = 8, 3
_MAX_POINTS = 500
_LOG_RATIO = 20  # between the largest and the smallest value; above it, the axis is logarithmic
_DENSE_TICKS_RATIO = 1_000  # below it, a logarithmic axis has ticks at 1, 2 and 5 of each decade
_MAX_INTERVALS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """The curve of one run.

    Attributes:
        run: index of the run in the report.
        path: an SVG path.
        last: the last value.
    """

    run: int
    path: str
    last: float

    @property
    def style(self) -> str:
        """The classes in report.css: consecutive runs have different colors; when all are used, the dashes change."""
        return f"c{self.run % _NUM_COLORS} d{self.run // _NUM_COLORS % _NUM_DASHES}"


@dataclass(frozen=True, slots=True)
class Tick:
    """A labeled value on an axis, `percent` of its length from the left or the bottom."""

    percent: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A metric of all runs by epoch; lines are sorted by their last values, the highest first."""

    title: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    is_log: bool


def make_chart(title: str, curves: Mapping[int, Sequence[tuple[float, float]]]) -> Chart | None:
    """A chart of the finite values; None if there are none.

    Args:
        curves: (epoch, value) points by index of the run.
    """
    finite = {run: [point for point in points if math.isfinite(point[1])] for run, points in curves.items()}
    thinned = {run: _thin(points) for run, points in finite.items() if points}
    if not thinned:
        return None
    epochs = [epoch for points in thinned.values() for epoch, _ in points]
    values = [value for points in thinned.values() for _, value in points]
    is_log = min(values) > 0 and max(values) > _LOG_RATIO * min(values)
    x_axis = _Axis(min(epochs), max(epochs), is_log=False, is_integer=True)
    y_axis = _Axis(min(values), max(values), is_log, is_integer=False)
    lines = [Line(run, _path(points, x_axis, y_axis), points[-1][1]) for run, points in thinned.items()]
    return Chart(title, sorted(lines, key=lambda line: -line.last), x_axis.ticks(), y_axis.ticks(), is_log)


class _Axis:
    """An axis, which maps values to positions from 0 to 1. Its ends are ticks, except on the axis of epochs."""

    def __init__(self, low: float, high: float, is_log: bool, is_integer: bool) -> None:
        self._is_log, self._is_integer = is_log, is_integer
        locator = (
            matplotlib.ticker.LogLocator(subs=(1, 2, 5) if high < _DENSE_TICKS_RATIO * low else (1,))
            if is_log
            else matplotlib.ticker.MaxNLocator(_MAX_INTERVALS, steps=[1, 2, 5, 10], integer=is_integer)
        )
        if low == high:
            margin = 0.5 if is_integer else abs(low) / 10 or 0.5
            low, high = low - margin, high + margin
        self._values = [float(value) for value in locator.tick_values(low, high)]
        if not is_integer:
            low = max((value for value in self._values if value <= low), default=low)
            high = min((value for value in self._values if value >= high), default=high)
        self._low, self._high = low, high

    def position(self, value: float) -> float:
        low, high = self._low, self._high
        if self._is_log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)

    def ticks(self) -> list[Tick]:
        inside = [value for value in self._values if self._low <= value <= self._high]
        shown = [value for value in inside if value.is_integer() or not self._is_integer]
        return [Tick(round(100 * self.position(value), 2), f"{value:.6g}") for value in shown]


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points at regular intervals, and the last point."""
    interval = -(-len(points) // _MAX_POINTS)
    return [*points[:-1:interval], points[-1]]


def _path(points: Sequence[tuple[float, float]], x_axis: _Axis, y_axis: _Axis) -> str:
    positions = [f"{SIZE * x_axis.position(epoch):.1f} {SIZE * (1 - y_axis.position(value)):.1f}" for epoch, value in points]
    # A line without length is rendered as a dot.
    return f"M{' L'.join(positions)}" + (" h0" if len(positions) == 1 else "")
