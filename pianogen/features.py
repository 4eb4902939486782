"""Packed rows to the numbers a network reads, on the device: 88 onsets, 88 holds, 1 tempo.

The tempo feature is logarithmic, as tempo is heard: 0 at 15 bpm, 1 at 480 bpm, five octaves, clipped beyond. So it lies in
the same range as the keys and a regression over all features stays balanced.
"""

import keras
import tensorflow as tf

from pianogen.roll import NUM_KEYS, PACKED_BYTES

NUM_FEATURES = 2 * NUM_KEYS + 1
_SLOWEST_US = 4_000_000  # 15 bpm
_OCTAVES = 5


@keras.saving.register_keras_serializable("pianogen")
class Features(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """(…, 22) uint8 packed rows and (…) int32 tempo_us to (…, 177) float features."""

    def call(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        return features(packed, tempo_us, self.compute_dtype)

    def compute_output_shape(self, packed_shape: tuple[int, ...], tempo_us_shape: tuple[int, ...]) -> tuple[int, ...]:
        del tempo_us_shape  # Keras asks by these names
        return (*packed_shape[:-1], NUM_FEATURES)


def features(packed: tf.Tensor, tempo_us: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
    """(…, 177) features of (…, 22) packed rows and (…) tempo_us."""
    bits = tf.bitwise.bitwise_and(packed[..., tf.newaxis], tf.constant([128, 64, 32, 16, 8, 4, 2, 1], tf.uint8))
    shape = tf.concat([tf.shape(packed)[:-1], [8 * PACKED_BYTES]], axis=0)
    keys = tf.cast(tf.reshape(bits, shape) > 0, dtype)
    tempo = tf.cast(tempo_feature(tempo_us), dtype)[..., tf.newaxis]
    joined = tf.concat([keys, tempo], axis=-1)
    return tf.ensure_shape(joined, [*packed.shape[:-1], NUM_FEATURES])


def tempo_feature(tempo_us: tf.Tensor) -> tf.Tensor:
    """log2(bpm / 15) / 5, clipped to 0..1."""
    octaves = tf.math.log(_SLOWEST_US / tf.cast(tempo_us, tf.float32)) / tf.math.log(2.0)
    return tf.clip_by_value(octaves / _OCTAVES, 0.0, 1.0)


def tempo_us_of(feature: tf.Tensor) -> tf.Tensor:
    """The int32 tempo of a feature, clipped to 0..1: 125,000 to 4,000,000 microseconds per quarter note."""
    octaves = tf.clip_by_value(tf.cast(feature, tf.float32), 0.0, 1.0) * _OCTAVES
    return tf.cast(tf.round(_SLOWEST_US * tf.pow(2.0, -octaves)), tf.int32)
