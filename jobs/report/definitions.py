"""The definitions of the terms of the report."""

from collections.abc import Sequence

from jobs.report.columns import Column
from pianogen.evaluation import collapse
from pianogen.evaluation.metrics import METRICS


def define(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Terms and their definitions: the results of the runs, the kinds of collapse, the metrics of the samples."""
    results = [(column.title, column.description) for column in columns if column.description and not column.is_setting]
    kinds = [(f"collapsed: {kind}", definition) for kind, definition in collapse.DEFINITIONS.items()]
    return [*results, *kinds, *((f"metric: {metric.title}", metric.definition) for metric in METRICS)]
