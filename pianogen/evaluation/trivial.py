"""Trivial predictors: the baselines that a network has to beat."""

from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from pianogen.data.statistics import NUM_STATES, Statistics, count_transitions, each_piece
from pianogen.data.windows import Windows
from pianogen.evaluation.scores import MOST_PROBABLE, THRESHOLDS, Scores, score, tempo_errors
from pianogen.models.features import tempo_feature
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT


def trivial(windows: Windows, statistics: Statistics) -> dict[str, dict[str, Any]]:
    """What predictors without a network reach on the steps and by the measures of `evaluate`.

    `nothing` is silence, `repeat` does what the last step did; they state no probabilities. `marginal` gives each key the
    frequencies of its states, whatever came before, `markov` those that followed the state it is in, with one added to every
    count (Laplace). `nothing` and `marginal` expect the median tempo, the others the last one. Thresholds are chosen on the
    train split.

    Args:
        statistics: of the train split.
    """
    counts, median_error, last_error = _count_held_out(windows, statistics.median_tempo_us)
    before = np.broadcast_to(np.arange(NUM_STATES), (NUM_KEYS, NUM_STATES))
    marginal = np.broadcast_to(_smooth(statistics.state_counts)[:, np.newaxis], counts.shape)
    markov = _smooth(statistics.transition_counts)
    return {
        "nothing": {"tempo_error_percent": median_error, "most_probable": _score_choice(counts, np.zeros_like(before))},
        "repeat": {"tempo_error_percent": last_error, "most_probable": _score_choice(counts, before)},
        "marginal": {"tempo_error_percent": median_error, **_score_probabilities(counts, marginal, statistics)},
        "markov": {"tempo_error_percent": last_error, **_score_probabilities(counts, markov, statistics)},
    }


def constant_predictor_loss(statistics: Statistics) -> float:
    """Mean squared error of the best constant prediction of the features: the mean variance of a feature.

    Args:
        statistics: of the split whose windows are predicted.
    """
    return float(_feature_variance(statistics).mean())


def _feature_variance(statistics: Statistics) -> np.ndarray:
    """(177,) float64 variances of onsets, holds and tempo over the steps that windows predict."""
    tempos: Counter[int] = statistics.predicted_tempo_counts
    counts = np.array(list(tempos.values()))
    tempo = tempo_feature(tf.constant(list(tempos), tf.int32)).numpy().astype(np.float64)
    tempo_variance = np.average((tempo - np.average(tempo, weights=counts)) ** 2, weights=counts)
    share = statistics.predicted_state_counts[:, [ONSET, HOLD]].T.ravel() / counts.sum()
    return np.append(share * (1 - share), tempo_variance)


def _count_held_out(windows: Windows, median_tempo_us: int) -> tuple[np.ndarray, float, float]:
    """(88, 3, 3) transitions into the predicted steps, and the mean errors of the median and of the last tempo."""
    counts = np.zeros((NUM_KEYS, NUM_STATES, NUM_STATES), np.int64)
    median_error = last_error = 0.0
    for piece, predicted in each_piece(windows):
        states, true_us = piece.states, piece.tempo_us[predicted]
        counts += count_transitions(states[predicted - 1], states[predicted])
        median_error += tempo_errors(np.array(median_tempo_us), true_us).sum()
        last_error += tempo_errors(piece.tempo_us[predicted - 1], true_us).sum()
    return counts, median_error / len(windows), last_error / len(windows)


def _smooth(counts: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    return np.asarray((counts + 1) / (counts + 1).sum(axis=-1, keepdims=True))


def _score_choice(counts: np.ndarray, choice: np.ndarray) -> Scores:
    """The score of always predicting `choice` (88, 3), a state for each key and the state it is in."""
    return score(np.array([counts[choice == state].sum(axis=0) for state in range(NUM_STATES)]))


def _score_probabilities(counts: np.ndarray, probabilities: np.ndarray, statistics: Statistics) -> dict[str, Any]:
    """Likelihood and scores of (88, 3, 3) probabilities of a key's next state, given the one it is in."""

    def train_f1(threshold: float) -> float:
        return _score_choice(statistics.transition_counts, _choose(probabilities, threshold))["onset_f1"] or 0.0

    best = max(THRESHOLDS, key=train_f1)
    legal = probabilities.copy()
    legal[:, SILENT, HOLD] = 0  # a silent key is not held, as the networks' likelihood knows too
    legal /= legal.sum(axis=-1, keepdims=True)
    return {
        "nats_per_step": float(-(counts * np.log(legal, where=counts > 0, out=np.zeros_like(legal))).sum() / counts[0].sum()),
        "most_probable": _score_choice(counts, _choose(probabilities, MOST_PROBABLE)),
        "static_threshold": {"threshold": best, **_score_choice(counts, _choose(probabilities, best))},
    }


def _choose(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """(88, 3) states, as `threshold_states` decides them: a silent key is not held."""
    onset, hold = probabilities[..., ONSET], probabilities[..., HOLD].copy()
    hold[:, SILENT] = 0
    sounds = np.maximum(onset, hold) * (1 - threshold) > probabilities[..., SILENT] * threshold
    return np.where(sounds, np.where(onset >= hold, ONSET, HOLD), SILENT)
