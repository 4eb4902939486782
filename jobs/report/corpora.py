"""The comparison of the samples of a report with the corpora of their runs.

The store of a run is read here and not when the run ends, because samples can be drawn later too. If the store is missing or has
changed, the report has no comparison.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.records.run_directory import Run
from pianogen.errors import PianogenError
from pianogen.evaluation.corpus_comparison import Comparison, Corpus, compare
from pianogen.evaluation.excerpts import excerpt_steps
from pianogen.roll import Roll

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoComparison:
    """The reason why samples are not compared with a corpus."""

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
            except (PianogenError, OSError) as error:
                _log.warning("the samples of %s are not compared with their corpus: %s", run.path, error)
                self._corpora[*key, sample_steps] = NoComparison(str(error))
        return self._corpora[*key, sample_steps]
