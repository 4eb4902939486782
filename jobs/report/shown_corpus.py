"""The excerpts of held-out pieces that a report shows and plays beside the samples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pianogen.evaluation.corpus_comparison import Corpus
from pianogen.evaluation.excerpts import Excerpt
from pianogen.evaluation.sample_metrics import SampleMetrics, measure
from pianogen.roll_text import encode_roll

_NUM_EXCERPTS = 8  # of a corpus, at most


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
