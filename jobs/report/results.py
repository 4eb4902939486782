"""The results of a run, one entry of `RESULTS` for each column of the tables of the report."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.records.held_out import Measure
from jobs.records.provenance import Attempt
from jobs.report.figures import RunFigures
from pianogen.config import ModelConfig

Best = Callable[[Iterable[float]], float]


def _pieces(run: RunFigures) -> list[Any]:
    """The settings that must be equal for results on held-out pieces to be comparable."""
    return [run.settings["data.groups"]]


def _loss_settings(run: RunFigures) -> list[Any]:
    """The settings that must be equal for losses on the valid split to be comparable."""
    model = ModelConfig(name=run.settings["model.name"])
    loss = run.settings["training.loss"] or model.default_loss
    keys = ("model.silence", "data.window_steps", "data.stride", "training.loss_weight", "training.predict")
    return [*_pieces(run), model.is_joint, model.has_state_head, loss, *(run.settings.get(key) for key in keys)]


def _training_loss_settings(run: RunFigures) -> list[Any]:
    """The settings that must be equal for training losses to be comparable."""
    return [*_loss_settings(run), run.settings.get("data.transpose")]


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of results.

    Attributes:
        title: of the column.
        description: its definition.
        read: the value of a run; None if it has none.
        number_format: a format specification.
        best: min or max; None if no value is better than another.
        conditions: the settings that must be equal in all runs for the best to be marked.
        held_out: the split and the measure of a figure that the trivial predictors have too.
        is_shown: whether the column is shown until the reader chooses others.
    """

    title: str
    description: str
    read: Callable[[RunFigures], float | None]
    number_format: str
    best: Best | None = None
    conditions: Callable[[RunFigures], list[Any]] = _pieces
    held_out: tuple[str, Measure] | None = None
    is_shown: bool = True

    def are_comparable(self, runs: Sequence[RunFigures]) -> bool:
        """Whether a value of one run can be better than that of another."""
        return self.best is not None and all(self.conditions(run) == self.conditions(runs[0]) for run in runs)


def _nats(split: str) -> ResultColumn:
    description = (
        f"negative log-likelihood of the {split} split in nats per step, 88 keys together, without the tempo; lower is better. "
        "1 nat is 1.44 bits"
    )
    return _held_out(f"{split} nats per step", description, split, Measure.NATS, min)


def _onset_f1(split: str) -> ResultColumn:
    description = (
        f"F1 of predicted onsets on the {split} split: 2 · precision · recall / (precision + recall), from 0 to 1, higher is "
        "better. A model predicts onsets with the static threshold that is best on the valid split, a trivial predictor with the "
        "one that is best on the train split; joint predicts its most probable states"
    )
    return _held_out(f"{split} onset F1", description, split, Measure.ONSET_F1, max)


def _held_out(title: str, description: str, split: str, measure: Measure, best: Best) -> ResultColumn:
    def read(run: RunFigures) -> float | None:
        return run.result.figure(split, measure) if run.result else None

    return ResultColumn(title, description, read, ".3f", best, held_out=(split, measure))


_PASSAGE = "onsets of the longest passage in the train split, up to transposition and tempo change: median over {}"


def _median_passage(run: RunFigures, of_samples: bool) -> float | None:
    memorization = run.result.memorization if run.result else None
    onsets = (memorization.sample_onsets if of_samples else memorization.held_out) if memorization else []
    return statistics.median(onsets) if onsets else None


def _duration_s(attempt: Attempt) -> float | None:
    if attempt.ended is None:
        return None
    return (datetime.fromisoformat(attempt.ended) - datetime.fromisoformat(attempt.started)).total_seconds()


def _total_min(run: RunFigures, read_s: Callable[[Attempt], float | None]) -> float | None:
    """Minutes of all attempts that recorded a time in seconds."""
    seconds = [value for attempt in run.attempts if (value := read_s(attempt)) is not None]
    return sum(seconds) / 60 if seconds else None


def _iterations_per_s(run: RunFigures) -> float | None:
    rates = [attempt.iterations_per_s for attempt in run.attempts if attempt.iterations_per_s is not None]
    return rates[-1] if rates else None


RESULTS = (
    ResultColumn(
        "parameters",
        "number of weights of the model",
        lambda run: run.result.parameters if run.result else None,
        ",d",
    ),
    ResultColumn("epoch", "last epoch", lambda run: run.last_epoch.get("epoch"), "d", is_shown=False),
    ResultColumn(
        "loss", "training loss of the last epoch", lambda run: run.last_epoch.get("loss"), ".5f", min, _training_loss_settings
    ),
    ResultColumn(
        "valid loss",
        "loss on the valid split after the last epoch",
        lambda run: run.last_epoch.get("valid_loss"),
        ".5f",
        min,
        _loss_settings,
    ),
    ResultColumn(
        "constant predictor",
        "training loss of the best constant prediction, for the loss mse",
        lambda run: run.result.constant_predictor_loss if run.result else None,
        ".5f",
        is_shown=False,
    ),
    *(column for split in ("valid", "test") for column in (_nats(split), _onset_f1(split))),
    ResultColumn(
        "collapsed",
        "number of samples that collapsed to silence, a stuck note, onsets at every step or a repetition",
        lambda run: run.num_collapsed,
        "d",
    ),
    ResultColumn(
        "unlike corpus",
        "number of metrics of the samples that are outside the spread of the corpus",
        lambda run: run.num_outside,
        "d",
        min,
    ),
    ResultColumn("longest passage", _PASSAGE.format("the samples"), lambda run: _median_passage(run, of_samples=True), "g"),
    ResultColumn(
        "held-out passage",
        _PASSAGE.format("excerpts of the test split, or of the valid split if there is no test split"),
        lambda run: _median_passage(run, of_samples=False),
        "g",
    ),
    ResultColumn(
        "minutes", "time of all attempts that recorded their end, in minutes", lambda run: _total_min(run, _duration_s), ".1f"
    ),
    ResultColumn(
        "CPU minutes",
        "CPU time of all attempts that recorded it, in minutes: all threads of the worker with the most CPU time",
        lambda run: _total_min(run, lambda attempt: attempt.cpu_s),
        ".1f",
        is_shown=False,
    ),
    ResultColumn(
        "iterations/s",
        "training speed of the last attempt that recorded it, in iterations per second",
        _iterations_per_s,
        ".3g",
        is_shown=False,
    ),
    ResultColumn("memory GB", "largest peak of the memory of a worker", lambda run: run.usage.memory_gb, ".1f", is_shown=False),
    ResultColumn(
        "GPU memory GB", "largest peak of the memory of a GPU", lambda run: run.usage.gpu_memory_gb, ".1f", is_shown=False
    ),
    ResultColumn("GPU %", "mean utilization of the GPUs, in percent", lambda run: run.usage.gpu_percent, ".0f", is_shown=False),
)
