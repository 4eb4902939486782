"""The decision rule of sampling: from predictions for each key to legal states of all keys.

Gumbel noise times the temperature is added to the log probability of every state of every key. At temperature 1, the largest of
the three values of a key is a draw from its three probabilities (Gumbel 1954).

With a static threshold, as in the 2021 report, a key sounds if the larger of its values for onset and hold exceeds that for
silence by more than the log odds of the threshold.

The dynamic threshold first draws the number of holds and the number of onsets of a step from the statistics of the corpus. The
keys whose value for a hold exceeds their other values most are held; of the other keys, those whose value for an onset exceeds
that for silence most start a note. With one number for holds and onsets together, a model that is unsure about holds would repeat
the onset at every step.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pianogen.models.network import threshold_states
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT

_SMALLEST_UNIFORM = 2.0**-24
_ILLEGAL = -1e9  # log probability of a hold that nothing precedes


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A `pianogen.models.network.DecisionRule` with a static or dynamic threshold.

    Attributes:
        temperature: scale of the Gumbel noise, positive.
        threshold: static threshold, as a probability; None selects the dynamic threshold.
        hold_cdf: (89, 89) float32; row n is the cumulative distribution of the number of holds, given n sounding keys before.
        onset_cdf: (89, 89) float32; row n is the cumulative distribution of the number of onsets, given n holds.
    """

    temperature: float
    threshold: float | None
    hold_cdf: np.ndarray
    onset_cdf: np.ndarray

    def __call__(self, logits: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        uniforms = tf.clip_by_value(uniforms, _SMALLEST_UNIFORM, 1 - _SMALLEST_UNIFORM)
        gumbel = -tf.math.log(-tf.math.log(tf.reshape(uniforms[:, 2:], [-1, NUM_KEYS, 3])))
        noisy = logits + self.temperature * gumbel
        if self.threshold is not None:
            return threshold_states(noisy, sounding, self.threshold)
        return self._dynamic_states(noisy, sounding, uniforms)

    def _dynamic_states(self, noisy: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        silent, onset = noisy[..., SILENT], noisy[..., ONSET]
        hold = tf.where(sounding, noisy[..., HOLD], _ILLEGAL)
        num_sounding = tf.reduce_sum(tf.cast(sounding, tf.int32), axis=-1)
        num_holds = tf.minimum(_draw_counts(self.hold_cdf, num_sounding, uniforms[:, 0]), num_sounding)
        is_hold = _largest(tf.where(sounding, hold - tf.maximum(onset, silent), -np.inf), num_holds)
        num_onsets = tf.minimum(_draw_counts(self.onset_cdf, num_holds, uniforms[:, 1]), NUM_KEYS - num_holds)
        is_onset = _largest(tf.where(is_hold, -np.inf, onset - silent), num_onsets)
        return tf.cast(tf.where(is_hold, HOLD, tf.where(is_onset, ONSET, SILENT)), tf.uint8)


def _draw_counts(cdf: np.ndarray, condition: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """(B,) int32 counts, drawn with (B,) uniform numbers from the rows `condition` (B,) of (89, 89) cumulative distributions."""
    rows = tf.gather(tf.constant(cdf), condition)
    return tf.searchsorted(rows, uniform[:, tf.newaxis], side="right")[:, 0]


def _largest(score: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    """(B, 88) bool: the `num` (B,) keys with the largest scores in each row, the lower of two equal ones.

    A loop up to the largest `num`, which is small, is faster than sorting 88 keys.
    """
    max_num = tf.reduce_max(num)

    def choose(index: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        best = tf.argmax(tf.where(chosen, -np.inf, score), axis=-1)
        is_needed = (index < num)[:, tf.newaxis]
        return index + 1, chosen | is_needed & tf.one_hot(best, NUM_KEYS, on_value=True, off_value=False, dtype=tf.bool)

    _, chosen = tf.while_loop(lambda index, _: index < max_num, choose, (0, tf.zeros_like(score, tf.bool)))
    return chosen
