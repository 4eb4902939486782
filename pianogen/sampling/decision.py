"""Decision rules: from the predicted probabilities of each key to legal states of all keys.

Every state of every key gets its log probability plus Gumbel noise times the temperature; at temperature 1 the largest of the
three is a draw from the three probabilities (Gumbel 1954). The strength of a key is the margin of its better sounding state
over silence. A static threshold, as in the report, lets every key sound whose probability exceeds it. The dynamic threshold
consists of two, computed at every step so that the numbers of holds and of onsets follow the corpus. A single threshold for
both would let a model that is unsure about holds repeat the onset at every step.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pianogen.models.network import threshold_states
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT

_SMALLEST_UNIFORM = 2.0**-24
_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision rule: temperature and threshold.

    Attributes:
        temperature: scale of the Gumbel noise, positive.
        threshold: probability that a sounding state must exceed; None selects the dynamic threshold.
        hold_cdf: (89, 89) float32; row n is the cumulative distribution of the number of holds, given n sounding keys before.
        onset_cdf: (89, 89) float32; row n is the cumulative distribution of the number of onsets, given n holds.
    """

    temperature: float
    threshold: float | None
    hold_cdf: np.ndarray
    onset_cdf: np.ndarray

    def __call__(self, logits: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """The states of all keys, as `pianogen.models.network.DecisionRule`."""
        uniforms = tf.clip_by_value(uniforms, _SMALLEST_UNIFORM, 1 - _SMALLEST_UNIFORM)
        gumbel = -tf.math.log(-tf.math.log(tf.reshape(uniforms[:, 2:], [-1, NUM_KEYS, 3])))
        noisy = logits + self.temperature * gumbel
        if self.threshold is not None:
            return threshold_states(noisy, sounding, self.threshold)
        return self._dynamic(noisy, sounding, uniforms)

    def _dynamic(self, noisy: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        silent, onset = noisy[..., SILENT], noisy[..., ONSET]
        hold = tf.where(sounding, noisy[..., HOLD], _NEVER)
        num_sounding = tf.reduce_sum(tf.cast(sounding, tf.int32), axis=-1)
        num_holds = tf.minimum(_draw_counts(self.hold_cdf, num_sounding, uniforms[:, 0]), num_sounding)
        is_hold = _strongest(tf.where(sounding, hold - tf.maximum(onset, silent), -np.inf), num_holds)
        num_onsets = tf.minimum(_draw_counts(self.onset_cdf, num_holds, uniforms[:, 1]), NUM_KEYS - num_holds)
        is_onset = _strongest(tf.where(is_hold, -np.inf, onset - silent), num_onsets)
        return tf.cast(tf.where(is_hold, HOLD, tf.where(is_onset, ONSET, SILENT)), tf.uint8)


def _draw_counts(cdf: np.ndarray, condition: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """(B,) int32 counts drawn from the rows `condition` (B,) of (89, 89) cumulative distributions, by (B,) uniform numbers."""
    rows = tf.gather(tf.constant(cdf), condition)
    return tf.searchsorted(rows, uniform[:, tf.newaxis], side="right")[:, 0]


def _strongest(strength: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    """(B, 88) bool: the `num` (B,) strongest keys of each row, the lower of two equal ones.

    A loop over the largest `num`, which is small, is faster than sorting 88 keys.
    """
    chosen, index, largest = tf.zeros_like(strength, tf.bool), tf.constant(0), tf.reduce_max(num)
    while index < largest:
        best = tf.argmax(tf.where(chosen, -np.inf, strength), axis=-1)
        is_needed = (index < num)[:, tf.newaxis]
        chosen |= is_needed & tf.one_hot(best, NUM_KEYS, on_value=True, off_value=False, dtype=tf.bool)
        index += 1
    return chosen
