"""Figures of a model on a held-out split, and those of the trivial predictors beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MODEL = "network"
TRIVIAL = {"markov": "per-key Markov chain", "marginal": "marginals", "repeat": "repeat of the last step"}

Evaluations = Mapping[str, Any]
"""A split in result.json: the evaluation of the model; "trivial" maps each trivial predictor to its evaluation."""


class Measure(StrEnum):
    """A measure by which predictors are compared."""

    NATS = "nats_per_step"
    ONSET_F1 = "onset_f1"


@dataclass(frozen=True, slots=True)
class Baseline:
    """A trivial predictor beside the models of some runs, all evaluated on the same pieces.

    Attributes:
        title: the title in a table; with the names of the runs, if other runs were evaluated on other pieces.
        figures: by split and measure; None where it has none.
    """

    title: str
    figures: Mapping[tuple[str, Measure], float | None]


def find_figure(split: Evaluations, measure: Measure, predictor: str = MODEL) -> float | None:
    """A figure of the model or of a trivial predictor; None if it has none.

    The onset F1 score is that of the static threshold or, without one, of the most probable states.
    """
    evaluation = split.get(MODEL, {}) if predictor == MODEL else split.get("trivial", {}).get(predictor, {})
    if measure is Measure.NATS:
        values = [evaluation.get(measure)]
    else:
        values = [evaluation.get(states, {}).get(measure) for states in ("static_threshold", "most_probable")]
    return next((value for value in values if value is not None), None)


def find_unbeaten(split: Evaluations) -> dict[Measure, list[str]]:
    """The trivial predictors that the model does not beat, by measure."""
    return {measure: _unbeaten_by(find_figure(split, measure), split, measure) for measure in Measure}


def _unbeaten_by(figure: float | None, split: Evaluations, measure: Measure) -> list[str]:
    """The trivial predictors that a figure does not beat; NaN beats none."""
    figures = {name: find_figure(split, measure, name) for name in TRIVIAL}
    return [
        name for name, trivial in figures.items() if None not in (figure, trivial) and not _is_better(measure, figure, trivial)
    ]


def with_unbeaten(split: Evaluations) -> dict[str, Any]:
    """A split as result.json contains it: with the trivial predictors that the model does not beat."""
    return {**split, "unbeaten": find_unbeaten(split)}


def describe_unbeaten(split: Evaluations, measure: Measure, mean: float | None = None) -> str:
    """The meaning of a mark, such as "not better than the per-key Markov chain (6.75)"; '' if the model beats all predictors.

    Args:
        mean: of the figures of several models that were evaluated on this split; None is the figure of its model.
    """
    names = _unbeaten_by(find_figure(split, measure) if mean is None else mean, split, measure)
    figures = [f"{TRIVIAL[name]} ({find_figure(split, measure, name):.4g})" for name in names]
    return f"not better than {' and '.join(figures)}" if figures else ""


def find_baselines(splits_of_runs: Mapping[str, Mapping[str, Evaluations]]) -> list[Baseline]:
    """The trivial predictors beside runs, once for all runs that were evaluated on the same pieces.

    Args:
        splits_of_runs: `Result.held_out` by name of the run.
    """
    runs_by_figures: dict[tuple[tuple[float | None, ...], ...], list[str]] = {}
    keys = [(split, measure) for split in ("valid", "test") for measure in Measure]
    for run, splits in splits_of_runs.items():
        figures = tuple(tuple(find_figure(splits.get(split, {}), measure, name) for split, measure in keys) for name in TRIVIAL)
        runs_by_figures.setdefault(figures, []).append(run)
    return [
        Baseline(title if len(runs_by_figures) == 1 else f"{title} ({_name_runs(runs)})", dict(zip(keys, figures, strict=True)))
        for figures_of_predictors, runs in runs_by_figures.items()
        for title, figures in zip(TRIVIAL.values(), figures_of_predictors, strict=True)
        if any(figure is not None for figure in figures)
    ]


def _is_better(measure: Measure, model: Any, figure: Any) -> bool:
    return bool(model < figure if measure is Measure.NATS else model > figure)


def _name_runs(runs: Sequence[str]) -> str:
    return runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"
