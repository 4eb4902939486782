"""From what a network predicts of each key to what the key does: legal states, by a static or a dynamic threshold.

Every state of every key gets its log probability plus Gumbel noise times the temperature (at temperature 1 the largest of
the three is a draw from the three probabilities; Gumbel 1954). A key's strength is how far its better sounding state is
above silence. A static threshold, as in the report, lets every key sound whose odds exceed it. The dynamic one is two, set
anew at each step: so high that as many of the sounding keys are held as in the corpus, and as many others are struck. One for
both would let a network that is unsure which keys go on strike anew at every step instead.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT

NUM_NOISE = 3 * NUM_KEYS + 2
_SMALLEST_UNIFORM = 2.0**-24
_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Decision:
    """How rows are decided.

    Attributes:
        temperature: scale of the noise, positive.
        threshold: probability a key must exceed to sound; None for the dynamic one.
        held_odds: (89, 89) float32, row n the cumulative distribution of how many of n sounding keys are held at the next step.
        struck_odds: (89, 89) float32, row n that of how many keys are struck at a step at which n are held.
    """

    temperature: float
    threshold: float | None
    held_odds: np.ndarray
    struck_odds: np.ndarray


def decide(logits: tf.Tensor, sounding: tf.Tensor, noise: tf.Tensor, decision: Decision) -> tf.Tensor:
    """The states of all keys, each judged on its own.

    Args:
        logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
        sounding: (B, 88) bool; only these may be held.
        noise: (B, NUM_NOISE) uniform in 0..1.

    Returns:
        (B, 88) uint8 states.
    """
    uniform = tf.clip_by_value(noise, _SMALLEST_UNIFORM, 1 - _SMALLEST_UNIFORM)
    gumbel = -tf.math.log(-tf.math.log(tf.reshape(uniform[:, 2:], [-1, NUM_KEYS, 3])))
    noisy = logits + decision.temperature * gumbel
    onset = noisy[..., ONSET]
    hold = tf.where(sounding, noisy[..., HOLD], _NEVER)
    silent = noisy[..., SILENT]
    if decision.threshold is None:
        num_sounding = _count(sounding)
        num_held = tf.minimum(_draw_counts(decision.held_odds, num_sounding, uniform[:, 0]), num_sounding)
        held = _strongest(tf.where(sounding, hold - tf.maximum(onset, silent), -np.inf), num_held)
        num_struck = tf.minimum(_draw_counts(decision.struck_odds, num_held, uniform[:, 1]), NUM_KEYS - num_held)
        struck = _strongest(tf.where(held, -np.inf, onset - silent), num_struck)
        states = tf.where(held, HOLD, tf.where(struck, ONSET, SILENT))
    else:
        sounds = tf.maximum(onset, hold) - silent > np.log(decision.threshold / (1 - decision.threshold))
        states = tf.where(sounds, tf.where(onset >= hold, ONSET, HOLD), SILENT)
    return tf.cast(states, tf.uint8)


def _count(keys: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(keys, tf.int32), axis=-1)


def _draw_counts(odds: np.ndarray, given: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """(B,) int32 from the rows of cumulative odds that `given` names, by (B,) uniform numbers."""
    rows = tf.gather(tf.constant(odds), given)
    return tf.searchsorted(rows, uniform[:, tf.newaxis], side="right")[:, 0]


def _strongest(strength: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """(B, 88) bool: the `wanted` strongest keys of each row, the lower of two equal ones; few are wanted, so no sorting."""
    sounds, number, most = tf.zeros_like(strength, tf.bool), tf.constant(0), tf.reduce_max(wanted)
    while number < most:
        best = tf.argmax(tf.where(sounds, -np.inf, strength), axis=-1)
        is_wanted = (number < wanted)[:, tf.newaxis]
        sounds |= is_wanted & tf.one_hot(best, NUM_KEYS, on_value=True, off_value=False, dtype=tf.bool)
        number += 1
    return sounds
