"""Evaluation of a network on held-out pieces, with the trivial predictors as baselines.

The network reads each piece once and predicts every step of it, the first one from silence; its state is carried from step to
step. All scores are pooled over these steps: the likelihood is the sum over the 88 keys of a step, the others follow from one
contingency table of predicted and true states.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.pieces import CHUNK_STEPS, NUM_PIECES, piece_chunks
from pianogen.data.statistics import NUM_STATES, Statistics
from pianogen.data.windows import Windows, find_windows
from pianogen.errors import Interrupted
from pianogen.evaluation.scores import (
    MOST_PROBABLE,
    THRESHOLDS,
    Evaluation,
    Scores,
    ThresholdScores,
    cross_tabulate,
    score,
    tempo_errors,
)
from pianogen.evaluation.trivial import evaluate_trivial
from pianogen.models.features import unpack_rows
from pianogen.models.network import NUM_UNIFORMS, Decision, DecisionRule, Network, threshold_states
from pianogen.roll import ONSET, SILENT, unpack
from pianogen.store import Split, Store
from pianogen.window import Window

_ONLY_MOST_PROBABLE = 1e-6  # as top_p
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SplitEvaluation:
    """The evaluation of a network and of the trivial predictors on a split.

    Attributes:
        trivial: see `evaluate_trivial`.
    """

    network: Evaluation
    trivial: dict[str, Evaluation]

    def as_json(self) -> dict[str, Any]:
        """The content of result.json."""
        trivial = {name: evaluation.as_json() for name, evaluation in self.trivial.items()}
        return {"network": self.network.as_json(), "trivial": trivial}


def evaluate_held_out(
    network: Network,
    store: Store,
    data: DataConfig,
    statistics: Statistics,
    shutdown_requested: Callable[[], bool] = lambda: False,
) -> dict[str, SplitEvaluation]:
    """Evaluates a network and the trivial predictors on the splits valid and test.

    The static threshold is chosen on valid and applied to test. Without a valid split, test has no static threshold, because one
    that was chosen on test would overestimate the network.

    Args:
        statistics: statistics of the train split.
        shutdown_requested: called before each chunk of the pieces; True stops the evaluation.

    Returns:
        Evaluations by name of the split, without splits that have no pieces.

    Raises:
        Interrupted: a shutdown was requested.
        StoreError: a checksum does not match.
        WindowError: a group does not exist.
    """
    evaluations = {}
    threshold = None
    for split in (Split.VALID, Split.TEST):
        windows = find_windows(store, split, data, context=network.reads_context)
        if not len(windows.pieces):
            of_groups = " of data.groups" if data.groups else ""
            _log.warning("the %s split has no pieces%s: the result has no figures for it", split.name.lower(), of_groups)
        else:
            evaluation = evaluate(network, windows, statistics.median_tempo_us, threshold, shutdown_requested)
            if split == Split.VALID and evaluation.static_threshold:
                threshold = evaluation.static_threshold.threshold
            elif threshold is None:
                evaluation = replace(evaluation, static_threshold=None)
            evaluations[split.name.lower()] = SplitEvaluation(evaluation, evaluate_trivial(windows, statistics))
    return evaluations


def evaluate(
    network: Network,
    windows: Windows,
    tempo_us: int,
    threshold: float | None = None,
    shutdown_requested: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Evaluates the predictions of a network for every step of the pieces of windows.

    Args:
        tempo_us: tempo of the silence before a piece.
        threshold: static threshold; None selects the one of THRESHOLDS with the best onset F1 score on these pieces. Unused for a
            network without decision rules.
        shutdown_requested: called before each chunk of the pieces; True stops the evaluation.

    Raises:
        Interrupted: a shutdown was requested.
        StoreError: a checksum does not match.
    """
    thresholds = (THRESHOLDS if threshold is None else (threshold,)) if network.has_rule else ()
    read = _compile_reading(network, thresholds)
    tables = np.zeros((1 + len(thresholds), NUM_STATES, NUM_STATES), np.int64)
    num_steps, log_likelihood, tempo_error = 0, 0.0, 0.0
    state = initial_state = network.initial_state(NUM_PIECES, 0, tempo_us)
    for window, is_row, is_start in piece_chunks(windows, NUM_PIECES, CHUNK_STEPS):
        if shutdown_requested():
            raise Interrupted("received a shutdown signal during the evaluation; the next attempt repeats it")
        if is_start:
            state = initial_state
            window.tempo_us[:, 0] = tempo_us
        (log_likelihoods, predicted_us, predicted_states), state = read(window, state)
        num_steps += is_row.sum()
        log_likelihood += log_likelihoods.numpy()[is_row].sum(dtype=np.float64)
        tempo_error += tempo_errors(predicted_us.numpy(), window.tempo_us[:, 1:])[is_row].sum()
        states = unpack(window.packed[:, 1:][is_row])
        tables += [cross_tabulate(predicted[is_row], states) for predicted in predicted_states.numpy()]
    most_probable, *scores = (score(table) for table in tables)
    return Evaluation(
        steps=int(num_steps),
        nats_per_step=float(-log_likelihood / num_steps),
        tempo_error_percent=float(tempo_error / num_steps),
        notes_per_step=float(tables[0, :, ONSET].sum() / num_steps),
        most_probable=most_probable,
        static_threshold=_best(thresholds, scores),
    )


def _best(thresholds: Sequence[float], scores: list[Scores]) -> ThresholdScores | None:
    """The scores of the threshold with the best onset F1 score."""
    if not thresholds:
        return None
    best = max(range(len(thresholds)), key=lambda index: scores[index].onset_f1 or 0.0)
    return ThresholdScores(**asdict(scores[best]), threshold=thresholds[best])


def _compile_reading(network: Network, thresholds: Sequence[float]) -> Callable[[Window, Any], tuple[Any, Any]]:
    """A function of a window and a state.

    It returns (B, W) log-likelihoods of the true states, (B, W) predicted tempo_us and (1 + N, B, W, 88) predicted states, which
    are the most probable ones and those of N thresholds; and the state after the window.
    """
    decisions = [
        Decision(top_p=_ONLY_MOST_PROBABLE, rule=_threshold_rule(threshold)) for threshold in (MOST_PROBABLE, *thresholds)
    ]

    def read(window: Window, state: Any) -> tuple[Any, Any]:
        output, state = network.read(window, state)
        states = unpack_rows(window.packed)
        sounding = states[:, :-1] > SILENT
        uniforms = tf.fill([*sounding.shape[:2], NUM_UNIFORMS], 0.5)
        drawn = [network.draw(output, sounding, uniforms, decision) for decision in decisions]
        predicted_states, predicted_us = tf.stack([predicted for predicted, _ in drawn]), drawn[0][1]
        return (network.log_likelihood(output, states[:, 1:], sounding), predicted_us, predicted_states), state

    compiled: Callable[[Window, Any], tuple[Any, Any]] = tf.function(read, autograph=False)
    return compiled


def _threshold_rule(threshold: float) -> DecisionRule:
    return lambda logits, sounding, _uniforms: threshold_states(logits, sounding, threshold)
