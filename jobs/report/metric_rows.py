"""The rows of the table that sets the metrics of samples beside those of the corpus, with a plot of each distribution as text."""

import math
from dataclasses import dataclass

import numpy as np

from pianogen.command import counted
from pianogen.evaluation.corpus_comparison import LEVEL, Comparison, MetricComparison
from pianogen.evaluation.metrics import Metric
from pianogen.roll_text import DIGITS

_MAX_BARS = 24  # of a plot


@dataclass(frozen=True, slots=True)
class Plot:
    """The distributions of a metric; assets/metrics.js draws them.

    Attributes:
        samples, held_out: a base 64 digit for the height of each bar.
        low, high: the ends of the axis.
    """

    samples: str
    held_out: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric as text.

    Attributes:
        title: with the unit.
        definition: of the metric.
        means: over samples, train, valid and test pieces; empty where a mean has no meaning.
        overlap, distance: of samples and held-out pieces.
        real_overlap, real_distance: medians of sets of real music.
        min_overlap, max_distance: limits of the spread of the corpus.
        is_outside_by_overlap, is_outside_by_distance: whether the samples are outside the spread of the corpus.
        plot: the distributions of the samples and of the held-out pieces.
    """

    title: str
    definition: str
    means: list[str]
    overlap: str
    real_overlap: str
    min_overlap: str
    distance: str
    real_distance: str
    max_distance: str
    is_outside_by_overlap: bool
    is_outside_by_distance: bool
    plot: Plot


def metric_rows(comparison: Comparison) -> list[MetricRow]:
    """A row for each metric that samples and corpus determine."""
    return [_row(entry, comparison.num_samples) for entry in comparison.metrics]


def explain(comparison: Comparison) -> str:
    """A text about the compared sets and the meaning of the limits."""
    corpus = comparison.corpus
    sets = f"sets of {comparison.num_samples} excerpts" if comparison.num_samples > 1 else "single excerpts"
    return (
        f"Excerpts of {counted(corpus.num_steps, 'step')} of {counted(comparison.num_samples, 'sample')} and of "
        f"{len(corpus.excerpts)} held-out pieces of {corpus.store}. Real music: the median score of {sets} of train pieces "
        f"against the same held-out pieces. At least {100 * (1 - LEVEL):g} % of these sets are within the limits of all metrics."
    )


def _row(entry: MetricComparison, num_samples: int) -> MetricRow:
    metric, reference = entry.metric, entry.reference
    determined = f" ({len(entry.samples)} of {num_samples} samples)" if len(entry.samples) < num_samples else ""
    distributions = (entry.samples, entry.train, entry.valid, entry.test)
    return MetricRow(
        title=metric.title + (f", {metric.unit}" if metric.unit else "") + determined,
        definition=metric.definition,
        means=[_number(distribution.mean) if metric.is_ordered else "" for distribution in distributions],
        overlap=f"{entry.overlap:.2f}",
        real_overlap=f"{reference.overlap:.2f}",
        min_overlap=f"{reference.min_overlap:.2f}",
        distance=_number(entry.distance),
        real_distance=_number(reference.distance),
        max_distance=_number(reference.max_distance),
        is_outside_by_overlap=entry.is_outside_by_overlap,
        is_outside_by_distance=entry.is_outside_by_distance,
        plot=_plot(metric, entry.samples.histogram, entry.held_out.histogram),
    )


def _number(value: float) -> str:
    """Three significant digits, at most three of them after the point."""
    if math.isnan(value):
        return ""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(digits, 3)}f}"


def _plot(metric: Metric, samples: np.ndarray, held_out: np.ndarray) -> Plot:
    """The bins from the first to the last one that is not empty, merged to _MAX_BARS or less."""
    occupied = np.flatnonzero(samples + held_out)
    first, last = int(occupied[0]), int(occupied[-1])
    merged = -(-(last + 1 - first) // _MAX_BARS)
    starts = np.arange(first, last + 1, merged)
    heights = np.add.reduceat(np.stack([samples, held_out])[:, : last + 1], starts, axis=1)
    digits = np.ceil(heights / heights.max() * (len(DIGITS) - 1)).astype(int)
    low, high = metric.edges[first], metric.edges[min(first + merged * len(starts), metric.num_bins)]
    if metric.has_integers:
        low, high = low + 0.5, high - 0.5
    texts = ["".join(DIGITS[digit] for digit in row) for row in digits.tolist()]
    return Plot(samples=texts[0], held_out=texts[1], low=f"{low:g}", high=f"{high:g}")
