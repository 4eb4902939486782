"""Runs that differ only in their seed, the settings in which others differ, and the mean and spread of their figures."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SEED = "training.seed"


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of a figure over seeds, and its sample standard deviation (NaN for a single seed)."""

    mean: float
    deviation: float

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if math.isnan(self.deviation) else f"{self.mean:.4g} ± {self.deviation:.2g}"


def group_by_seed(settings: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The names of runs in groups whose settings differ only in `training.seed`, in the order of the first run of each group.

    Args:
        settings: for each run, its settings by dotted key.
    """
    groups: dict[str, list[str]] = {}
    for run, values in settings.items():
        others = repr(sorted((key, value) for key, value in values.items() if key != SEED))
        groups.setdefault(others, []).append(run)
    return list(groups.values())


def varied_settings(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """For each key in which some settings differ, the value in each of them; None where an earlier version had no such key."""
    keys = dict.fromkeys(key for entry in settings for key in entry)
    columns = {key: [entry.get(key) for entry in settings] for key in keys}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values)}


def find_spread(figures: Iterable[float | None]) -> Spread | None:
    """The mean and spread of the figures of a group; None unless every run has the figure, and all are finite."""
    values = list(figures)
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or len(known) < len(values):
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else math.nan)
