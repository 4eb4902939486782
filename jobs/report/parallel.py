"""Parallel coordinates: axes of the hyperparameters in which the runs differ and of the main results, and a line for each run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from jobs.records.seed_groups import SEED, varied_settings
from jobs.report.axes import SIZE, Axis, Tick, is_wide
from jobs.report.comparison import text_of, title_of
from jobs.report.figures import RunFigures
from jobs.report.results import RESULTS, ResultColumn

_RESULTS = ("valid loss", "valid onset F1", "valid nats per step")  # the last one that the runs have colors the lines
_LABEL_PERCENT = 4  # height of a label, of an axis
_MAX_LABELED_VALUES = 8  # on an axis of numbers; with more, round values are labeled


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis.

    Attributes:
        title: of the setting or the result.
        note: the kind of the axis and of the result, '' for a linear axis of a setting.
        percent: the position from the left.
        ticks: the labeled values.
        is_result: whether it is the axis of a result.
    """

    title: str
    note: str
    percent: float
    ticks: list[Tick]
    is_result: bool


@dataclass(frozen=True, slots=True)
class ParallelLine:
    """The line of a run.

    Attributes:
        run: index of the run in the report.
        path: an SVG path, which ends where the run has no result.
        worse: percentage of the runs that are better; None if the run has no result.
    """

    run: int
    path: str
    worse: float | None


@dataclass(frozen=True, slots=True)
class ParallelPlot:
    """The plot; `result` is the title of the result that colors the lines."""

    scales: list[Scale]
    lines: list[ParallelLine]
    result: str


@dataclass(frozen=True, slots=True)
class _Positions:
    """The positions of the runs on an axis, from 0 to 1; None for a run without a value."""

    values: list[float | None]
    ticks: list[Tick]
    note: str = ""


def make_parallel_plot(runs: Sequence[RunFigures]) -> ParallelPlot | None:
    """The plot of the runs; None unless they differ in a hyperparameter, and two of them have comparable results."""
    settings = varied_settings([{key: value for key, value in run.settings.items() if key != SEED} for run in runs])
    results = {title: values for title in _RESULTS if (values := _read(_result(title), runs))}
    if not settings or not results:
        return None
    axes = [*map(_place_setting, settings.values()), *(_place_result(_result(title), results[title]) for title in results)]
    percents = [round(100 * number / (len(axes) - 1), 2) for number in range(len(axes))]
    titles = [*map(title_of, settings), *results]
    scales = [
        Scale(title, axis.note, percent, _without_overlap(axis.ticks), number >= len(settings))
        for number, (title, axis, percent) in enumerate(zip(titles, axes, percents, strict=True))
    ]
    colored = titles[-1]
    ranks = _rank(_result(colored), results[colored])
    lines = [ParallelLine(run, _path([axis.values[run] for axis in axes], percents), ranks[run]) for run in range(len(runs))]
    return ParallelPlot(scales, [line for line in lines if line.path], colored)


def _result(title: str) -> ResultColumn:
    return next(result for result in RESULTS if result.title == title)


def _read(result: ResultColumn, runs: Sequence[RunFigures]) -> list[float | None]:
    """The finite values of a result; none unless two runs have different ones that are comparable."""
    values = [result.read(run) for run in runs]
    finite = [value if value is not None and math.isfinite(value) else None for value in values]
    return finite if result.are_comparable(runs) and len(set(finite) - {None}) > 1 else []


def _place_setting(values: Sequence[Any]) -> _Positions:
    """Positions on an axis of numbers, or of categories if a value is not a number."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _place_categories([text_of(value) for value in values])
    distinct = sorted(set(values))
    is_log = distinct[0] > 0 and _largest_gap([math.log(value) for value in distinct]) < _largest_gap(distinct)
    axis = Axis(distinct[0], distinct[-1], is_log=is_log, is_rounded=False)
    ticks = axis.ticks_at(distinct) if len(distinct) <= _MAX_LABELED_VALUES else axis.ticks()
    return _Positions([axis.position(value) for value in values], ticks, "logarithmic" if is_log else "")


def _largest_gap(distinct: Sequence[float]) -> float:
    """The largest difference between neighbors, as a share of the range: small where values are spread evenly."""
    return max(high - low for low, high in pairwise(distinct)) / (distinct[-1] - distinct[0])


def _place_categories(texts: Sequence[str]) -> _Positions:
    """Positions at equal distances, in the order of the first run with each text."""
    distinct = list(dict.fromkeys(texts))
    positions = {text: number / max(len(distinct) - 1, 1) for number, text in enumerate(distinct)}
    ticks = [Tick(round(100 * position, 2), text) for text, position in positions.items()]
    return _Positions([positions[text] for text in texts], ticks)


def _place_result(result: ResultColumn, values: Sequence[float | None]) -> _Positions:
    """Positions on an axis of losses or likelihoods, which may be logarithmic, or of scores from 0 to 1."""
    known = [value for value in values if value is not None]
    is_log = result.best is min and is_wide(known)
    axis = Axis(min(known), max(known), is_log=is_log)
    note = ("higher is better" if result.best is max else "lower is better") + (", logarithmic" if is_log else "")
    return _Positions([None if value is None else axis.position(value) for value in values], axis.ticks(), note)


def _without_overlap(ticks: Sequence[Tick]) -> list[Tick]:
    """The ticks whose labels do not overlap that of a lower one."""
    shown: list[Tick] = []
    for tick in ticks:
        if not shown or tick.percent - shown[-1].percent >= _LABEL_PERCENT:
            shown.append(tick)
    return shown


def _rank(result: ResultColumn, values: Sequence[float | None]) -> list[float | None]:
    """For each run, the percentage of the other runs with a better result."""
    ordered = sorted((value for value in values if value is not None), reverse=result.best is max)
    return [None if value is None else round(100 * ordered.index(value) / (len(ordered) - 1), 1) for value in values]


def _path(positions: Sequence[float | None], percents: Sequence[float]) -> str:
    """A path through the known positions of at least two axes; otherwise ''."""
    points = [
        f"{SIZE * percent / 100:.0f} {SIZE * (1 - position):.0f}"
        for position, percent in zip(positions, percents, strict=True)
        if position is not None
    ]
    return f"M{' L'.join(points)}" if len(points) > 1 else ""
