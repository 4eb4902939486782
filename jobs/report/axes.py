"""Axes of the charts: positions of values, and ticks at round ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pianogen import arithmetic

arithmetic.ignore_user_files()
import matplotlib.ticker  # noqa: E402

SIZE = 1_000  # width and height of the coordinate system of a path
_LOG_RATIO = 20  # between the largest and the smallest value; above it, the axis is logarithmic
_DENSE_TICKS_RATIO = 1_000  # below it, a logarithmic axis has ticks at 1, 2 and 5 of each decade
_MAX_INTERVALS = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A labeled value on an axis, `percent` of its length from the left or the bottom."""

    percent: float
    label: str


class Axis:
    """An axis, which maps values to positions from 0 to 1. Its ends are round values if it is to be rounded."""

    def __init__(
        self, low: float, high: float, *, is_log: bool = False, is_integer: bool = False, is_rounded: bool = True
    ) -> None:
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
        if is_rounded:
            low = max((value for value in self._values if value <= low), default=low)
            high = min((value for value in self._values if value >= high), default=high)
        self._low, self._high = low, high

    def position(self, value: float) -> float:
        """From 0 to 1 for the values on the axis."""
        low, high = self._low, self._high
        if self._is_log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)

    def ticks(self) -> list[Tick]:
        """The round values."""
        inside = [value for value in self._values if self._low <= value <= self._high]
        return self.ticks_at([value for value in inside if value.is_integer() or not self._is_integer])

    def ticks_at(self, values: Sequence[float]) -> list[Tick]:
        """These values."""
        return [Tick(round(100 * self.position(value), 2), f"{value:.6g}") for value in values]


def is_wide(values: Sequence[float]) -> bool:
    """Whether an axis of these values is logarithmic, because linear positions would not separate the small ones."""
    return min(values) > 0 and max(values) > _LOG_RATIO * min(values)
