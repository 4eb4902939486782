"""Trivial predictors: the baselines that a network has to beat."""

from collections import Counter
from dataclasses import asdict

import numpy as np
import tensorflow as tf

from pianogen.config import Config
from pianogen.data.statistics import NUM_STATES, Statistics, count_transitions, iterate_pieces
from pianogen.data.windows import Windows
from pianogen.evaluation.scores import MOST_PROBABLE, THRESHOLDS, Evaluation, Scores, ThresholdScores, score, tempo_errors
from pianogen.models.features import tempo_feature
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT


def evaluate_trivial(windows: Windows, statistics: Statistics) -> dict[str, Evaluation]:
    """Evaluates the trivial predictors on every step of the pieces of windows, the first one after silence at the median tempo.

    - `nothing` predicts silence and the median tempo.
    - `repeat` predicts the states and the tempo of the last step.
    - `marginal` predicts the state frequencies of each key, and the median tempo.
    - `markov` predicts the transition frequencies from the last state of each key, and the last tempo.

    `nothing` and `repeat` have no probabilities, so they have neither a likelihood nor a threshold. One is added to every count
    before it becomes a frequency (Laplace). Thresholds are chosen on the train split.

    Args:
        statistics: statistics of the train split.

    Raises:
        StoreError: a checksum does not match.
    """
    counts, median_error, last_error = _count_transitions(windows, statistics.median_tempo_us)
    last_state = np.broadcast_to(np.arange(NUM_STATES), (NUM_KEYS, NUM_STATES))
    marginal = np.broadcast_to(_smooth(statistics.state_counts)[:, np.newaxis], counts.shape)
    markov = _smooth(statistics.transition_counts)
    silence = _score_choice(counts, np.zeros_like(last_state))
    return {
        "nothing": Evaluation(tempo_error_percent=median_error, most_probable=silence),
        "repeat": Evaluation(tempo_error_percent=last_error, most_probable=_score_choice(counts, last_state)),
        "marginal": _evaluate_probabilities(counts, marginal, median_error, statistics),
        "markov": _evaluate_probabilities(counts, markov, last_error, statistics),
    }


def constant_predictor_loss(statistics: Statistics, config: Config) -> float | None:
    """The loss of the best constant prediction if it is the mean squared error of the 177 features; None for other losses.

    The mean squared error of the best constant is the mean variance of the features.

    Args:
        statistics: statistics of the split whose windows are predicted.
    """
    model = config.model
    if model.is_joint or model.silence or (config.training.loss or model.default_loss) != "mse":
        return None
    tempo_counts: Counter[int] = statistics.predicted_tempo_counts
    counts = np.array(list(tempo_counts.values()))
    tempo = tempo_feature(tf.constant(list(tempo_counts), tf.int32)).numpy().astype(np.float64)
    tempo_variance = np.average((tempo - np.average(tempo, weights=counts)) ** 2, weights=counts)
    share = statistics.predicted_state_counts[:, [ONSET, HOLD]].T.ravel() / counts.sum()
    return float(np.append(share * (1 - share), tempo_variance).mean())


def _count_transitions(windows: Windows, median_tempo_us: int) -> tuple[np.ndarray, float, float]:
    """(88, 3, 3) transitions to each step, and the mean tempo errors of the median and of the last tempo in percent."""
    counts = np.zeros((NUM_KEYS, NUM_STATES, NUM_STATES), np.int64)
    median_error = last_error = 0.0
    for roll, _ in iterate_pieces(windows):
        states = np.pad(roll.states, ((1, 0), (0, 0)), constant_values=SILENT)
        counts += count_transitions(states[:-1], states[1:])
        median_error += tempo_errors(np.array(median_tempo_us), roll.tempo_us).sum()
        last_us = np.append(median_tempo_us, roll.tempo_us[:-1])
        last_error += tempo_errors(last_us, roll.tempo_us).sum()
    num_steps = windows.steps.sum()
    return counts, median_error / num_steps, last_error / num_steps


def _smooth(counts: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, with Laplace smoothing."""
    return np.asarray((counts + 1) / (counts + 1).sum(axis=-1, keepdims=True))


def _score_choice(counts: np.ndarray, choice: np.ndarray) -> Scores:
    """The scores of a deterministic prediction: `choice` (88, 3) is the next state of each key by its last state."""
    return score(np.array([counts[choice == state].sum(axis=0) for state in range(NUM_STATES)]))


def _evaluate_probabilities(
    counts: np.ndarray, probabilities: np.ndarray, tempo_error_percent: float, statistics: Statistics
) -> Evaluation:
    """Evaluates (88, 3, 3) probabilities of the next state of each key by its last state on (88, 3, 3) transitions."""

    def train_f1(threshold: float) -> float:
        return _score_choice(statistics.transition_counts, _choose(probabilities, threshold)).onset_f1 or 0.0

    best = max(THRESHOLDS, key=train_f1)
    legal = probabilities.copy()
    legal[:, SILENT, HOLD] = 0  # a hold cannot follow silence, as in the likelihood of the networks
    legal /= legal.sum(axis=-1, keepdims=True)
    scores = _score_choice(counts, _choose(probabilities, best))
    return Evaluation(
        nats_per_step=float(-(counts * np.log(legal, where=counts > 0, out=np.zeros_like(legal))).sum() / counts[0].sum()),
        tempo_error_percent=tempo_error_percent,
        most_probable=_score_choice(counts, _choose(probabilities, MOST_PROBABLE)),
        static_threshold=ThresholdScores(**asdict(scores), threshold=best),
    )


def _choose(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """(88, 3) states by the rule of `threshold_states`: a hold cannot follow silence."""
    onset, hold = probabilities[..., ONSET], probabilities[..., HOLD].copy()
    hold[:, SILENT] = 0
    sounds = np.maximum(onset, hold) * (1 - threshold) > probabilities[..., SILENT] * threshold
    return np.where(sounds, np.where(onset >= hold, ONSET, HOLD), SILENT)
