"""The table of a sweep's runs: their results, and the settings in which they differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.records.held_out import TRIVIAL, Baseline, Measure, find_baselines
from jobs.records.seed_groups import varied_settings
from jobs.report.columns import Cell, Column, key_of, number_text
from jobs.report.figures import RunFigures
from jobs.report.results import RESULTS, ResultColumn

_TITLES = {"model.name": "model", "training.loss": "loss function"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that all runs share."""

    title: str
    key: str
    text: str


def compare(runs: Sequence[RunFigures]) -> list[Column]:
    """The name, the state, the results, and the settings in which the runs differ."""
    baselines = [baseline.title for baseline in baselines_of(runs)]
    settings = varied_settings([run.settings for run in runs])
    return [
        Column("run", "run", [Cell(run.name, run.name) for run in runs], is_number=False, baselines=baselines),
        Column("state", "state", [Cell(run.state, run.state) for run in runs], is_number=False),
        *_result_columns(runs),
        *(setting_column(key, values) for key, values in settings.items()),
        *_device_columns(runs),
    ]


def shared_settings(runs: Sequence[RunFigures]) -> list[Setting]:
    """The settings that all runs share."""
    varied = varied_settings([run.settings for run in runs])
    return [Setting(title_of(key), key, text_of(value)) for key, value in runs[0].settings.items() if key not in varied]


def title_of(key: str) -> str:
    """The title of a setting."""
    section, _, name = key.partition(".")
    words = name.replace("_", " ")
    return _TITLES.get(key, f"sampling {words}" if section == "sampling" else words)


def text_of(value: Any) -> str:
    """The value of a setting as the page shows it."""
    if value is None or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def setting_column(key: str, values: Sequence[Any]) -> Column:
    """The column of a setting."""
    is_number = all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)
    cells = [Cell(text_of(value), "" if value is None else text_of(value)) for value in values]
    return Column(title_of(key), key, cells, is_number, key, is_setting=True)


def make_result_column(
    result: ResultColumn, cells: list[Cell], runs: Sequence[RunFigures], baselines: Sequence[Baseline]
) -> Column:
    """The column of a result of some runs, with these cells."""
    best = result.best.__name__ if result.best and result.are_comparable(runs) else ""
    return Column(
        result.title,
        key_of(result.title),
        cells,
        is_number=True,
        description=result.description,
        baselines=[_format(baseline.figures[result.held_out]) for baseline in baselines] if result.held_out else [],
        best=best,
        is_shown=result.is_shown,
    )


def find_best(result: ResultColumn, values: Sequence[float | None], runs: Sequence[RunFigures]) -> float | None:
    """The best of some values; None if the runs are not comparable, or all values are equal."""
    finite = {value for value in values if value is not None and math.isfinite(value)}
    return result.best(finite) if result.best and len(finite) > 1 and result.are_comparable(runs) else None


def baselines_of(runs: Sequence[RunFigures]) -> list[Baseline]:
    """The trivial predictors beside the runs."""
    return find_baselines({run.name: run.result.held_out for run in runs if run.result})


def _result_columns(runs: Sequence[RunFigures]) -> list[Column]:
    """The columns of the results that at least one run has; the best value is marked if the runs are comparable."""
    columns = []
    baselines = baselines_of(runs)
    for result in RESULTS:
        values = [result.read(run) for run in runs]
        if any(value is not None for value in values):
            best = find_best(result, values, runs)
            cells = [_result_cell(value, result.number_format, best) for value in values]
            if result.held_out:
                cells = [_beside_trivial(cell, run, *result.held_out) for cell, run in zip(cells, runs, strict=True)]
            columns.append(make_result_column(result, cells, runs, baselines))
    return columns


def _device_columns(runs: Sequence[RunFigures]) -> list[Column]:
    """The column of the devices; none if no run recorded any."""
    cells = [Cell(run.devices, run.devices) for run in runs]
    column = Column("devices", "devices", cells, False, "devices of the last attempt that finished", is_shown=False)
    return [column] if any(run.devices for run in runs) else []


def _beside_trivial(cell: Cell, run: RunFigures, split: str, measure: Measure) -> Cell:
    if run.result is None:
        return cell
    figures = {title: run.result.figure(split, measure, name) for name, title in TRIVIAL.items()}
    trivial = ", ".join(f"{title} {_format(figure)}" for title, figure in figures.items() if figure is not None)
    return replace(cell, trivial=trivial, unbeaten=run.result.unbeaten(split, measure))


def _format(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.3f}"


def _result_cell(value: float | None, number_format: str, best: float | None) -> Cell:
    if value is None:
        return Cell("", "")
    if not math.isfinite(value):
        return Cell(str(value), "")
    return Cell(number_text(value, number_format), repr(value), value == best)
