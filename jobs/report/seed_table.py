"""The table of runs that differ only in their seed: the mean of each result over the seeds, and its spread."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.records.held_out import Baseline
from jobs.records.seed_groups import SEED, Spread, find_spread, group_by_seed, varied_settings
from jobs.report.columns import Cell, Column, number_text
from jobs.report.comparison import baselines_of, find_best, make_result_column, setting_column
from jobs.report.figures import RunFigures
from jobs.report.results import RESULTS, ResultColumn


@dataclass(frozen=True, slots=True)
class SeedTable:
    """The table.

    Attributes:
        columns: with a cell for each group.
        groups: for each group, the indices of its runs in the report.
    """

    columns: list[Column]
    groups: list[list[int]]


def average_over_seeds(runs: Sequence[RunFigures]) -> SeedTable | None:
    """The table; None unless some runs differ only in their seed."""
    numbers = {run.name: number for number, run in enumerate(runs)}
    groups = [[numbers[name] for name in names] for names in group_by_seed({run.name: run.settings for run in runs})]
    if len(groups) == len(runs):
        return None
    firsts = [runs[group[0]] for group in groups]
    settings = varied_settings([{key: value for key, value in run.settings.items() if key != SEED} for run in firsts])
    baselines = baselines_of(runs)
    names = [_name([runs[number] for number in group]) for group in groups]
    counts = [Cell(str(len(group)), str(len(group))) for group in groups]
    columns = [
        Column("runs", "runs", names, is_number=False, baselines=[baseline.title for baseline in baselines]),
        Column("seeds", "seeds", counts, is_number=True, description="number of runs that differ only in their seed"),
        *(setting_column(key, values) for key, values in settings.items()),
    ]
    members = [[runs[number] for number in group] for group in groups]
    results = [_column(result, members, runs, baselines) for result in RESULTS]
    return SeedTable([*columns, *(column for column in results if any(cell.text for cell in column.cells))], groups)


def _name(group: Sequence[RunFigures]) -> Cell:
    """The number of the first run: the rest of its name contains its seed and settings."""
    number = group[0].name.partition("-")[0]
    return Cell(number if len(group) == 1 else f"{number} and {len(group) - 1} more", number)


def _column(
    result: ResultColumn, groups: Sequence[Sequence[RunFigures]], runs: Sequence[RunFigures], baselines: Sequence[Baseline]
) -> Column:
    """The column of a result; the best mean is marked if the runs are comparable, and one that beats no trivial predictor."""
    values = [[result.read(run) for run in group] for group in groups]
    spreads = [find_spread(entry) for entry in values]
    best = find_best(result, [spread.mean if spread else None for spread in spreads], runs)
    cells = [
        Cell(_text(entry, spread, result.number_format), repr(spread.mean), spread.mean == best, _unbeaten(group, result, spread))
        if spread
        else Cell("", "")
        for group, entry, spread in zip(groups, values, spreads, strict=True)
    ]
    return make_result_column(result, cells, runs, baselines)


def _unbeaten(group: Sequence[RunFigures], result: ResultColumn, spread: Spread) -> str:
    """The trivial predictors that a mean does not beat, as a text."""
    first = group[0].result
    return first.unbeaten(*result.held_out, spread.mean) if first and result.held_out else ""


def _text(values: Sequence[float | None], spread: Spread, number_format: str) -> str:
    first = values[0]
    if first is not None and len(set(values)) == 1:
        return number_text(first, number_format) + (" ± 0" if len(values) > 1 else "")
    mean_format = number_format.replace("d", ".1f")  # the mean of integers is not an integer
    return f"{number_text(spread.mean, mean_format)} ± {number_text(spread.deviation, mean_format)}"
