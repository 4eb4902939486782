"""Scores of predicted states against true ones, pooled over keys and steps."""

import numpy as np

from pianogen.data.statistics import NUM_STATES
from pianogen.roll import NUM_KEYS, ONSET, SILENT

# The best threshold for calibrated probabilities is half the F1 it reaches (Lipton et al. 2014); weighted losses need more.
THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MOST_PROBABLE = 0.5  # as a threshold: a key sounds where one of its sounding states is more probable than silence

Scores = dict[str, float | None]


def score(table: np.ndarray) -> Scores:
    """The measures that follow from how often each state was predicted (rows) where each was true (columns).

    Args:
        table: (3, 3) counts of SILENT, ONSET, HOLD, over all keys and steps.

    Returns:
        state_accuracy: share of states that are right;
        frame_accuracy: TP / (TP + FP + FN) of sounding keys (Bay, Ehmann and Downie 2009);
        onset_precision, onset_recall, onset_f1;
        notes_per_step: predicted onsets.
        None is a share of nothing.
    """
    num_states = table.sum()
    hits, predicted, true = table[ONSET, ONSET], table[ONSET].sum(), table[:, ONSET].sum()
    return {
        "state_accuracy": _share(table.trace(), num_states),
        "frame_accuracy": _share(table[ONSET:, ONSET:].sum(), num_states - table[SILENT, SILENT]),
        "onset_precision": _share(hits, predicted),
        "onset_recall": _share(hits, true),
        "onset_f1": _share(2 * hits, predicted + true),
        "notes_per_step": _share(NUM_KEYS * predicted, num_states),
    }


def cross_tabulate(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(3, 3) counts of predicted and true states."""
    return np.bincount((NUM_STATES * predicted + true).ravel(), minlength=NUM_STATES**2).reshape(NUM_STATES, NUM_STATES)


def tempo_errors(predicted_us: np.ndarray, true_us: np.ndarray) -> np.ndarray:
    """Per cent of the true tempo in bpm."""
    return np.asarray(100 * np.abs(true_us / predicted_us - 1))


def _share(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else None
