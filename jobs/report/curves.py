"""Charts of the learning curves of all runs, as SVG paths that scale with the width of the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.report.axes import SIZE, Axis, Tick, is_wide

_NUM_COLORS, _NUM_DASHES = 8, 3
_MAX_POINTS = 500


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
    is_log = is_wide(values)
    x_axis = Axis(min(epochs), max(epochs), is_integer=True, is_rounded=False)
    y_axis = Axis(min(values), max(values), is_log=is_log)
    lines = [Line(run, _path(points, x_axis, y_axis), points[-1][1]) for run, points in thinned.items()]
    return Chart(title, sorted(lines, key=lambda line: -line.last), x_axis.ticks(), y_axis.ticks(), is_log)


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points at regular intervals, and the last point."""
    interval = -(-len(points) // _MAX_POINTS)
    return [*points[:-1:interval], points[-1]]


def _path(points: Sequence[tuple[float, float]], x_axis: Axis, y_axis: Axis) -> str:
    positions = [f"{SIZE * x_axis.position(epoch):.1f} {SIZE * (1 - y_axis.position(value)):.1f}" for epoch, value in points]
    # A line without length is rendered as a dot.
    return f"M{' L'.join(positions)}" + (" h0" if len(positions) == 1 else "")
