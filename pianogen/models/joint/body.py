"""Bodies of the joint model: from the state of the piece before a row to U units for each key."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pianogen.models.joint.banded import Banded
from pianogen.models.joint.features import key_channels, own_features, pitch_class_features, step_features
from pianogen.models.joint.layers import KeyTables, linear, over_rows
from pianogen.models.joint.recurrence import Recurrence
from pianogen.models.joint.rows import PITCH_CLASSES, Rows

_REACH = 12  # keys, below and above
_DENSE_KEY_UNITS = 32  # units of each key in the output of the dense body


class TiedBody(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """One recurrent layer whose weights all keys share.

    The features of a key are linear functions of its neighbors within an octave, of the pitch classes relative to its own and of
    the step; a rectifier follows. The output is the sum of the features and of the recurrent layer that reads them.

    Args:
        cell: lstm, gru or mlstm.
        units: U.
        keys: the keys in use.
        steps_per_quarter: steps of a quarter note.
        copy: whether the model reads the longest match.
    """

    def __init__(self, cell: str, units: int, keys: range, steps_per_quarter: int, *, copy: bool) -> None:
        super().__init__(name="body", autocast=False)
        self._units, self._keys, self._steps_per_quarter, self._copy = units, keys, steps_per_quarter, copy
        self._neighbours = Banded(_REACH, _REACH, units, name="neighbours")
        self._own = linear(units, "own", gain=0.5, bias=None)
        self._pitch_classes = RelativePitchClasses(keys, units, name="pitch_classes")
        self._step = linear(units, "step", gain=0.5)
        self._tables = KeyTables(keys, units, name="tables")
        self._recurrence = Recurrence(cell, units)

    def build(self, _shape: Any) -> None:
        """Nothing: the layers in this one are built when they are first called."""

    def initial_state(self, batch: int) -> list[tf.Tensor]:
        """The state before the first row."""
        return self._recurrence.initial_state(batch * len(self._keys))

    def call(self, rows: Rows, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(T, B, K, U), and the state after the last row."""
        features = self._features(rows)
        shape = tf.shape(features)
        sequences = tf.reshape(features, [features.shape[0], shape[1] * shape[2], self._units])
        output, state = self._recurrence(sequences, state)
        return features + tf.reshape(output, shape), state

    def _features(self, rows: Rows) -> tf.Tensor:
        total = over_rows(self._neighbours, key_channels(rows, self._keys, copy=self._copy))
        total += over_rows(self._own, own_features(rows, self._keys))
        total += over_rows(self._pitch_classes, pitch_class_features(rows))
        step = self._step(step_features(rows, self._steps_per_quarter, copy=self._copy))
        total += step[:, :, tf.newaxis]
        return tf.nn.relu(total + self._tables(rows.semitones))


class DenseBody(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """One recurrent layer that reads all keys together, and a linear function of its output for each key.

    Args:
        cell: lstm, gru or mlstm.
        units: number of units of the recurrent layer.
        keys: the keys in use.
        steps_per_quarter: steps of a quarter note.
        copy: whether the model reads the longest match.
    """

    def __init__(self, cell: str, units: int, keys: range, steps_per_quarter: int, *, copy: bool) -> None:
        super().__init__(name="body", autocast=False)
        self._keys, self._steps_per_quarter, self._copy = keys, steps_per_quarter, copy
        self._recurrence = Recurrence(cell, units)
        self._keys_layer = linear(len(keys) * _DENSE_KEY_UNITS, "keys")

    def build(self, _shape: Any) -> None:
        """Nothing: the layers in this one are built when they are first called."""

    def initial_state(self, batch: int) -> list[tf.Tensor]:
        """The state before the first row."""
        return self._recurrence.initial_state(batch)

    def call(self, rows: Rows, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(T, B, K, 32), and the state after the last row."""
        channels = key_channels(rows, self._keys, copy=self._copy)
        shape = tf.shape(channels)
        flat = tf.reshape(channels, [channels.shape[0], shape[1], channels.shape[2] * channels.shape[3]])
        step = step_features(rows, self._steps_per_quarter, copy=self._copy)
        features = tf.concat([flat, pitch_class_features(rows), step], axis=-1)
        output, state = self._recurrence(features, state)
        return tf.reshape(self._keys_layer(output), [shape[0], shape[1], len(self._keys), _DENSE_KEY_UNITS]), state


class RelativePitchClasses(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """(N, S * 12) numbers by pitch class to (N, K, U): for each key the same linear function of them, relative to its own."""

    def __init__(self, keys: range, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._relative = (np.arange(PITCH_CLASSES)[:, np.newaxis] - np.array(keys)) % PITCH_CLASSES
        self._units = units

    def build(self, shape: tuple[int, ...]) -> None:
        initializer = keras.initializers.RandomNormal(stddev=0.3 / np.sqrt(shape[-1]))
        sets = shape[-1] // PITCH_CLASSES
        self.kernel = self.add_weight(shape=(sets, PITCH_CLASSES, self._units), initializer=initializer, name="kernel")

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        kernel = tf.gather(tf.convert_to_tensor(self.kernel), self._relative, axis=1)  # (S, 12, K, U)
        num_keys = self._relative.shape[1]
        product = tf.matmul(numbers, tf.reshape(kernel, [-1, num_keys * self._units]))
        return tf.reshape(product, [-1, num_keys, self._units])
