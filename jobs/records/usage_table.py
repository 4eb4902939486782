"""The table of `pianogen sweep status --usage`: the resources that the runs have used and requested."""

from collections.abc import Callable, Sequence

from rich.table import Table

from jobs.records.run_state import State
from jobs.records.run_usage import RunUsage, advise
from jobs.records.status_table import Row, new_table

_COLUMNS: dict[str, Callable[[RunUsage], str]] = {
    "attempts": lambda usage: str(len(usage.attempts) or ""),
    "wall time": lambda usage: _duration(usage.wall_s),
    "longest attempt": lambda usage: _of(_duration(usage.longest_s), _duration(usage.limit_s)),
    "CPU time": lambda usage: _duration(usage.cpu_s),
    "CPUs": lambda usage: _of(_decimal(usage.cpus), str(usage.requested.cpus or "")),
    "memory GB": lambda usage: _of(_decimal(usage.memory_gb), str(usage.requested.memory_gb or "")),
    "GPU memory GB": lambda usage: _decimal(usage.gpu_memory_gb),
    "GPU %": lambda usage: "" if usage.gpu_percent is None else f"{usage.gpu_percent:.0f}",
}


def make_usage_table(rows: Sequence[Row]) -> Table:
    """A row for each run; below the rows, the settings with which finished runs requested too much."""
    table = new_table([row.status.state for row in rows])
    cells = {title: [text_of(row.usage) for row in rows] for title, text_of in _COLUMNS.items()}
    shown = {title: texts for title, texts in cells.items() if any(texts)}
    for column in ("run", "state", *shown):
        table.add_column(column)
    for row, *texts in zip(rows, *shown.values(), strict=True):
        table.add_row(row.run, row.status.state, *texts)
    table.caption = "\n".join(advise([row.usage for row in rows if row.status.state is State.DONE]))
    return table


def _of(used: str, requested: str) -> str:
    """Such as "1.1 of 16"."""
    return f"{used} of {requested}" if used and requested else used


def _decimal(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.1f}"


def _duration(seconds: float | None) -> str:
    """Such as 1:02:03, as Slurm prints times."""
    if seconds is None:
        return ""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
