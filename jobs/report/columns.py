"""Columns of a table of the report."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MAX_DECIMAL = 1e6


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        sort: the sort key; empty keys are sorted last.
        unbeaten: the trivial predictors that the model does not beat, as a text; '' for none.
        trivial: the figures of the trivial predictors, as a text; '' for none.
    """

    text: str
    sort: str
    is_best: bool = False
    unbeaten: str = ""
    trivial: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, with a cell for each run.

    Attributes:
        key: its name in the filter.
        description: the tooltip of the header; '' for none.
        is_setting: whether the cells are settings of the runs.
        baselines: the figures of the trivial predictors, as texts in the order of `find_baselines`; empty if they have none.
        best: "min" or "max" if the values of the runs are comparable, and one can be better than another; otherwise ''.
        is_shown: whether the column is shown until the reader chooses others.
    """

    title: str
    key: str
    cells: list[Cell]
    is_number: bool
    description: str = ""
    is_setting: bool = False
    baselines: Sequence[str] = ()
    best: str = ""
    is_shown: bool = True


def number_text(value: float, number_format: str) -> str:
    """A finite value as text; one that decimals would make long, such as a loss that diverged, has an exponent."""
    return f"{value:.3e}" if number_format.endswith("f") and abs(value) >= _MAX_DECIMAL else format(value, number_format)


def key_of(title: str) -> str:
    """A title as a key of the filter: "valid onset F1" is valid_onset_f1."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower())
