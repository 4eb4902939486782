"""The table of a sweep's runs: the settings in which they differ, and their results."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.records.held_out import TRIVIAL, Baseline, Measure, find_baselines
from jobs.report.figures import RunFigures
from pianogen.config import ModelConfig

_TITLES = {"model.name": "model", "training.loss": "loss function"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table.

    Attributes:
        sort: the sort key; empty keys are sorted last.
        unbeaten: the trivial predictors that the model does not beat, as a text; '' for none.
        trivial: the figures of the trivial predictors, as a text; '' for none.
    """

    text: str
    sort: str
    is_best: bool = False
    unbeaten: str = ""
    trivial: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table, with a cell for each run.

    Attributes:
        description: the tooltip of the header; '' for none.
        baselines: the figures of the trivial predictors, as texts in the order of `find_baselines`; empty if they have none.
    """

    title: str
    cells: list[Cell]
    is_number: bool
    description: str = ""
    baselines: Sequence[str] = ()


def _pieces(run: RunFigures) -> list[Any]:
    """The settings that must be equal for results on held-out pieces to be comparable."""
    return [run.settings["data.groups"]]


def _loss_settings(run: RunFigures) -> list[Any]:
    """The settings that must be equal for losses to be comparable."""
    model = ModelConfig(name=run.settings["model.name"])
    loss = run.settings["training.loss"] or model.default_loss
    keys = ("data.window_steps", "data.stride", "training.loss_weight", "training.predict")
    return [*_pieces(run), model.is_joint, loss, *(run.settings[key] for key in keys)]


@dataclass(frozen=True, slots=True)
class _Measure:
    """A column of results.

    Attributes:
        read: the value of a run; None if it has none.
        number_format: a format specification.
        best: min or max; None if no value is better than another.
        conditions: the settings that must be equal in all runs for the best to be marked.
        held_out: the split and the measure of a figure that the trivial predictors have too.
    """

    title: str
    description: str
    read: Callable[[RunFigures], float | None]
    number_format: str
    best: Callable[[Iterable[float]], float] | None = None
    conditions: Callable[[RunFigures], list[Any]] = _pieces
    held_out: tuple[str, Measure] | None = None


def _nats(title: str, split: str) -> _Measure:
    description = f"negative log-likelihood of the {split} split in nats per step, 88 keys together, without the tempo"
    return _held_out(title, description, split, Measure.NATS, min)


def _onset_f1(title: str, split: str) -> _Measure:
    description = (
        f"F1 of predicted onsets on the {split} split, with the static threshold that is best on the valid split; joint predicts "
        "its most probable states"
    )
    return _held_out(title, description, split, Measure.ONSET_F1, max)


def _held_out(title: str, description: str, split: str, measure: Measure, best: Callable[[Iterable[float]], float]) -> _Measure:
    def read(run: RunFigures) -> float | None:
        return run.result.figure(split, measure) if run.result else None

    return _Measure(title, description, read, ".3f", best, held_out=(split, measure))


_PASSAGE = "onsets of the longest passage in the train split, up to transposition and tempo change: median over {}"


def _median_passage(run: RunFigures, of_samples: bool) -> float | None:
    memorization = run.result.memorization if run.result else None
    onsets = (memorization.sample_onsets if of_samples else memorization.held_out) if memorization else []
    return statistics.median(onsets) if onsets else None


_MEASURES = (
    _Measure("parameters", "number of weights of the model", lambda run: run.result.parameters if run.result else None, ",d"),
    _Measure("epoch", "last epoch", lambda run: run.last_epoch.get("epoch"), "d"),
    _Measure("loss", "training loss of the last epoch", lambda run: run.last_epoch.get("loss"), ".5f", min, _loss_settings),
    _Measure(
        "validation loss",
        "loss on the valid split after the last epoch",
        lambda run: run.last_epoch.get("valid_loss"),
        ".5f",
        min,
        _loss_settings,
    ),
    _Measure(
        "constant predictor",
        "training loss of the best constant prediction",
        lambda run: run.result.constant_predictor_loss if run.result else None,
        ".5f",
    ),
    _nats("nats/step", "valid"),
    _onset_f1("onset F1", "valid"),
    _nats("test nats/step", "test"),
    _onset_f1("test onset F1", "test"),
    _Measure("collapsed", "number of samples that collapsed", lambda run: run.num_collapsed, "d"),
    _Measure(
        "unlike corpus",
        "number of metrics of the samples that are outside the spread of the corpus",
        lambda run: run.num_outside,
        "d",
        min,
    ),
    _Measure("longest passage", _PASSAGE.format("the samples"), lambda run: _median_passage(run, of_samples=True), "g"),
    _Measure("held-out passage", _PASSAGE.format("held-out excerpts"), lambda run: _median_passage(run, of_samples=False), "g"),
)


def compare(runs: Sequence[RunFigures]) -> tuple[list[Column], list[tuple[str, str]]]:
    """The columns of differing settings and of results, and the (title, value) of the settings that all runs share."""
    settings = {key: [run.settings[key] for run in runs] for key in runs[0].settings}
    varied = [key for key, values in settings.items() if any(value != values[0] for value in values)]
    common = [(_title(key), _text(values[0])) for key, values in settings.items() if key not in varied]
    return [*(_setting_column(key, settings[key]) for key in varied), *_result_columns(runs)], common


def _title(key: str) -> str:
    section, _, name = key.partition(".")
    words = name.replace("_", " ")
    return _TITLES.get(key, f"sampling {words}" if section == "sampling" else words)


def _text(value: Any) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def _setting_column(key: str, values: Sequence[Any]) -> Column:
    is_number = all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)
    return Column(_title(key), [Cell(_text(value), "" if value is None else _text(value)) for value in values], is_number, key)


def _result_columns(runs: Sequence[RunFigures]) -> list[Column]:
    """The columns of the measures that at least one run has; the best value is marked if the runs are comparable."""
    columns = []
    baselines = baselines_of(runs)
    for measure in _MEASURES:
        values = [measure.read(run) for run in runs]
        finite = [value for value in values if value is not None and math.isfinite(value)]
        is_comparable = len(set(finite)) > 1 and all(measure.conditions(run) == measure.conditions(runs[0]) for run in runs)
        if any(value is not None for value in values):
            best = measure.best(finite) if measure.best and is_comparable else None
            cells = [_result_cell(value, measure.number_format, best) for value in values]
            if measure.held_out:
                cells = [_beside_trivial(cell, run, *measure.held_out) for cell, run in zip(cells, runs, strict=True)]
            texts = [_format(baseline.figures[measure.held_out]) for baseline in baselines] if measure.held_out else []
            columns.append(Column(measure.title, cells, True, measure.description, texts))
    return columns


def baselines_of(runs: Sequence[RunFigures]) -> list[Baseline]:
    """The trivial predictors beside the runs."""
    return find_baselines({run.name: run.result.held_out for run in runs if run.result})


def _beside_trivial(cell: Cell, run: RunFigures, split: str, measure: Measure) -> Cell:
    if run.result is None:
        return cell
    figures = {title: run.result.figure(split, measure, name) for name, title in TRIVIAL.items()}
    trivial = ", ".join(f"{title} {_format(figure)}" for title, figure in figures.items() if figure is not None)
    return replace(cell, trivial=trivial, unbeaten=run.result.unbeaten(split, measure))


def _format(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.3f}"


def _result_cell(value: float | None, number_format: str, best: float | None) -> Cell:
    if value is None:
        return Cell("", "")
    if not math.isfinite(value):
        return Cell(str(value), "")
    return Cell(format(value, number_format), repr(value), value == best)
