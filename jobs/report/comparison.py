"""The runs of a sweep side by side: the settings in which they differ, and what came of them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pianogen.config import ModelConfig
from pianogen.evaluation.sample_metrics import SampleMetrics

_TITLES = {"model.name": "model", "training.loss": "loss function"}


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in the table, and what it is sorted by; an empty one comes last."""

    text: str
    sort: str
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table, with a cell for each run."""

    title: str
    cells: list[Cell]
    is_number: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a run.

    Attributes:
        settings: by dotted key, those that change the result.
        result: {} while it is not done.
        samples: metrics of its decoded samples.
    """

    state: str
    reason: str
    settings: dict[str, Any]
    result: dict[str, Any]
    history: list[dict[str, float]]
    samples: list[SampleMetrics]

    def last(self, name: str) -> Any:
        """A measure of the last epoch, of a run that is not done too."""
        return self.result.get(name, self.history[-1].get(name) if self.history else None)

    def held_out(self, split: str, *names: str) -> Any:
        """A figure of the evaluation on a split, None if there is none."""
        found: Any = self.result.get("held_out", {}).get(split, {}).get("network", {})
        for name in names:
            found = found.get(name, {})
        return found if isinstance(found, int | float) else None

    @property
    def num_collapsed(self) -> int | None:
        return sum(bool(sample.collapse) for sample in self.samples) if self.samples else None


def _windows(run: Figures) -> list[Any]:
    """What must be equal in two runs for their results on held-out windows to be compared."""
    return [run.settings[f"data.{key}"] for key in ("window_steps", "stride", "groups")]


def _loss(run: Figures) -> list[Any]:
    """What must be equal in two runs for their losses to be compared."""
    loss = run.settings["training.loss"] or ModelConfig(name=run.settings["model.name"]).default_loss
    return [*_windows(run), loss, run.settings["training.loss_weight"], run.settings["training.predict"]]


@dataclass(frozen=True, slots=True)
class _Measure:
    title: str
    read: Callable[[Figures], Any]
    form: str
    best: Callable[[Iterable[float]], float] | None = None
    conditions: Callable[[Figures], list[Any]] = _windows


_MEASURES = (
    _Measure("parameters", lambda run: run.result.get("parameters"), ",d"),
    _Measure("epoch", lambda run: run.last("epoch"), "d"),
    _Measure("loss", lambda run: run.last("loss"), ".5f", min, _loss),
    _Measure("validation loss", lambda run: run.last("valid_loss"), ".5f", min, _loss),
    _Measure("best constant", lambda run: run.result.get("constant_predictor_loss"), ".5f"),
    _Measure("nats/step", lambda run: run.held_out("valid", "nats_per_step"), ".3f", min),
    _Measure("onset F1", lambda run: run.held_out("valid", "static_threshold", "onset_f1"), ".3f", max),
    _Measure("test nats/step", lambda run: run.held_out("test", "nats_per_step"), ".3f", min),
    _Measure("test onset F1", lambda run: run.held_out("test", "static_threshold", "onset_f1"), ".3f", max),
    _Measure("collapsed", lambda run: run.num_collapsed, "d"),
)


def compare(figures: Sequence[Figures]) -> tuple[list[Column], list[tuple[str, str]]]:
    """The columns of what differs and of the results; the settings that all have in common, as (title, value)."""
    settings = {key: [run.settings[key] for run in figures] for key in figures[0].settings}
    varied = [key for key, values in settings.items() if any(value != values[0] for value in values)]
    common = [(_title(key), _text(values[0])) for key, values in settings.items() if key not in varied]
    return [*(_setting_column(key, settings[key]) for key in varied), *_result_columns(figures)], common


def _title(key: str) -> str:
    section, _, name = key.partition(".")
    plain = name.replace("_", " ")
    return _TITLES.get(key, f"sampling {plain}" if section == "sampling" else plain)


def _text(value: Any) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def _setting_column(key: str, values: Sequence[Any]) -> Column:
    is_number = all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)
    return Column(_title(key), [Cell(_text(value), "" if value is None else _text(value)) for value in values], is_number)


def _result_columns(figures: Sequence[Figures]) -> list[Column]:
    """The columns of those measures that any run has; the best is marked where runs can be compared."""
    columns = []
    for measure in _MEASURES:
        values = [measure.read(run) for run in figures]
        known = [value for value in values if value is not None and math.isfinite(value)]
        is_fair = len(set(known)) > 1 and all(measure.conditions(run) == measure.conditions(figures[0]) for run in figures)
        if any(value is not None for value in values):
            best = measure.best(known) if measure.best and is_fair else None
            columns.append(Column(measure.title, [_measured_cell(value, measure.form, best) for value in values], True))
    return columns


def _measured_cell(value: Any, form: str, best: float | None) -> Cell:
    if value is None:
        return Cell("", "")
    if not math.isfinite(value):
        return Cell(str(value), "")
    return Cell(format(value, form), repr(value), value == best)
