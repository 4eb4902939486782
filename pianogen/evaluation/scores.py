"""Scores of predicted states against true states, pooled over keys and steps."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pianogen.data.statistics import NUM_STATES
from pianogen.roll import NUM_KEYS, ONSET, SILENT

# The best threshold of calibrated probabilities is half of its F1 score (Lipton et al. 2014); weighted losses need larger ones.
THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MOST_PROBABLE = 0.5  # as a threshold: a key sounds if onset or hold is more probable than silence


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of predicted states; a ratio whose denominator is 0 is None.

    Attributes:
        state_accuracy: share of correct states.
        frame_accuracy: TP / (TP + FP + FN) of sounding keys (Bay, Ehmann and Downie 2009).
        onset_precision: share of correct onsets among the predicted onsets.
        onset_recall: share of predicted onsets among the true onsets.
        onset_f1: harmonic mean of precision and recall.
        notes_per_step: mean number of predicted onsets.
    """

    state_accuracy: float | None
    frame_accuracy: float | None
    onset_precision: float | None
    onset_recall: float | None
    onset_f1: float | None
    notes_per_step: float | None


@dataclass(frozen=True, slots=True)
class ThresholdScores(Scores):
    """The scores of a static threshold."""

    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The evaluation of a network or of a trivial predictor on some pieces; what does not apply to a predictor is None.

    Attributes:
        steps: number of predicted steps.
        nats_per_step: mean negative log-likelihood of a step, its 88 keys together, without the tempo.
        tempo_error_percent: mean absolute error of the tempo in bpm, in percent of the true tempo.
        notes_per_step: mean number of true onsets.
        most_probable: scores of the most probable state of each key.
        static_threshold: scores of a static threshold.
    """

    steps: int | None = None
    nats_per_step: float | None = None
    tempo_error_percent: float
    notes_per_step: float | None = None
    most_probable: Scores
    static_threshold: ThresholdScores | None = None

    def as_json(self) -> dict[str, Any]:
        """The content of result.json: the attributes that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def score(table: np.ndarray) -> Scores:
    """The scores of a contingency table.

    Args:
        table: (3, 3) number of keys and steps by predicted state (rows) and true state (columns).
    """
    num_states = table.sum()
    num_correct, num_predicted, num_true = table[ONSET, ONSET], table[ONSET].sum(), table[:, ONSET].sum()
    return Scores(
        state_accuracy=_ratio(table.trace(), num_states),
        frame_accuracy=_ratio(table[ONSET:, ONSET:].sum(), num_states - table[SILENT, SILENT]),
        onset_precision=_ratio(num_correct, num_predicted),
        onset_recall=_ratio(num_correct, num_true),
        onset_f1=_ratio(2 * num_correct, num_predicted + num_true),
        notes_per_step=_ratio(NUM_KEYS * num_predicted, num_states),
    )


def cross_tabulate(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(3, 3) contingency table of predicted and true states."""
    return np.bincount((NUM_STATES * predicted + true).ravel(), minlength=NUM_STATES**2).reshape(NUM_STATES, NUM_STATES)


def tempo_errors(predicted_us: np.ndarray, true_us: np.ndarray) -> np.ndarray:
    """Absolute errors of the tempo in bpm, in percent of the true tempo."""
    return np.asarray(100 * np.abs(true_us / predicted_us - 1))


def _ratio(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else None
