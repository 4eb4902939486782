"""How good a network is on held-out windows, beside predictors that have learned nothing.

Every window asks for the step after it. All measures are pooled over these steps: likelihood is the sum over the 88 keys of a
step, the others follow from one table of how often each state was predicted where each state was true.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.statistics import NUM_STATES, Statistics, count_transitions, each_piece
from pianogen.data.windows import Windows, evaluation_batches, find_windows
from pianogen.errors import Interrupted
from pianogen.models.network import Network
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT, unpack
from pianogen.sampling.decision import NUM_NOISE, Decision
from pianogen.store import Split, Store

# Of true probabilities the best threshold is half the F1 it reaches (Lipton et al. 2014); weighted losses state higher ones.
THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_MOST_PROBABLE = 0.5  # as a threshold: a key sounds where one of its sounding states is more probable than silence
_BATCH = 512
_NO_NOISE = 1e-6  # a temperature

Scores = dict[str, float | None]


def evaluate_held_out(
    network: Network,
    store: Store,
    data: DataConfig,
    statistics: Statistics,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, dict[str, Any]]:
    """`evaluate` and `trivial` on those of the splits valid and test that have windows.

    The threshold is chosen on valid; test is read with it, and where there is no valid split, without one.

    Args:
        statistics: of the train split.
        is_interrupted: asked between batches.

    Returns:
        By split, {"network": as `evaluate`, "trivial": as `trivial`}.

    Raises:
        Interrupted: it was told to leave.
    """
    found: dict[str, dict[str, Any]] = {}
    threshold = None
    for split in (Split.VALID, Split.TEST):
        windows = find_windows(store, split, data)
        if len(windows):
            measured = evaluate(network, windows, statistics, threshold, is_interrupted)
            if split == Split.VALID:
                threshold = measured["static_threshold"]["threshold"]
            elif threshold is None:
                del measured["static_threshold"]  # chosen on test, it would be no measure of test
            found[split.name.lower()] = {"network": measured, "trivial": trivial(windows, statistics)}
    return found


def evaluate(
    network: Network,
    windows: Windows,
    statistics: Statistics,
    threshold: float | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """What a network predicts for the step after every window, against what followed.

    Args:
        statistics: of the train split.
        threshold: the static one; None takes that of THRESHOLDS with the best onset F1 on these windows.
        is_interrupted: asked between batches.

    Returns:
        steps: how many were predicted;
        nats_per_step: mean negative log-likelihood of a step, its 88 keys together, without the tempo;
        tempo_error_percent: mean absolute difference of the tempo in bpm, of the true one;
        notes_per_step: true onsets;
        most_probable: `score` of the most probable state of each key;
        static_threshold: the threshold, and `score` where keys whose odds exceed it sound.
    """
    thresholds = THRESHOLDS if threshold is None else (threshold,)
    measure = _compile(network, statistics, (_MOST_PROBABLE, *thresholds))
    tables = np.zeros((1 + len(thresholds), NUM_STATES, NUM_STATES), np.int64)
    log_likelihood = tempo_error = 0.0
    for packed, tempo_us in evaluation_batches(windows, _BATCH):
        if is_interrupted():
            raise Interrupted("left while it evaluated; started again, it begins that anew")
        states, sounding = unpack(packed[:, -1].numpy()), unpack(packed[:, -2].numpy()) != SILENT
        likelihoods, tempo, drawn = measure(packed[:, :-1], tempo_us[:, :-1], states, sounding)
        log_likelihood += likelihoods.numpy().sum(dtype=np.float64)
        tempo_error += _tempo_errors(tempo.numpy(), tempo_us[:, -1].numpy()).sum()
        tables += [_cross_tabulate(each, states) for each in drawn.numpy()]
    scores = [score(table) for table in tables]
    best = max(range(len(thresholds)), key=lambda number: scores[1 + number]["onset_f1"] or 0.0)
    return {
        "steps": len(windows),
        "nats_per_step": -log_likelihood / len(windows),
        "tempo_error_percent": tempo_error / len(windows),
        "notes_per_step": float(tables[0, :, ONSET].sum() / len(windows)),
        "most_probable": scores[0],
        "static_threshold": {"threshold": thresholds[best], **scores[1 + best]},
    }


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


def _share(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else None


def _compile(network: Network, statistics: Statistics, thresholds: Sequence[float]) -> Callable[..., Any]:
    """A function of windows, what followed and what sounded: (B,) log likelihood, (B,) tempo_us, (thresholds, B, 88) states."""
    decisions = [Decision(_NO_NOISE, threshold, statistics.held_odds, statistics.struck_odds) for threshold in thresholds]

    def measure(packed: tf.Tensor, tempo_us: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor) -> Any:
        output = network.predict(packed, tempo_us)
        noise = tf.fill([tf.shape(states)[0], NUM_NOISE], 0.5)
        drawn = [network.draw(output, sounding, noise, decision) for decision in decisions]
        return network.log_likelihood(output, states, sounding), drawn[0][1], tf.stack([each[0] for each in drawn])

    compiled: Callable[..., Any] = tf.function(measure)
    return compiled


def _cross_tabulate(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(3, 3) counts of predicted and true states."""
    return np.bincount((NUM_STATES * predicted + true).ravel(), minlength=NUM_STATES**2).reshape(NUM_STATES, NUM_STATES)


def _tempo_errors(predicted_us: np.ndarray, true_us: np.ndarray) -> np.ndarray:
    """Per cent of the true tempo in bpm."""
    return np.asarray(100 * np.abs(true_us / predicted_us - 1))


def _count_held_out(windows: Windows, median_tempo_us: int) -> tuple[np.ndarray, float, float]:
    """(88, 3, 3) transitions into the predicted steps, and the mean errors of the median and of the last tempo."""
    counts = np.zeros((NUM_KEYS, NUM_STATES, NUM_STATES), np.int64)
    median_error = last_error = 0.0
    for piece, predicted in each_piece(windows):
        states, true_us = piece.states, piece.tempo_us[predicted]
        counts += count_transitions(states[predicted - 1], states[predicted])
        median_error += _tempo_errors(np.array(median_tempo_us), true_us).sum()
        last_error += _tempo_errors(piece.tempo_us[predicted - 1], true_us).sum()
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
        "most_probable": _score_choice(counts, _choose(probabilities, _MOST_PROBABLE)),
        "static_threshold": {"threshold": best, **_score_choice(counts, _choose(probabilities, best))},
    }


def _choose(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """(88, 3) states, as `decision.decide` has them without noise: a silent key is not held."""
    onset, hold = probabilities[..., ONSET], probabilities[..., HOLD].copy()
    hold[:, SILENT] = 0
    sounds = np.maximum(onset, hold) * (1 - threshold) > probabilities[..., SILENT] * threshold
    return np.where(sounds, np.where(onset >= hold, ONSET, HOLD), SILENT)
