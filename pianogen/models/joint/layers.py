"""Small layers of the joint model."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pianogen.models.joint.rows import PITCH_CLASSES


def linear(units: int, name: str, *, gain: float = 1.0, bias: float | None = 0.0, dtype: str | None = None) -> keras.layers.Dense:
    """A linear layer whose outputs have the variance gain² for inputs of variance 1.

    Args:
        bias: initial bias; None for a layer without.
    """
    return keras.layers.Dense(
        units,
        use_bias=bias is not None,
        kernel_initializer=keras.initializers.VarianceScaling(gain * gain, "fan_in", "untruncated_normal"),
        bias_initializer=keras.initializers.Constant(bias or 0.0),
        name=name,
        dtype=dtype,
    )


class KeyTables(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """(B,) semitones to (B, K, U): a learned vector for each key, and one for its pitch class before the transposition."""

    def __init__(self, keys: range, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._keys, self._units = keys, units

    def build(self, _shape: tuple[int, ...]) -> None:
        self.key_vectors = self.add_weight(shape=(len(self._keys), self._units), initializer="zeros", name="key")
        self.pitch_class_vectors = self.add_weight(shape=(PITCH_CLASSES, self._units), initializer="zeros", name="pitch_class")

    def call(self, semitones: tf.Tensor) -> tf.Tensor:
        pitch_class = (np.arange(self._keys.start, self._keys.stop) - semitones[:, tf.newaxis]) % PITCH_CLASSES
        return (
            tf.matmul(tf.one_hot(pitch_class, PITCH_CLASSES, dtype=self.compute_dtype), self.pitch_class_vectors)
            + self.key_vectors
        )


class ResidualBlocks(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """(…, U) to (…, num_logits) float32 logits: blocks x + relu(Wx + b), then a linear function."""

    def __init__(self, num_blocks: int, units: int, num_logits: int, bias: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._blocks = [keras.layers.Dense(units, activation="relu", name=f"block_{i}") for i in range(num_blocks)]
        self._logits = linear(num_logits, "logits", gain=0.5, bias=bias, dtype="float32")

    def call(self, units: tf.Tensor) -> tf.Tensor:
        for block in self._blocks:
            units = units + block(units)
        return self._logits(units)


def over_rows(layer: keras.layers.Layer, rows: tf.Tensor) -> tf.Tensor:
    """Applies a layer for (N, …) to (T, B, …)."""
    shape = tf.shape(rows)
    output = layer(tf.reshape(rows, [-1, *rows.shape[2:]]))
    return tf.reshape(output, [shape[0], shape[1], *output.shape[1:]])


def drop(units: tf.Tensor, share: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Drops a share of the units of (T, B, K, U), the same ones for all keys of a row; nothing without a seed."""
    if seed is None or not share:
        return units
    shape = tf.shape(units)
    uniforms = tf.random.stateless_uniform([shape[0], shape[1], 1, shape[3]], seed)
    return units * tf.cast(tf.where(uniforms < share, 0.0, 1 / (1 - share)), units.dtype)
