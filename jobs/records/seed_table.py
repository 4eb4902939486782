"""The table of `pianogen sweep status --seeds`: the mean and spread of the runs that differ only in their seed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from jobs.records.run_directory import Run
from jobs.records.run_state import State
from jobs.records.seed_groups import SEED, find_spread, group_by_seed
from jobs.records.status_table import SEED_FIGURES, Row, new_table


def make_seed_table(rows: Sequence[Row]) -> Table:
    """A row for each group of runs: their numbers, the settings in which the groups differ, and their figures."""
    table = new_table([row.status.state for row in rows])
    by_name = {row.run: row for row in rows}
    groups = [[by_name[name] for name in names] for names in group_by_seed({row.run: row.settings for row in rows})]
    spreads = [{name: find_spread(row.figures[name] for row in group) for name in SEED_FIGURES} for group in groups]
    columns = [name for name in SEED_FIGURES if any(entry[name] for entry in spreads)]
    varied = _varied([group[0].settings for group in groups])
    for column in ("runs", *(["settings"] if varied else []), "done", *columns):
        table.add_column(column.replace("_", " "))
    for group, figures in zip(groups, spreads, strict=True):
        numbers = " ".join(_number(row.run) for row in group)
        settings = " ".join(f"{key}={_text(group[0].settings[key])}" for key in varied)
        num_done = sum(row.status.state is State.DONE for row in group)
        texts = [str(figures[name] or "") for name in columns]
        table.add_row(numbers, *([settings] if varied else []), f"{num_done} of {len(group)}", *texts)
    return table


def _number(run: str) -> str:
    """The number of a run; the name of one that has none, such as a copy by hand."""
    number = Run(Path(run)).number
    return run if number is None else str(number)


def _varied(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The keys in which groups differ, apart from the seed."""
    return [key for key in settings[0] if key != SEED and any(entry[key] != settings[0][key] for entry in settings)]


def _text(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)
