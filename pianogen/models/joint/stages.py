"""The decisions of the joint model: layers that give the logits of each key of a row.

`precompute` computes, once for a row, the part of the logits that does not depend on the decisions of the stage. From this part
and the decisions for lower keys, `logits` computes the logits of every key.

Shapes: key_units and precomputed are (T, B, K, U); states, sounding and the rest are (T, B, K).
"""

from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from pianogen.models.joint.banded import Banded
from pianogen.models.joint.features import one_hot_count
from pianogen.models.joint.layers import KeyTables, ResidualBlocks, drop, linear, over_rows
from pianogen.roll import HOLD, ONSET, SILENT

_BELOW = 36  # lower keys that a decision reads
_HOLD_REACH = 24  # keys below and above whose holds an onset reads
_MOST_COUNTED = 7


class Stage(Protocol):
    """A stage; its arguments after the first one are those of the class."""

    def precompute(self, key_units: Any, semitones: tf.Tensor, *decided: tf.Tensor) -> Any:
        """All that does not depend on the decisions."""

    def logits(self, precomputed: Any, *decided: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """(T, B, K, …) logits; `seed` is that of the dropout, None for none."""


class HoldStage(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Whether each sounding key is held, given which of the lower ones are."""

    def __init__(self, units: int, keys: range) -> None:
        super().__init__(name="holds")
        self._from_body = linear(units, "from_body")
        self._below = Banded(_BELOW, 0, units, includes_own=False, scale=0.5 / np.sqrt(2 * _BELOW), name="below")
        self._tables = KeyTables(keys, units, name="tables")
        self._logits = ResidualBlocks(1, units, 1, bias=2.0, name="logits")

    def precompute(self, key_units: tf.Tensor, semitones: tf.Tensor) -> tf.Tensor:
        """See `Stage.precompute`."""
        return self._from_body(key_units) + self._tables(semitones)

    def logits(self, precomputed: tf.Tensor, held: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """(T, B, K) logits of a hold; those of keys that do not sound mean nothing. This stage has no dropout."""
        del seed
        channels = tf.cast(tf.stack([held, sounding & ~held], axis=-1), tf.float32)
        units = precomputed + over_rows(self._below, channels)
        return self._logits(tf.nn.relu(units))[..., 0]


class OnsetStage(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Whether each key that is not held has an onset, given all holds and the lower onsets."""

    def __init__(self, units: int, keys: range, dropout: float) -> None:
        super().__init__(name="onsets")
        self._dropout = dropout
        self._from_body = linear(units, "from_body")
        self._below = Banded(_BELOW, 0, units, includes_own=False, name="below")
        self._holds = Banded(_HOLD_REACH, _HOLD_REACH, units, name="holds")
        self._hold_counts = linear(units, "hold_counts", gain=0.5, bias=None)
        self._tables = KeyTables(keys, units, name="tables")
        self._logits = ResidualBlocks(2, units, 1, bias=-3.5, name="logits")

    def precompute(self, key_units: tf.Tensor, semitones: tf.Tensor, held: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """See `Stage.precompute`."""
        channels = tf.cast(tf.stack([held, sounding & ~held], axis=-1), tf.float32)
        counts = one_hot_count(tf.reduce_sum(channels, axis=-2), _MOST_COUNTED)
        counts = tf.reshape(counts, [*tf.unstack(tf.shape(counts)[:2]), 1, 2 * (_MOST_COUNTED + 1)])
        return self._from_body(key_units) + over_rows(self._holds, channels) + self._hold_counts(counts) + self._tables(semitones)

    def logits(self, precomputed: tf.Tensor, onset: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """(T, B, K) logits of an onset; those of held keys mean nothing."""
        channels = tf.cast(onset, tf.float32)[..., tf.newaxis]
        units = precomputed + over_rows(self._below, channels)
        return self._logits(drop(tf.nn.relu(units), self._dropout, seed))[..., 0]


class StateStage(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The state of each key, given those of the lower keys."""

    def __init__(self, units: int, keys: range, dropout: float) -> None:
        super().__init__(name="states")
        self._dropout = dropout
        self._from_body = linear(units, "from_body")
        self._below = Banded(_BELOW, 0, units, includes_own=False, name="below")
        self._tables = KeyTables(keys, units, name="tables")
        self._logits = ResidualBlocks(2, units, 2, bias=-3.5, name="logits")

    def precompute(self, key_units: tf.Tensor, semitones: tf.Tensor) -> tf.Tensor:
        """See `Stage.precompute`."""
        return self._from_body(key_units) + self._tables(semitones)

    def logits(self, precomputed: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """(T, B, K, 3) logits of SILENT, ONSET, HOLD, of which a hold of a key that does not sound is impossible."""
        channels = [states == ONSET, states == HOLD, sounding & (states == SILENT)]
        lower = tf.cast(tf.stack(channels, axis=-1), tf.float32)
        units = precomputed + over_rows(self._below, lower)
        onset, hold = tf.unstack(self._logits(drop(tf.nn.relu(units), self._dropout, seed)), axis=-1)
        return tf.stack([tf.zeros_like(onset), onset, tf.where(sounding, hold, -float("inf"))], axis=-1)
