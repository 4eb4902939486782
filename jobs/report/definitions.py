"""The definitions of the terms of the report."""

from collections.abc import Sequence

from jobs.records.held_out import TRIVIAL
from jobs.report.columns import Column
from pianogen.evaluation import collapse
from pianogen.evaluation.metrics import METRICS

_TRIVIAL = {
    "markov": "a trivial predictor: the frequencies of the states of a key after each of its states, in the train split",
    "marginal": "a trivial predictor: the frequencies of the states of a key, in the train split",
    "repeat": "a trivial predictor: the states of the step before",
}


def define(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Terms and their definitions: results of the runs, trivial predictors, kinds of collapse, metrics of the samples."""
    results = [(column.title, column.description) for column in columns if column.description and not column.is_setting]
    kinds = [(f"collapsed: {kind}", definition) for kind, definition in collapse_definitions().items()]
    metrics = [(f"metric: {metric.title}", metric.definition) for metric in METRICS]
    trivial = [(TRIVIAL[name], definition) for name, definition in _TRIVIAL.items()]
    return [*results, *trivial, *kinds, *metrics]


def collapse_definitions() -> dict[str, str]:
    """The definitions of the kinds of collapse."""
    return {kind: f"in the second half of the sample, {definition}" for kind, definition in collapse.DEFINITIONS.items()}
