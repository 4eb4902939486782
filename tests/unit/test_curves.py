"""Charts of learning curves: positions inside the plot area for any losses, axes, styles."""

import math
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobs.report.axes import SIZE
from jobs.report.curves import Chart, make_chart

LOSSES = st.floats(width=32) | st.floats(1e-9, 1e9)


def points_of(path: str) -> list[tuple[float, float]]:
    assert re.fullmatch(r"M[\d.]+ [\d.]+( L[\d.]+ [\d.]+)*( h0)?", path), path
    return [(float(x), float(y)) for x, y in (point.split() for point in path.removesuffix(" h0")[1:].split(" L"))]


def chart_of(curves: dict[int, list[float]]) -> Chart:
    chart = make_chart("loss", {run: list(enumerate(values, start=1)) for run, values in curves.items()})
    assert chart is not None
    return chart


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.integers(0, 30), st.lists(LOSSES, max_size=6), max_size=4))
def test_lines_and_ticks_are_inside_the_plot_area(curves: dict[int, list[float]]) -> None:
    finite = {run: [value for value in values if math.isfinite(value)] for run, values in curves.items()}
    assume(any(finite.values()))
    chart = chart_of(curves)
    assert {line.run: line.last for line in chart.lines} == {run: values[-1] for run, values in finite.items() if values}
    assert [line.last for line in chart.lines] == sorted((line.last for line in chart.lines), reverse=True)
    for line in chart.lines:
        assert all(0 <= x <= SIZE and 0 <= y <= SIZE for x, y in points_of(line.path))
    for tick in [*chart.x_ticks, *chart.y_ticks]:
        assert 0 <= tick.percent <= 100
    assert len(chart.y_ticks) >= 1


def test_lower_values_are_lower_and_later_epochs_are_farther_right() -> None:
    chart = chart_of({0: [5.0, 3.0, 1.0], 1: [4.0, 4.0]})
    falling, level = (points_of(next(line.path for line in chart.lines if line.run == run)) for run in (0, 1))
    assert [x for x, _ in falling] == [0, SIZE / 2, SIZE]
    assert [x for x, _ in level] == [0, SIZE / 2]
    assert falling[0][1] < level[0][1] == level[1][1] < falling[1][1] < falling[2][1]


@pytest.mark.parametrize(("last", "is_log"), [(0.5, False), (0.01, True), (0.0, False), (-1.0, False)])
def test_axis_of_a_wide_positive_range_is_logarithmic(last: float, is_log: bool) -> None:
    assert chart_of({0: [1.0, last]}).is_log == is_log


def test_nan_and_infinite_values_are_omitted() -> None:
    chart = chart_of({0: [2.0, math.nan, 1.0], 1: [math.inf]})
    assert [(line.run, len(points_of(line.path))) for line in chart.lines] == [(0, 2)]


@pytest.mark.parametrize("curves", [{}, {0: []}, {0: [math.nan], 1: [math.inf, -math.inf]}])
def test_chart_without_finite_values_is_omitted(curves: dict[int, list[float]]) -> None:
    assert make_chart("loss", {run: list(enumerate(values, start=1)) for run, values in curves.items()}) is None


def test_single_epoch_is_a_dot() -> None:
    (line,) = chart_of({0: [0.3]}).lines
    assert line.path.endswith(" h0")


def test_curves_of_many_epochs_are_thinned_and_keep_the_last_epoch() -> None:
    (line,) = chart_of({0: [1 / epoch for epoch in range(1, 4_001)]}).lines
    assert 250 <= len(points_of(line.path)) <= 501
    assert points_of(line.path)[-1][0] == SIZE


def test_line_styles_repeat_after_24_runs() -> None:
    style = {line.run: line.style for line in chart_of({run: [1.0] for run in range(40)}).lines}
    assert len({style[run] for run in range(24)}) == 24
    assert style[24] == style[0]


def test_ticks_of_epochs_are_integers() -> None:
    assert [tick.label for tick in chart_of({0: [2.0]}).x_ticks] == ["1"]
    assert [tick.label for tick in chart_of({0: [2.0, 1.0, 1.0]}).x_ticks] == ["1", "2", "3"]
