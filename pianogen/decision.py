"""From what a network predicts of each key to what the key does: legal states, by a static or a dynamic threshold.

Every state of every key gets its log probability plus Gumbel noise times the temperature (at temperature 1 the largest of
the three is a draw from the three probabilities; Gumbel 1954). A key's strength is how far its better sounding state is
above silence. A static threshold, as in the report, lets every key sound whose odds exceed it. A dynamic one is set anew at
each step so high that a number of keys is left that follows the last one as it does in the corpus.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT

NUM_NOISE = 3 * NUM_KEYS + 1
_SMALLEST_UNIFORM = 2.0**-24
_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Decision:
    """How rows are decided.

    Attributes:
        temperature: scale of the noise, positive.
        threshold: probability a key must exceed to sound; None for the dynamic one.
        count_odds: (89, 89) float32, row n the cumulative distribution of how many keys sound after a step of n.
    """

    temperature: float
    threshold: float | None
    count_odds: np.ndarray


def decide(
    logits: tf.Tensor, sounding: tf.Tensor, count: tf.Tensor, noise: tf.Tensor, decision: Decision
) -> tuple[tf.Tensor, tf.Tensor]:
    """The states of all keys, each judged on its own.

    Args:
        logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
        sounding: (B, 88) bool; only these may be held.
        count: (B,) int32, sounding keys of the step before.
        noise: (B, NUM_NOISE) uniform in 0..1.

    Returns:
        (B, 88) uint8 states and (B,) int32 sounding keys.
    """
    uniform = tf.clip_by_value(noise, _SMALLEST_UNIFORM, 1 - _SMALLEST_UNIFORM)
    gumbel = -tf.math.log(-tf.math.log(tf.reshape(uniform[:, 1:], [-1, NUM_KEYS, 3])))
    noisy = logits + decision.temperature * gumbel
    onset = noisy[..., ONSET]
    hold = tf.where(sounding, noisy[..., HOLD], _NEVER)
    strength = tf.maximum(onset, hold) - noisy[..., SILENT]
    if decision.threshold is None:
        odds = tf.gather(tf.constant(decision.count_odds), count)
        wanted = tf.searchsorted(odds, uniform[:, :1], side="right")[:, 0]
        sounds = _strongest(strength, wanted)
    else:
        sounds = strength > np.log(decision.threshold / (1 - decision.threshold))
    states = tf.where(sounds, tf.where(onset >= hold, ONSET, HOLD), SILENT)
    return tf.cast(states, tf.uint8), tf.reduce_sum(tf.cast(sounds, tf.int32), axis=-1)


def _strongest(strength: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """(B, 88) bool: the `wanted` strongest keys of each row, the lower of two equal ones; few are wanted, so no sorting."""
    sounds, number, most = tf.zeros_like(strength, tf.bool), tf.constant(0), tf.reduce_max(wanted)
    while number < most:
        best = tf.argmax(tf.where(sounds, -np.inf, strength), axis=-1)
        is_wanted = (number < wanted)[:, tf.newaxis]
        sounds |= is_wanted & tf.one_hot(best, NUM_KEYS, on_value=True, off_value=False, dtype=tf.bool)
        number += 1
    return sounds
