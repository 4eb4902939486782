"""The corpora of the runs of a report: excerpts of held-out pieces, and the comparison of samples with them.

The store of a run is read here and not when the run ends, because samples can be drawn later too. A store that is gone or has
changed costs the comparison, not the report.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.records.run_directory import Run
from pianogen.errors import PianogenError
from pianogen.evaluation.corpus_comparison import Comparison, Corpus, compare
from pianogen.evaluation.excerpts import Excerpt, excerpt_steps
from pianogen.evaluation.sample_metrics import SampleMetrics, measure
from pianogen.roll import Roll
from pianogen.roll_text import encode_roll

_NUM_EXCERPTS = 8  # of a corpus, at most
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoComparison:
    """Why samples are not compared with a corpus."""

    reason: str


class Corpora:
    """The corpora that were read: sets of samples of any number of runs share them."""

    def __init__(self) -> None:
        # By path and fingerprint of the store, groups, and steps of the samples or of the excerpts.
        self._corpora: dict[tuple[str, str, tuple[str, ...], int], Corpus | NoComparison] = {}

    def compare(self, run: Run, samples: Sequence[Roll]) -> Comparison | NoComparison:
        """The comparison of samples of a run, at least one, with the corpus that the run was trained on."""
        corpus = self._find(run, min(map(len, samples)))
        return compare(samples, corpus) if isinstance(corpus, Corpus) else corpus

    def _find(self, run: Run, sample_steps: int) -> Corpus | NoComparison:
        provenance = run.read_provenance()
        store, groups = provenance.store, tuple(provenance.config["data"]["groups"])
        key = (store.path, store.fingerprint, groups)
        if (*key, sample_steps) not in self._corpora:
            try:
                with run.open_store() as store_file:
                    num_steps = excerpt_steps(store_file, groups, sample_steps)
                    if (*key, num_steps) not in self._corpora:
                        self._corpora[*key, num_steps] = Corpus.read(store_file, groups, num_steps)
                self._corpora[*key, sample_steps] = self._corpora[*key, num_steps]
            except PianogenError as error:
                _log.warning("the samples of %s are not compared with their corpus: %s", run.path, error)
                self._corpora[*key, sample_steps] = NoComparison(str(error))
        return self._corpora[*key, sample_steps]


@dataclass(frozen=True, slots=True)
class ShownExcerpt:
    """An excerpt as the page shows it.

    Attributes:
        name: unique in the page.
        title: piece, split and steps.
        roll: its notes, see `encode_roll`.
        metrics: of its roll.
    """

    name: str
    title: str
    roll: str
    metrics: SampleMetrics


@dataclass(frozen=True, slots=True)
class ShownCorpus:
    """A corpus as the page shows it: the file name of its store, and some excerpts of `num_steps` steps."""

    store: str
    num_steps: int
    excerpts: list[ShownExcerpt]


def show_corpora(corpora: Iterable[Corpus]) -> list[ShownCorpus]:
    """The distinct corpora, in order, with excerpts of their valid and test pieces."""
    distinct = list(dict.fromkeys(corpora))
    return [
        ShownCorpus(corpus.store, corpus.num_steps, [_show(excerpt, number) for excerpt in _choose(corpus.excerpts)])
        for number, corpus in enumerate(distinct, start=1)
    ]


def _choose(excerpts: Sequence[Excerpt]) -> Sequence[Excerpt]:
    return excerpts[:: -(-len(excerpts) // _NUM_EXCERPTS)]


def _show(excerpt: Excerpt, number: int) -> ShownExcerpt:
    last_step = excerpt.first_step + len(excerpt.roll) - 1
    title = f"{excerpt.piece}, {excerpt.split.name.lower()}, steps {excerpt.first_step} to {last_step}"
    return ShownExcerpt(f"corpus {number}: {title}", title, encode_roll(excerpt.roll), measure(excerpt.roll))
