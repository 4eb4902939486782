"""Statistics of a listening test: how often each source was judged to be real, and whether sources are rated differently.

The share is that of all answers to excerpts of a source, with the Wilson score interval at 95 % (Wilson 1927). The interval takes
answers as independent.

In a test of pairs, the share of a run is that of the pairs in which its sample was chosen as the real one; chance is 0.5.

Ratings are compared within listeners, who use the scale differently: for each listener, the mean rating of one source minus that
of the other. In a test of pairs, the corpus and a run are compared within each pair that a listener rated. The Wilcoxon
signed-rank test (Wilcoxon 1945) tests whether these differences are centered at 0. Its p value is exact for up to 13 differences
other than 0, and estimated from 9,999 random signs for more; it takes ties into account. The p values of all comparisons are
corrected by the method of Holm (1979).
"""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jobs.listening.answers import Answer
from jobs.listening.key import CORPUS, Key, Mode

CONFIDENCE = 0.95
MIN_ANSWERS = 20  # with fewer, the interval of a share is up to 0.4 wide or wider
MIN_DIFFERENCES = 6  # that are not 0: with 5, the smallest possible p value is 0.0625
_NUM_RESAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class Share:
    """How often the excerpts of a source were judged to be real, and their mean rating.

    Attributes:
        answers: number of answers; missing ones are not counted.
        real: number of these that took the excerpt for real.
        low, high: the interval of the share; None without answers.
        mean_rating: None without ratings.
        missing: number of excerpts and listeners without an answer or, in a test of single excerpts, without a rating.
    """

    source: str
    answers: int
    real: int
    low: float | None
    high: float | None
    mean_rating: float | None
    missing: int

    @property
    def has_enough(self) -> bool:
        """Whether there are enough answers for a useful interval."""
        return self.answers >= MIN_ANSWERS


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ratings of two sources by the same listeners.

    Attributes:
        differences: number of listeners who rated both, or of the pairs that they rated.
        differing: number of the differences that are not 0.
        median: of the differences of the (mean) ratings, `one` minus `other`; None if there are none.
        p: corrected p value of the signed-rank test; None if fewer than 6 differences are not 0.
    """

    one: str
    other: str
    differences: int
    differing: int
    median: float | None
    p: float | None


def shares(answers: Sequence[Answer], key: Key) -> list[Share]:
    """The share of each source that was judged to be real: of the corpus, and of the runs in order."""
    return [
        _share(source, [answer for answer in answers if key.origins[answer.item].source == source], key.mode)
        for source in key.sources
    ]


def _share(source: str, answers: Sequence[Answer], mode: Mode) -> Share:
    given = [answer.is_real for answer in answers if answer.is_real is not None]
    ratings = [answer.rating for answer in answers if answer.rating is not None]
    low, high = wilson_interval(sum(given), len(given)) if given else (None, None)
    is_rated = mode is Mode.SINGLE  # the ratings of pairs are optional
    missing = sum(answer.is_real is None or (is_rated and answer.rating is None) for answer in answers)
    return Share(source, len(given), sum(given), low, high, statistics.mean(ratings) if ratings else None, missing)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson score interval of a share at 95 %."""
    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def compare(answers: Sequence[Answer], key: Key) -> list[Comparison]:
    """The comparisons of every two sources; in a test of pairs, of the corpus and each run."""
    ratings = {source: _mean_ratings(answers, key, source) for source in key.sources}
    pairs = [pair for pair in itertools.combinations(key.sources, 2) if key.mode is Mode.SINGLE or pair[0] == CORPUS]
    differences = {pair: _differences(ratings[pair[0]], ratings[pair[1]]) for pair in pairs}
    p_values = {pair: p for pair, values in differences.items() if (p := signed_rank_p(values)) is not None}
    corrected = dict(zip(p_values, correct(list(p_values.values())), strict=True))
    return [
        Comparison(
            *pair,
            differences=len(values),
            differing=int(np.count_nonzero(values)),
            median=float(np.median(values)) if len(values) else None,
            p=corrected.get(pair),
        )
        for pair, values in differences.items()
    ]


_Rater = tuple[str, str]  # a listener, and the first item of the pair; '' in a test of single excerpts


def _mean_ratings(answers: Iterable[Answer], key: Key, source: str) -> dict[_Rater, float]:
    """The mean rating of a source by each listener who rated it, or the rating of its excerpt in each pair."""
    first_items = {item: pair[0] for pair in key.pairs for item in pair}
    ratings: dict[_Rater, list[int]] = {}
    for answer in answers:
        if answer.rating is not None and key.origins[answer.item].source == source:
            ratings.setdefault((answer.listener, first_items.get(answer.item, "")), []).append(answer.rating)
    return {rater: statistics.mean(values) for rater, values in ratings.items()}


def _differences(one: Mapping[_Rater, float], other: Mapping[_Rater, float]) -> np.ndarray:
    """(N,) differences of the ratings by those who rated both; rounded, so that equal differences have equal ranks."""
    return np.array([round(one[rater] - other[rater], 9) for rater in sorted(one.keys() & other.keys())])


def signed_rank_p(differences: np.ndarray) -> float | None:
    """The two-sided p value of the Wilcoxon signed-rank test, without the zeros; None for fewer than 6 other differences."""
    others = differences[differences != 0]
    if len(others) < MIN_DIFFERENCES:
        return None
    method = stats.PermutationMethod(n_resamples=_NUM_RESAMPLES, rng=np.random.default_rng(0))
    return float(stats.wilcoxon(others, method=method).pvalue)


def correct(p_values: Sequence[float]) -> list[float]:
    """Corrects p values for their number by the method of Holm."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
