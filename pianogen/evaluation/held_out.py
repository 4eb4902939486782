"""How good a network is on held-out windows, beside predictors that have learned nothing.

Every window asks for the step after it. All measures are pooled over these steps: likelihood is the sum over the 88 keys of a
step, the others follow from one table of how often each state was predicted where each state was true.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.statistics import NUM_STATES, Statistics
from pianogen.data.windows import Windows, evaluation_batches, find_windows
from pianogen.errors import Interrupted
from pianogen.evaluation.scores import MOST_PROBABLE, THRESHOLDS, cross_tabulate, score, tempo_errors
from pianogen.evaluation.trivial import trivial
from pianogen.models.network import NUM_UNIFORMS, DecisionRule, Network, threshold_states
from pianogen.roll import ONSET, SILENT, unpack
from pianogen.store import Split, Store

_BATCH = 512


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
            measured = evaluate(network, windows, threshold, is_interrupted)
            if split == Split.VALID:
                threshold = measured["static_threshold"]["threshold"]
            elif threshold is None:
                del measured["static_threshold"]  # chosen on test, it would be no measure of test
            found[split.name.lower()] = {"network": measured, "trivial": trivial(windows, statistics)}
    return found


def evaluate(
    network: Network,
    windows: Windows,
    threshold: float | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """What a network predicts for the step after every window, against what followed.

    Args:
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
    measure = _compile(network, (MOST_PROBABLE, *thresholds))
    tables = np.zeros((1 + len(thresholds), NUM_STATES, NUM_STATES), np.int64)
    log_likelihood = tempo_error = 0.0
    for packed, tempo_us in evaluation_batches(windows, _BATCH):
        if is_interrupted():
            raise Interrupted("left while it evaluated; started again, it begins that anew")
        states, sounding = unpack(packed[:, -1].numpy()), unpack(packed[:, -2].numpy()) != SILENT
        likelihoods, tempo, drawn = measure(packed[:, :-1], tempo_us[:, :-1], states, sounding)
        log_likelihood += likelihoods.numpy().sum(dtype=np.float64)
        tempo_error += tempo_errors(tempo.numpy(), tempo_us[:, -1].numpy()).sum()
        tables += [cross_tabulate(each, states) for each in drawn.numpy()]
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


def _compile(network: Network, thresholds: Sequence[float]) -> Callable[..., Any]:
    """A function of windows, what followed and what sounded: (B,) log likelihood, (B,) tempo_us, (thresholds, B, 88) states."""
    rules = [_threshold_rule(threshold) for threshold in thresholds]

    def measure(packed: tf.Tensor, tempo_us: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor) -> Any:
        output = network.predict(packed, tempo_us)
        uniforms = tf.fill([tf.shape(states)[0], NUM_UNIFORMS], 0.5)
        drawn = [network.draw(output, sounding, uniforms, rule) for rule in rules]
        return network.log_likelihood(output, states, sounding), drawn[0][1], tf.stack([each[0] for each in drawn])

    compiled: Callable[..., Any] = tf.function(measure)
    return compiled


def _threshold_rule(threshold: float) -> DecisionRule:
    return lambda logits, sounding, _uniforms: threshold_states(logits, sounding, threshold)
