"""Evaluation of a network on held-out windows, with the trivial predictors as baselines.

The network predicts the step after every window. All scores are pooled over these steps: the likelihood is the sum over the 88
keys of a step, the others follow from one contingency table of predicted and true states.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.statistics import NUM_STATES, Statistics
from pianogen.data.windows import Windows, evaluation_batches, find_windows
from pianogen.errors import Interrupted
from pianogen.evaluation.scores import (
    MOST_PROBABLE,
    THRESHOLDS,
    Evaluation,
    ThresholdScores,
    cross_tabulate,
    score,
    tempo_errors,
)
from pianogen.evaluation.trivial import evaluate_trivial
from pianogen.models.network import NUM_UNIFORMS, DecisionRule, Network, threshold_states
from pianogen.roll import ONSET, SILENT, unpack
from pianogen.store import Split, Store

_BATCH = 512


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
        shutdown_requested: called before each batch; True stops the evaluation.

    Returns:
        Evaluations by name of the split, without splits that have no windows.

    Raises:
        Interrupted: a shutdown was requested.
    """
    evaluations = {}
    threshold = None
    for split in (Split.VALID, Split.TEST):
        windows = find_windows(store, split, data)
        if len(windows):
            evaluation = evaluate(network, windows, threshold, shutdown_requested)
            if split == Split.VALID and evaluation.static_threshold:
                threshold = evaluation.static_threshold.threshold
            elif threshold is None:
                evaluation = replace(evaluation, static_threshold=None)
            evaluations[split.name.lower()] = SplitEvaluation(evaluation, evaluate_trivial(windows, statistics))
    return evaluations


def evaluate(
    network: Network,
    windows: Windows,
    threshold: float | None = None,
    shutdown_requested: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Evaluates the predictions of a network for the step after every window.

    Args:
        threshold: static threshold; None selects the one of THRESHOLDS with the best onset F1 score on these windows.
        shutdown_requested: called before each batch; True stops the evaluation.

    Raises:
        Interrupted: a shutdown was requested.
    """
    thresholds = THRESHOLDS if threshold is None else (threshold,)
    predict = _compile_prediction(network, (MOST_PROBABLE, *thresholds))
    tables = np.zeros((1 + len(thresholds), NUM_STATES, NUM_STATES), np.int64)
    log_likelihood = tempo_error = 0.0
    for packed, tempo_us, _ in evaluation_batches(windows, _BATCH):
        if shutdown_requested():
            raise Interrupted("received a shutdown signal during the evaluation; the next attempt repeats it")
        states, sounding = unpack(packed[:, -1].numpy()), unpack(packed[:, -2].numpy()) != SILENT
        log_likelihoods, predicted_us, predicted_states = predict(packed[:, :-1], tempo_us[:, :-1], states, sounding)
        log_likelihood += log_likelihoods.numpy().sum(dtype=np.float64)
        tempo_error += tempo_errors(predicted_us.numpy(), tempo_us[:, -1].numpy()).sum()
        tables += [cross_tabulate(predicted, states) for predicted in predicted_states.numpy()]
    most_probable, *scores = (score(table) for table in tables)
    best = max(range(len(thresholds)), key=lambda index: scores[index].onset_f1 or 0.0)
    return Evaluation(
        steps=len(windows),
        nats_per_step=-log_likelihood / len(windows),
        tempo_error_percent=tempo_error / len(windows),
        notes_per_step=float(tables[0, :, ONSET].sum() / len(windows)),
        most_probable=most_probable,
        static_threshold=ThresholdScores(**asdict(scores[best]), threshold=thresholds[best]),
    )


def _compile_prediction(network: Network, thresholds: Sequence[float]) -> Callable[..., Any]:
    """A function of windows, the true next states and the sounding keys.

    It returns (B,) log-likelihoods of the true states, (B,) predicted tempo_us and (N, B, 88) predicted states for N thresholds.
    """
    rules = [_threshold_rule(threshold) for threshold in thresholds]

    def predict(packed: tf.Tensor, tempo_us: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor) -> Any:
        output = network.predict(packed, tempo_us)
        uniforms = tf.fill([tf.shape(states)[0], NUM_UNIFORMS], 0.5)
        drawn = [network.draw(output, sounding, uniforms, rule) for rule in rules]
        predicted_states, predicted_us = tf.stack([predicted for predicted, _ in drawn]), drawn[0][1]
        return network.log_likelihood(output, states, sounding), predicted_us, predicted_states

    compiled: Callable[..., Any] = tf.function(predict)
    return compiled


def _threshold_rule(threshold: float) -> DecisionRule:
    return lambda logits, sounding, _uniforms: threshold_states(logits, sounding, threshold)
