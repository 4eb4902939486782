"""The tempo of a step, by a small network of its own: it stays as it is, or changes by a mixture of logistic distributions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from pianogen.models.joint.features import meter_features
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
    """The output of the network for the tempo of T rows, which also depends on their states.

    Attributes:
        units: (T, B, U) output of the recurrent layer.
        before_us: (T, B) int32 tempo of the rows before.
    """

    units: tf.Tensor
    before_us: tf.Tensor


class TempoNetwork(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A recurrent network for the tempo; it has no weights in common with that of the keys.

    Args:
        cell: lstm, gru or mlstm.
        steps_per_quarter: steps of a quarter note.
    """

    def __init__(self, cell: str, steps_per_quarter: int) -> None:
        super().__init__(name="tempo", autocast=False)
        self._steps_per_quarter = steps_per_quarter
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
        """Reads the state of the piece before each row."""
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
        features = tf.concat([tf.stack(numbers, axis=-1), meter_features(rows, self._steps_per_quarter)], axis=-1)
        units, recurrent = self._recurrence(features, recurrent)
        return TempoOutput(units, rows.tempo_us), [*recurrent, rows.tempo_us[-1]]

    def distribution(self, output: TempoOutput, states: tf.Tensor) -> "TempoDistribution":
        """The distribution of the tempo of rows with (T, B, 88) states."""
        num_onsets = tf.reduce_sum(tf.cast(states == ONSET, tf.float32), axis=-1)
        num_sounding = tf.reduce_sum(tf.cast(states > 0, tf.float32), axis=-1)
        keys = tf.stack([num_onsets / 4, tf.minimum(num_onsets, 1.0), num_sounding / 8], axis=-1)
        values = self._output(self._hidden(tf.concat([tf.cast(output.units, tf.float32), keys], axis=-1))) + self._offsets
        stay, weights, means, log_scales = tf.split(values, [1, *[_NUM_COMPONENTS] * 3], axis=-1)
        return TempoDistribution(output.before_us, stay[..., 0], weights, means, tf.clip_by_value(log_scales, *_LOG_SCALES))


class TempoDistribution(NamedTuple):
    """The distribution of the tempo of T rows: it stays, or changes by a mixture of M logistic distributions.

    Attributes:
        before_us: (T, B) int32 tempo of the rows before.
        stay: (T, B) logits.
        weights: (T, B, M) logits.
        means, log_scales: (T, B, M) of the change on the scale of `change_of`.
    """

    before_us: tf.Tensor
    stay: tf.Tensor
    weights: tf.Tensor
    means: tf.Tensor
    log_scales: tf.Tensor

    def log_likelihood(self, tempo_us: tf.Tensor) -> tf.Tensor:
        """(T, B) float32 log probability that the tempo stays, or log density of its change on the scale of `change_of`."""
        change = change_of(octaves(tempo_us) - octaves(self.before_us))[..., tf.newaxis]
        deviation = (change - self.means) * tf.exp(-self.log_scales)
        densities = -deviation - self.log_scales - 2 * tf.math.softplus(-deviation)
        density = tf.reduce_logsumexp(tf.nn.log_softmax(self.weights) + densities, axis=-1)
        return tf.where(tempo_us == self.before_us, tf.math.log_sigmoid(self.stay), tf.math.log_sigmoid(-self.stay) + density)

    def draw(self, uniforms: tf.Tensor) -> tf.Tensor:
        """(T, B) int32 tempo_us, drawn with (T, B, 3) uniform numbers; with 0.5 thrice, about the median."""
        uniforms = tf.clip_by_value(uniforms, 1e-6, 1 - 1e-6)
        stays, component, position = tf.unstack(tf.math.log(uniforms) - tf.math.log1p(-uniforms), axis=-1)
        cumulative = tf.cumsum(tf.nn.softmax(self.weights), axis=-1)[..., :-1]
        index = tf.reduce_sum(tf.cast(cumulative < tf.sigmoid(component)[..., tf.newaxis], tf.int32), axis=-1)
        mean, log_scale = (tf.gather(values, index, batch_dims=2) for values in (self.means, self.log_scales))
        change = mean + tf.exp(log_scale) * position
        drawn = tf.cast(self.before_us, tf.float32) * tf.pow(2.0, -_CHANGE * tf.sinh(change))
        drawn_us = tf.cast(tf.round(tf.clip_by_value(drawn, _FASTEST_US, _SLOWEST_US)), tf.int32)
        return tf.where(stays < self.stay, self.before_us, drawn_us)


def mix(members: Sequence[TempoDistribution]) -> TempoDistribution:
    """The mixture of distributions, each with the same weight."""
    log_stay = tf.reduce_logsumexp([tf.math.log_sigmoid(member.stay) for member in members], axis=0)
    log_change = [tf.math.log_sigmoid(-member.stay) for member in members]
    weights = [log[..., tf.newaxis] + tf.nn.log_softmax(member.weights) for log, member in zip(log_change, members, strict=True)]
    return TempoDistribution(
        before_us=members[0].before_us,
        stay=log_stay - tf.reduce_logsumexp(log_change, axis=0),
        weights=tf.concat(weights, axis=-1),
        means=tf.concat([member.means for member in members], axis=-1),
        log_scales=tf.concat([member.log_scales for member in members], axis=-1),
    )


def change_of(octaves: tf.Tensor) -> tf.Tensor:
    """A change of the tempo on a scale that is linear for small changes and logarithmic for large ones."""
    return tf.asinh(octaves / _CHANGE)
