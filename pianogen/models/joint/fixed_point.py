"""Exact draws of many dependent decisions in a few parallel passes.

Each key's decision is a function of its own random number and of the lower keys' decisions. So the drawn row is the only fixed point
of "decide every key, given the row": starting anywhere, each pass makes at least one more key final, and usually most of them.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from pianogen.models.network import Decision

_SMALLEST_UNIFORM = 2.0**-25


def fixed_point(decide: Callable[[tf.Tensor], tf.Tensor], start: tf.Tensor) -> tf.Tensor:
    """Applies `decide`, a function of a bool tensor, from `start` on until the result does not change."""

    def decide_again(row: tf.Tensor, _changed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        decided = decide(row)
        return decided, tf.reduce_any(decided != row)

    row, _ = tf.while_loop(lambda _, changed: changed, decide_again, (start, tf.constant(True)))
    return row


def bernoulli(logits: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tf.Tensor:
    """bool draws with the probabilities of logits, at a temperature, without outcomes less probable than 1 - top_p."""
    logits = logits / decision.temperature
    uniforms = tf.maximum(uniforms, _SMALLEST_UNIFORM)
    drawn = tf.math.log(uniforms) - tf.math.log1p(-uniforms) < logits
    if decision.top_p == 1:
        return drawn
    limit = max(0.0, math.log(decision.top_p / (1 - decision.top_p)))
    return (drawn | (logits >= limit)) & (logits > -limit)
