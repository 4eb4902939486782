"""The comparison of a set of samples with a corpus: are the metrics of the samples as close to held-out pieces as real music is?

Sets of train excerpts, each as large as the set of samples, are drawn with replacement (a bootstrap). The overlap areas and
distances between these sets and the held-out pieces are the reference: the scores of real music. A set of samples is outside the
spread of the corpus in a metric if its overlap area or its distance is beyond a quantile of the reference. The quantiles follow
from a Bonferroni correction: a set of real music is inside in all metrics with a probability of at least 1 - LEVEL.
"""

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pianogen.command import counted
from pianogen.errors import PianogenError
from pianogen.evaluation.excerpts import Excerpt, draw_excerpts, draw_rows
from pianogen.evaluation.metrics import METRICS, Metric, RollContent, overlap
from pianogen.roll import Roll
from pianogen.store import Split, Store

LEVEL = 0.01
MIN_PIECES = 8  # of the train split, and of the held-out splits, for a comparison
_NUM_SETS = 20_000  # of the bootstrap; six of them are beyond a limit
_TOLERANCE = 1e-9  # of rounding
_SEED = 0


class ComparisonError(PianogenError):
    """Samples cannot be compared with a corpus."""


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """The distributions of one metric in the rolls that determine it.

    Attributes:
        histograms: (N, num_bins) of each roll.
        means: (N,) mean values of each roll.
    """

    histograms: np.ndarray
    means: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    @property
    def histogram(self) -> np.ndarray:
        """(num_bins,) mean over the rolls, which have equal weights."""
        return np.asarray(self.histograms.mean(axis=0))

    @property
    def mean(self) -> float:
        """Mean over the rolls; NaN without rolls."""
        return float(self.means.mean()) if len(self) else float("nan")


Profile = dict[str, Distribution]  # by name of the metric


def profile(rolls: Iterable[Roll]) -> Profile:
    """The distributions of all metrics in some rolls."""
    histograms: dict[str, list[np.ndarray]] = {metric.name: [] for metric in METRICS}
    means: dict[str, list[float]] = {metric.name: [] for metric in METRICS}
    for content in map(RollContent, rolls):
        for metric in METRICS:
            values = metric.values(content)
            if len(values):
                histograms[metric.name].append(metric.histogram(values))
                means[metric.name].append(float(np.mean(values)))
    return {
        metric.name: Distribution(np.array(histograms[metric.name]).reshape(-1, metric.num_bins), np.array(means[metric.name]))
        for metric in METRICS
    }


@dataclass(frozen=True, slots=True)
class Reference:
    """The scores of sets of real music in a metric.

    Attributes:
        overlap: median of the overlap areas with the held-out pieces.
        min_overlap: limit of the spread of the corpus.
        distance: median of the distances from the held-out pieces.
        max_distance: limit of the spread of the corpus.
    """

    overlap: float
    min_overlap: float
    distance: float
    max_distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Excerpts of a corpus, and their metrics.

    Attributes:
        store: file name of the store.
        num_steps: length of all excerpts.
        excerpts: those of the held-out pieces, which are the splits valid and test.
        train, valid, test: the metrics of each split.
    """

    store: str
    num_steps: int
    excerpts: list[Excerpt]
    train: Profile
    valid: Profile
    test: Profile

    @classmethod
    def read(cls, store: Store, groups: Collection[str], num_steps: int) -> "Corpus":
        """Draws excerpts of `num_steps` steps from the pieces of some groups (all if empty).

        Raises:
            ComparisonError: there are too few pieces.
            StoreError: a checksum does not match.
        """
        train, valid, test = (
            draw_excerpts(store, split, groups, num_steps, _SEED) for split in (Split.TRAIN, Split.VALID, Split.TEST)
        )
        held_out = [*valid, *test]
        for kind, excerpts in (("train", train), ("held-out", held_out)):
            if len(excerpts) < MIN_PIECES:
                raise ComparisonError(
                    f"{store.path} has {counted(len(excerpts), f'{kind} piece')} of at least {counted(num_steps, 'step')}, "
                    f"expected {MIN_PIECES} or more; so few pieces are not a reference"
                )
        profiles = [profile(excerpt.roll for excerpt in excerpts) for excerpts in (train, valid, test)]
        return cls(store.path.name, num_steps, held_out, *profiles)


@dataclass(frozen=True, slots=True, eq=False)
class MetricComparison:
    """A metric of a set of samples beside the same metric of a corpus.

    Attributes:
        metric: the metric.
        samples: its distribution over the samples that determine it.
        train, valid, test: its distributions over the excerpts.
        reference: the scores of sets of as many excerpts.
    """

    metric: Metric
    samples: Distribution
    train: Distribution
    valid: Distribution
    test: Distribution
    reference: Reference

    @property
    def held_out(self) -> Distribution:
        """The distribution over the held-out pieces."""
        return _join(self.valid, self.test)

    @property
    def overlap(self) -> float:
        """The overlap area of samples and held-out pieces."""
        return float(overlap(self.samples.histogram, self.held_out.histogram))

    @property
    def distance(self) -> float:
        """The distance between samples and held-out pieces."""
        return float(self.metric.distance(self.samples.histogram, self.held_out.histogram))

    @property
    def is_outside_by_overlap(self) -> bool:
        """Whether the overlap area is smaller than that of real music."""
        return self.overlap < self.reference.min_overlap - _TOLERANCE

    @property
    def is_outside_by_distance(self) -> bool:
        """Whether the distance is larger than that of real music."""
        return self.distance > self.reference.max_distance + _TOLERANCE

    @property
    def is_outside(self) -> bool:
        """Whether the samples are outside the spread of the corpus."""
        return self.is_outside_by_overlap or self.is_outside_by_distance


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A set of samples beside a corpus.

    Attributes:
        corpus: the corpus.
        num_samples: number of samples.
        metrics: the metrics that both samples and corpus determine.
        undetermined: titles of the other metrics.
    """

    corpus: Corpus
    num_samples: int
    metrics: list[MetricComparison]
    undetermined: list[str]

    @property
    def outside(self) -> list[str]:
        """Titles of the metrics outside the spread of the corpus."""
        return [entry.metric.title for entry in self.metrics if entry.is_outside]

    @property
    def verdict(self) -> str:
        """One sentence: the metrics outside the spread of the corpus."""
        count = len(self.metrics)
        place = f"Outside the spread of the corpus in {len(self.outside)} of {count} metrics: {', '.join(self.outside)}"
        if not self.outside:
            place = f"Inside the spread of the corpus in all {count} metrics"
        return f"{place}; not determined: {', '.join(self.undetermined)}." if self.undetermined else f"{place}."


def compare(samples: Sequence[Roll], corpus: Corpus) -> Comparison:
    """Compares a set of samples, at least one, with a corpus, by one excerpt of each sample.

    Raises:
        ComparisonError: a sample is shorter than the excerpts of the corpus.
    """
    shortest = min(map(len, samples))
    if shortest < corpus.num_steps:
        raise ComparisonError(f"a sample has {shortest} steps, expected {corpus.num_steps} or more, the length of the excerpts")
    random = np.random.default_rng(_SEED)
    profile_of_samples = profile(draw_rows(roll, corpus.num_steps, random)[1] for roll in samples)
    metrics, undetermined = [], []
    for metric in METRICS:
        distribution = profile_of_samples[metric.name]
        reference = _reference(corpus, metric, len(distribution)) if len(distribution) else None
        if reference is None:
            undetermined.append(metric.title)
        else:
            train, valid, test = (entry[metric.name] for entry in (corpus.train, corpus.valid, corpus.test))
            metrics.append(MetricComparison(metric, distribution, train, valid, test, reference))
    return Comparison(corpus, len(samples), metrics, undetermined)


@functools.lru_cache(maxsize=1_000)
def _reference(corpus: Corpus, metric: Metric, num_samples: int) -> Reference | None:
    """The scores of sets of train excerpts; None if the corpus does not determine the metric."""
    train, held_out = corpus.train[metric.name], _join(corpus.valid[metric.name], corpus.test[metric.name])
    if min(len(train), len(held_out)) < MIN_PIECES:
        return None
    sets = _draw_sets(len(train), num_samples) @ train.histograms
    overlaps, distances = overlap(sets, held_out.histogram), metric.distance(sets, held_out.histogram)
    level = LEVEL / (2 * len(METRICS))
    return Reference(
        overlap=float(np.median(overlaps)),
        min_overlap=float(np.quantile(overlaps, level)),
        distance=float(np.median(distances)),
        max_distance=float(np.quantile(distances, 1 - level)),
    )


@functools.lru_cache(maxsize=2)
def _draw_sets(num_excerpts: int, num_samples: int) -> np.ndarray:
    """(_NUM_SETS, num_excerpts) weights of the excerpts in random sets of as many excerpts as there are samples."""
    drawn = np.random.default_rng(_SEED).integers(0, num_excerpts, (_NUM_SETS, num_samples))
    cells = drawn + num_excerpts * np.arange(_NUM_SETS)[:, np.newaxis]
    return np.bincount(cells.ravel(), minlength=_NUM_SETS * num_excerpts).reshape(_NUM_SETS, -1) / num_samples


def _join(first: Distribution, second: Distribution) -> Distribution:
    return Distribution(np.concatenate([first.histograms, second.histograms]), np.concatenate([first.means, second.means]))
