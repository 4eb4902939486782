"""The tempo of a step, by a small network of its own: it stays as it is, or changes by a mixture of logistic distributions."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from pianogen.models.joint.layers import linear
from pianogen.models.joint.recurrence import Recurrence
from pianogen.models.joint.rows import Rows, octaves
from pianogen.roll import ONSET

_NUM_COMPONENTS = 5
_UNITS = 48
_CHANGE = 0.02  # octaves: smaller changes are on a linear scale, larger ones on a logarithmic one
_LOG_SCALES = (-5.0, 1.0)  # limits
_SLOWEST_US, _FASTEST_US = 3_000_000, 150_000  # 20 and 400 bpm: drawn tempos stay within


class TempoOutput(NamedTuple):
    """What the tempo of T rows depends on, apart from their states.

    Attributes:
        units: (T, B, U) output of the recurrent layer.
        before_us: (T, B) int32 tempo of the rows before.
    """

    units: tf.Tensor
    before_us: tf.Tensor


class TempoNetwork(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A recurrent network for the tempo; it has no weights in common with that of the keys."""

    def __init__(self, cell: str) -> None:
        super().__init__(name="tempo", autocast=False)
        self._recurrence = Recurrence(cell, _UNITS)
        self._hidden = keras.layers.Dense(_UNITS, activation="relu", name="hidden")
        self._output = linear(1 + 3 * _NUM_COMPONENTS, "output", gain=0.1, dtype="float32")
        # Before training, the components are narrow and apart from each other.
        means, log_scales = np.linspace(-2, 2, _NUM_COMPONENTS), np.full(_NUM_COMPONENTS, -1.0)
        self._offsets = np.concatenate([np.zeros(1 + _NUM_COMPONENTS), means, log_scales])

    def build(self, _shape: Any) -> None:
        """Nothing: the layers in this one are built when they are first called."""

    def initial_state(self, batch: int) -> list[tf.Tensor]:
        """The state before the first row: that of the recurrent layer, and the last tempo, 0 if it is unknown."""
        return [*self._recurrence.initial_state(batch), tf.zeros([batch], tf.int32)]

    def call(self, rows: Rows, state: list[tf.Tensor]) -> tuple[TempoOutput, list[tf.Tensor]]:
        """Reads what is known before each row."""
        *recurrent, last_us = state
        previous_us = tf.concat([last_us[tf.newaxis], rows.tempo_us[:-1]], axis=0)
        change = change_of(octaves(rows.tempo_us) - octaves(tf.maximum(previous_us, 1)))
        num_onsets = tf.reduce_sum(tf.cast(rows.before == ONSET, tf.float32), axis=-1)
        num_sounding = tf.reduce_sum(tf.cast(rows.before > 0, tf.float32), axis=-1)
        numbers = [
            octaves(rows.tempo_us),
            tf.where(previous_us > 0, change, 0.0),
            tf.cast(rows.step == 0, tf.float32),
            num_onsets / 4,
            num_sounding / 8,
        ]
        features = tf.concat([tf.stack(numbers, axis=-1), tf.one_hot(rows.position % 16, 16)], axis=-1)
        units, recurrent = self._recurrence(features, recurrent)
        return TempoOutput(units, rows.tempo_us), [*recurrent, rows.tempo_us[-1]]

    def log_likelihood(self, output: TempoOutput, states: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        """(T, B) float32 log probability that the tempo stays, or log density of its change on the scale of `change_of`.

        Args:
            states: (T, B, 88) states of the rows.
            tempo_us: (T, B) tempo of the rows.
        """
        stay, weights, means, log_scales = self._distribution(output, states)
        change = change_of(octaves(tempo_us) - octaves(output.before_us))[..., tf.newaxis]
        deviation = (change - means) * tf.exp(-log_scales)
        densities = -deviation - log_scales - 2 * tf.math.softplus(-deviation)
        density = tf.reduce_logsumexp(tf.nn.log_softmax(weights) + densities, axis=-1)
        return tf.where(tempo_us == output.before_us, tf.math.log_sigmoid(stay), tf.math.log_sigmoid(-stay) + density)

    def draw(self, output: TempoOutput, states: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """(T, B) int32 tempo_us, drawn with (T, B, 3) uniform numbers; with 0.5 thrice, about the median."""
        stay, weights, means, log_scales = self._distribution(output, states)
        uniforms = tf.clip_by_value(uniforms, 1e-6, 1 - 1e-6)
        stays, component, position = tf.unstack(tf.math.log(uniforms) - tf.math.log1p(-uniforms), axis=-1)
        cumulative = tf.cumsum(tf.nn.softmax(weights), axis=-1)[..., :-1]
        index = tf.reduce_sum(tf.cast(cumulative < tf.sigmoid(component)[..., tf.newaxis], tf.int32), axis=-1)
        mean, log_scale = (tf.gather(values, index, batch_dims=2) for values in (means, log_scales))
        change = mean + tf.exp(log_scale) * position
        drawn = tf.cast(output.before_us, tf.float32) * tf.pow(2.0, -_CHANGE * tf.sinh(change))
        drawn_us = tf.cast(tf.round(tf.clip_by_value(drawn, _FASTEST_US, _SLOWEST_US)), tf.int32)
        return tf.where(stays < stay, output.before_us, drawn_us)

    def _distribution(self, output: TempoOutput, states: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """(T, B) logits of staying; (T, B, M) logits of the components, their means and the logarithms of their scales."""
        num_onsets = tf.reduce_sum(tf.cast(states == ONSET, tf.float32), axis=-1)
        num_sounding = tf.reduce_sum(tf.cast(states > 0, tf.float32), axis=-1)
        keys = tf.stack([num_onsets / 4, tf.minimum(num_onsets, 1.0), num_sounding / 8], axis=-1)
        values = self._output(self._hidden(tf.concat([tf.cast(output.units, tf.float32), keys], axis=-1))) + self._offsets
        stay, weights, means, log_scales = tf.split(values, [1, *[_NUM_COMPONENTS] * 3], axis=-1)
        return stay[..., 0], weights, means, tf.clip_by_value(log_scales, *_LOG_SCALES)


def change_of(octaves: tf.Tensor) -> tf.Tensor:
    """A change of the tempo on a scale that is linear for small changes and logarithmic for large ones."""
    return tf.asinh(octaves / _CHANGE)
