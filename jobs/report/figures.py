"""The content of the report for a run: settings, figures and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.records.provenance import Attempt, Provenance
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.run_state import State
from jobs.records.run_usage import RunUsage
from jobs.records.samples import SampleParameters
from jobs.records.status import Status
from jobs.report.corpora import NoComparison
from pianogen.config import flatten
from pianogen.evaluation.corpus_comparison import Comparison
from pianogen.evaluation.memorization import Memorization, Passage
from pianogen.evaluation.sample_metrics import SampleMetrics
from pianogen.training.history import read_history


@dataclass(frozen=True, slots=True)
class Sample:
    """A decoded sample of a run.

    Attributes:
        title: its name in its store.
        file: path of its MIDI file below the folder of the report.
        parameters: those that it was drawn with.
        roll: its notes, see `encode_roll`.
        metrics: of its roll.
        passage: the longest passage that also occurs in the train split; None if there is none, or without a search.
    """

    title: str
    file: str
    parameters: SampleParameters
    roll: str
    metrics: SampleMetrics
    passage: Passage | None


@dataclass(frozen=True, slots=True)
class SampleSet:
    """The decoded samples of one store.

    Attributes:
        is_own: whether the run drew the samples at its end.
        parameters: of the first sample, which all share except for the index.
        samples: the samples.
        comparison: of the samples with the corpus; None without samples.
        memorization: passages of all samples of the store that also occur in the train split; None without a search.
    """

    is_own: bool
    parameters: SampleParameters
    samples: list[Sample]
    comparison: Comparison | NoComparison | None
    memorization: Memorization | None


@dataclass(frozen=True, slots=True)
class RunSamples:
    """A run and its samples."""

    run: Run
    sets: list[SampleSet]


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The settings and the figures of a run.

    Attributes:
        name: of the run.
        state: of the run.
        reason: as in its `Status`.
        settings: those that change the result, by dotted key.
        provenance: the store, the code, and the attempts.
        usage: the resources that the attempts have used.
        result: None while the run is not done.
        history: for each epoch, the metrics, such as "loss", of a row of metrics.csv.
        sets: the decoded samples.
    """

    name: str
    state: State
    reason: str
    settings: dict[str, Any]
    provenance: Provenance
    usage: RunUsage
    result: Result | None
    history: Sequence[Mapping[str, float]]
    sets: list[SampleSet]

    @property
    def last_epoch(self) -> Mapping[str, float]:
        """The metrics of the last epoch; empty before the end of the first one."""
        if self.result is not None:
            return self.result.metrics
        return self.history[-1] if self.history else {}

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts, oldest first."""
        return self.provenance.attempts

    @property
    def devices(self) -> str:
        """The devices of the last attempt that recorded them, such as "2 GPU"; '' if none did."""
        names = next((attempt.devices for attempt in reversed(self.attempts) if attempt.devices), [])
        # TensorFlow always has a CPU device, which trains only where there are no others.
        kind = "GPU" if any("GPU" in name for name in names) else "CPU"
        return f"{sum(kind in name for name in names)} {kind}" if names else ""

    @property
    def samples(self) -> list[SampleMetrics]:
        """The metrics of all samples."""
        return [sample.metrics for sample_set in self.sets for sample in sample_set.samples]

    @property
    def num_collapsed(self) -> int | None:
        """The number of samples that collapsed; None without samples."""
        return sum(bool(sample.collapse) for sample in self.samples) if self.samples else None

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons of the sets of samples with the corpus."""
        return [entry.comparison for entry in self.sets if isinstance(entry.comparison, Comparison)]

    @property
    def num_outside(self) -> int | None:
        """The number of metrics of the run's own samples outside the spread of the corpus; None without a comparison."""
        comparisons = [entry.comparison for entry in self.sets if entry.is_own]
        return next((len(comparison.outside) for comparison in comparisons if isinstance(comparison, Comparison)), None)


def read_figures(samples: RunSamples, status: Status) -> RunFigures:
    """Reads the figures of a run from its directory."""
    run = samples.run
    provenance = run.read_provenance()
    return RunFigures(
        name=run.name,
        state=status.state,
        reason=status.reason,
        settings=flatten(provenance.config),
        provenance=provenance,
        usage=RunUsage.of(run, provenance.attempts),
        result=run.read_result(),
        history=read_history(run.path / "metrics.csv"),
        sets=samples.sets,
    )
