"""The table of `pianogen sweep status --seeds`: the mean and spread of the runs that differ only in their seed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from jobs.records.run_directory import Run
from jobs.records.run_state import State
from jobs.records.seed_groups import SEED, Spread, find_spread, group_by_seed, varied_settings
from jobs.records.status_table import MEASURES, SEED_FIGURES, UNBEATEN, Row, add_baselines, new_table


def make_seed_table(rows: Sequence[Row]) -> Table:
    """A row for each group of runs: their numbers, the settings in which the groups differ, and their figures."""
    table = new_table([row.status.state for row in rows])
    by_name = {row.run: row for row in rows}
    groups = [[by_name[name] for name in names] for names in group_by_seed({row.run: row.settings for row in rows})]
    spreads = [{name: find_spread(row.figures[name] for row in group) for name in SEED_FIGURES} for group in groups]
    figures = [name for name in SEED_FIGURES if any(entry[name] for entry in spreads)]
    settings = varied_settings([{key: value for key, value in group[0].settings.items() if key != SEED} for group in groups])
    columns = ["runs", *(["settings"] if settings else []), "done", *figures]
    for column in columns:
        table.add_column(column.replace("_", " "))
    for index, (group, spread) in enumerate(zip(groups, spreads, strict=True)):
        numbers = " ".join(_number(row.run) for row in group)
        texts = [" ".join(f"{key}={_text(values[index])}" for key, values in settings.items())] if settings else []
        num_done = sum(row.status.state is State.DONE for row in group)
        means = [_mean(group, spread[name], name) for name in figures]
        table.add_row(numbers, *texts, f"{num_done} of {len(group)}", *means)
    add_baselines(table, rows, columns)
    return table


def _mean(group: Sequence[Row], spread: Spread | None, column: str) -> str:
    """The mean and spread of a figure, with a mark if the mean does not beat a trivial predictor."""
    result = group[0].result
    if spread is None or result is None:
        return ""
    is_unbeaten = column in MEASURES and result.unbeaten("valid", MEASURES[column], spread.mean)
    return f"{spread} {UNBEATEN}" if is_unbeaten else str(spread)


def _number(run: str) -> str:
    """The number of a run; the name of one that has none, such as a copy by hand."""
    number = Run(Path(run)).number
    return run if number is None else str(number)


def _text(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)
