"""Features of a row, computed from packed rows on the device: 88 onsets, 88 holds, 1 tempo.

The tempo feature is logarithmic, like the perception of tempo: 0 at 15 bpm, 1 at 480 bpm, five octaves, clipped beyond. It has
the range of the other features, so a regression over all features is balanced. Optionally, 88 silence features, each 1 where a
key is silent, stand between the holds and the tempo.
"""

from typing import Any

import keras
import tensorflow as tf

from pianogen.roll import HOLD, NUM_KEYS, ONSET, PACKED_BYTES

_SLOWEST_US = 4_000_000  # 15 bpm
_OCTAVES = 5
_BIT_WEIGHTS = (128, 64, 32, 16, 8, 4, 2, 1)


@keras.saving.register_keras_serializable("pianogen")
class Features(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """(…, 22) uint8 packed rows and (…) int32 tempo_us to (…, F) float features.

    Args:
        silence: whether the features include the 88 silence features.
        tempo: whether the features include the tempo.
    """

    def __init__(self, silence: bool = False, tempo: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self._silence, self._tempo = silence, tempo

    def call(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        return features(packed, tempo_us, self.compute_dtype, silence=self._silence, tempo=self._tempo)

    def compute_output_shape(self, packed_shape: tuple[int, ...], tempo_us_shape: tuple[int, ...]) -> tuple[int, ...]:
        del tempo_us_shape  # Keras passes the shapes of all inputs by the names of the arguments of `call`
        return (*packed_shape[:-1], num_features(self._silence, self._tempo))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "silence": self._silence, "tempo": self._tempo}


def num_features(silence: bool = False, tempo: bool = True) -> int:
    """F: 177; 88 more with silence, 1 less without tempo."""
    return (3 if silence else 2) * NUM_KEYS + (1 if tempo else 0)


def features(
    packed: tf.Tensor, tempo_us: tf.Tensor, dtype: str = "float32", *, silence: bool = False, tempo: bool = True
) -> tf.Tensor:
    """(…, F) features of (…, 22) packed rows and (…) tempo_us: onsets, holds, optionally silences, the tempo last."""
    keys = tf.cast(_unpack_bits(packed), dtype)
    blocks = [keys]
    if silence:
        blocks.append(1 - keys[..., :NUM_KEYS] - keys[..., NUM_KEYS:])
    if tempo:
        blocks.append(tf.cast(tempo_feature(tempo_us), dtype)[..., tf.newaxis])
    return tf.ensure_shape(tf.concat(blocks, axis=-1), [*packed.shape[:-1], num_features(silence, tempo)])


def tempo_feature(tempo_us: tf.Tensor) -> tf.Tensor:
    """log2(bpm / 15) / 5, clipped to 0..1."""
    octaves = tf.math.log(_SLOWEST_US / tf.cast(tempo_us, tf.float32)) / tf.math.log(2.0)
    return tf.clip_by_value(octaves / _OCTAVES, 0.0, 1.0)


def tempo_us_of(feature: tf.Tensor) -> tf.Tensor:
    """The int32 tempo of a feature, which is clipped to 0..1: 125,000 to 4,000,000 microseconds per quarter note."""
    octaves = tf.clip_by_value(tf.cast(feature, tf.float32), 0.0, 1.0) * _OCTAVES
    return tf.cast(tf.round(_SLOWEST_US * tf.pow(2.0, -octaves)), tf.int32)


def unpack_rows(packed: tf.Tensor) -> tf.Tensor:
    """(…, 88) uint8 states of (…, 22) packed rows, like `pianogen.roll.unpack`."""
    onset, hold = tf.split(tf.cast(_unpack_bits(packed), tf.uint8), 2, axis=-1)
    return onset * ONSET + hold * HOLD


def pack_rows(states: tf.Tensor) -> tf.Tensor:
    """(…, 22) uint8 packed rows of (…, 88) states, like `pianogen.roll.pack`."""
    bits = tf.cast(tf.concat([states == ONSET, states == HOLD], axis=-1), tf.int32)
    shape = tf.concat([tf.shape(states)[:-1], [PACKED_BYTES, 8]], axis=0)
    return tf.cast(tf.reduce_sum(tf.reshape(bits, shape) * tf.constant(_BIT_WEIGHTS), axis=-1), tf.uint8)


def _unpack_bits(packed: tf.Tensor) -> tf.Tensor:
    """(…, 176) bool onsets and holds of (…, 22) packed rows."""
    bits = tf.bitwise.bitwise_and(packed[..., tf.newaxis], tf.constant(_BIT_WEIGHTS, tf.uint8)) > 0
    shape = tf.concat([tf.shape(packed)[:-1], [8 * PACKED_BYTES]], axis=0)
    return tf.ensure_shape(tf.reshape(bits, shape), [*packed.shape[:-1], 8 * PACKED_BYTES])
