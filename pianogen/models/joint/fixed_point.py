"""Exact draws of many dependent decisions in a few parallel passes.

The decision for a key is a function of its own random number and of the decisions for lower keys. So the drawn row is the only
fixed point of "decide every key, given the row". Each pass makes at least one more key final, and usually nearly all of them.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from pianogen.models.network import Decision

_SMALLEST_UNIFORM = 2.0**-25


def fixed_point(decide: Callable[[tf.Tensor], tf.Tensor], start: tf.Tensor) -> tf.Tensor:
    """Applies `decide` from `start` on until the result does not change."""

    def decide_again(row: tf.Tensor, _changed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        decided = decide(row)
        return decided, tf.reduce_any(decided != row)

    row, _ = tf.while_loop(lambda _, changed: changed, decide_again, (start, tf.constant(True)))
    return row


def draw_bits(logits: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tf.Tensor:
    """bool draws with the probabilities of logits.

    Args:
        uniforms: uniform in 0..1, of the same shape.
        decision: only temperature and top_p are used.
    """
    logits = logits / decision.temperature
    uniforms = tf.maximum(uniforms, _SMALLEST_UNIFORM)
    drawn = tf.math.log(uniforms) - tf.math.log1p(-uniforms) < logits
    if decision.top_p == 1:
        return drawn
    limit = max(0.0, math.log(decision.top_p / (1 - decision.top_p)))
    return (drawn | (logits >= limit)) & (logits > -limit)


def draw_classes(logits: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tf.Tensor:
    """(…) int32 draws of one of C classes.

    Args:
        logits: (…, C), -inf for impossible classes.
        uniforms: (…) uniform in 0..1.
        decision: only temperature and top_p are used.
    """
    probabilities = tf.nn.softmax(logits / decision.temperature)
    if decision.top_p < 1:
        is_larger = probabilities[..., tf.newaxis, :] > probabilities[..., tf.newaxis]
        larger = tf.reduce_sum(tf.where(is_larger, probabilities[..., tf.newaxis, :], 0.0), axis=-1)
        probabilities = tf.where(larger < decision.top_p, probabilities, 0.0)
    cumulative = tf.cumsum(probabilities, axis=-1)
    limits = tf.maximum(uniforms, _SMALLEST_UNIFORM)[..., tf.newaxis] * cumulative[..., -1:]
    return tf.reduce_sum(tf.cast(cumulative[..., :-1] < limits, tf.int32), axis=-1)
