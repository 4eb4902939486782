"""Heads of the joint model: the exact probability of all keys of a row together, as a product over keys from low to high.

The two-stage head first decides for every sounding key whether it is held, given the holds of the lower keys; then for every
other key whether it has an onset, given all holds and the lower onsets. The one-pass head decides between the three states of a
key, given those of the lower keys. In training, each stage is one parallel pass over the true states of a row.

Shapes: z is (T, B, K, U); states, sounding and the rest are (T, B, K).
"""

from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from pianogen.models.joint.banded import Banded
from pianogen.models.joint.features import one_hot_count, use_keys
from pianogen.models.joint.fixed_point import draw_bits, draw_classes, fixed_point
from pianogen.models.joint.layers import KeyTables, ResidualBlocks, drop, linear, over_rows
from pianogen.models.network import Decision
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT

_BELOW = 36  # lower keys that a decision reads
_HOLD_REACH = 24  # keys below and above whose holds an onset reads
_MOST_COUNTED = 7


class Head(Protocol):
    """A distribution over the states of all keys of a row."""

    def log_likelihood(
        self, z: tf.Tensor, semitones: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """(T, B) float32 log probability of states, in nats.

        Args:
            states: uint8.
            sounding: bool, keys that sound in the row before; only these can be held.
            seed: of the dropout; None for none.
        """

    def draw(self, z: tf.Tensor, semitones: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tf.Tensor:
        """(T, B, K) uint8 states, drawn with (T, B, NUM_UNIFORMS) uniform numbers."""


class TwoStageHead(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The two-stage head.

    Args:
        units: U.
        keys: the keys in use.
        dropout: share of the units of the onset stage that training drops.
    """

    def __init__(self, units: int, keys: range, dropout: float) -> None:
        super().__init__(name="head")
        self._keys = keys
        self.hold_stage = _HoldStage(units, keys)
        self.onset_stage = _OnsetStage(units, keys, dropout)

    def log_likelihood(
        self, z: tf.Tensor, semitones: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        held, onset = states == HOLD, states == ONSET
        return self.hold_stage.log_likelihood(z, semitones, held, sounding) + self.onset_stage.log_likelihood(
            z, semitones, onset, held, sounding, seed
        )

    def draw(self, z: tf.Tensor, semitones: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tf.Tensor:
        hold_noise, onset_noise = (use_keys(uniforms[..., first : first + NUM_KEYS], self._keys) for first in (0, NUM_KEYS))
        held = self.hold_stage.draw(z, semitones, sounding, hold_noise, decision)
        onset = self.onset_stage.draw(z, semitones, held, sounding, onset_noise, decision)
        return tf.cast(tf.where(held, HOLD, tf.where(onset, ONSET, SILENT)), tf.uint8)


class _HoldStage(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Whether each sounding key goes on, given the lower ones."""

    def __init__(self, units: int, keys: range) -> None:
        super().__init__(name="holds")
        self._from_body = linear(units, "from_body")
        self._below = Banded(_BELOW, 0, units, includes_own=False, scale=0.5 / np.sqrt(2 * _BELOW), name="below")
        self._tables = KeyTables(keys, units, name="tables")
        self._logits = ResidualBlocks(1, units, 1, bias=2.0, name="logits")

    def log_likelihood(self, z: tf.Tensor, semitones: tf.Tensor, held: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        logits = self.decide(self.given_past(z, semitones), held, sounding)
        errors = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(held, tf.float32), logits)
        return -tf.reduce_sum(errors * tf.cast(sounding, tf.float32), axis=-1)

    def draw(self, z: tf.Tensor, semitones: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tf.Tensor:
        given = self.given_past(z, semitones)
        return fixed_point(lambda held: sounding & draw_bits(self.decide(given, held, sounding), uniforms, decision), sounding)

    def decide(self, given: tf.Tensor, held: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """(T, B, K) logits of a hold; those of keys that do not sound mean nothing."""
        channels = tf.cast(tf.stack([held, sounding & ~held], axis=-1), tf.float32)
        units = given + over_rows(self._below, channels)
        return self._logits(tf.nn.relu(units))[..., 0]

    def given_past(self, z: tf.Tensor, semitones: tf.Tensor) -> tf.Tensor:
        """(T, B, K, U): all that does not depend on the holds of the row."""
        return self._from_body(z) + self._tables(semitones)


class _OnsetStage(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Whether each key that is not held starts a note, given all holds and the lower onsets."""

    def __init__(self, units: int, keys: range, dropout: float) -> None:
        super().__init__(name="onsets")
        self._dropout = dropout
        self._from_body = linear(units, "from_body")
        self._below = Banded(_BELOW, 0, units, includes_own=False, name="below")
        self._holds = Banded(_HOLD_REACH, _HOLD_REACH, units, name="holds")
        self._hold_counts = linear(units, "hold_counts", gain=0.5, bias=None)
        self._tables = KeyTables(keys, units, name="tables")
        self._logits = ResidualBlocks(2, units, 1, bias=-3.5, name="logits")

    def log_likelihood(
        self, z: tf.Tensor, semitones: tf.Tensor, onset: tf.Tensor, held: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None
    ) -> tf.Tensor:
        given = self.given_holds(z, semitones, held, sounding)
        logits = self.decide(given, onset, seed)
        errors = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(onset, tf.float32), logits)
        return -tf.reduce_sum(errors * tf.cast(~held, tf.float32), axis=-1)

    def draw(
        self, z: tf.Tensor, semitones: tf.Tensor, held: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision
    ) -> tf.Tensor:
        given = self.given_holds(z, semitones, held, sounding)
        return fixed_point(
            lambda onset: ~held & draw_bits(self.decide(given, onset, None), uniforms, decision), tf.zeros_like(held)
        )

    def given_holds(self, z: tf.Tensor, semitones: tf.Tensor, held: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """(T, B, K, U): all that does not depend on the onsets of the row."""
        channels = tf.cast(tf.stack([held, sounding & ~held], axis=-1), tf.float32)
        counts = one_hot_count(tf.reduce_sum(channels, axis=-2), _MOST_COUNTED)
        counts = tf.reshape(counts, [*tf.unstack(tf.shape(counts)[:2]), 1, 2 * (_MOST_COUNTED + 1)])
        return self._from_body(z) + over_rows(self._holds, channels) + self._hold_counts(counts) + self._tables(semitones)

    def decide(self, given: tf.Tensor, onset: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """(T, B, K) logits of an onset; those of held keys mean nothing."""
        channels = tf.cast(onset, tf.float32)[..., tf.newaxis]
        units = given + over_rows(self._below, channels)
        return self._logits(drop(tf.nn.relu(units), self._dropout, seed))[..., 0]


class OnePassHead(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The one-pass head: the three states of each key, given those of the lower keys.

    Args:
        units: U.
        keys: the keys in use.
        dropout: share of the units that training drops.
    """

    def __init__(self, units: int, keys: range, dropout: float) -> None:
        super().__init__(name="head")
        self._keys, self._dropout = keys, dropout
        self._from_body = linear(units, "from_body")
        self._below = Banded(_BELOW, 0, units, includes_own=False, name="below")
        self._tables = KeyTables(keys, units, name="tables")
        self._logits = ResidualBlocks(2, units, 2, bias=-3.5, name="logits")

    def log_likelihood(
        self, z: tf.Tensor, semitones: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        logits = self.decide(self.given_past(z, semitones), states, sounding, seed)
        log_probabilities = tf.nn.log_softmax(logits)
        return tf.reduce_sum(tf.gather(log_probabilities, tf.cast(states, tf.int32), batch_dims=3), axis=-1)

    def draw(self, z: tf.Tensor, semitones: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tf.Tensor:
        given, noise = self.given_past(z, semitones), use_keys(uniforms[..., :NUM_KEYS], self._keys)

        def decide(states: tf.Tensor) -> tf.Tensor:
            return tf.cast(draw_classes(self.decide(given, states, sounding, None), noise, decision), tf.uint8)

        return fixed_point(decide, tf.cast(sounding, tf.uint8) * HOLD)

    def given_past(self, z: tf.Tensor, semitones: tf.Tensor) -> tf.Tensor:
        """(T, B, K, U): all that does not depend on the states of the row."""
        return self._from_body(z) + self._tables(semitones)

    def decide(self, given: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """(T, B, K, 3) logits of SILENT, ONSET, HOLD, of which a hold of a key that does not sound is impossible."""
        channels = [states == ONSET, states == HOLD, sounding & (states == SILENT)]
        lower = tf.cast(tf.stack(channels, axis=-1), tf.float32)
        units = given + over_rows(self._below, lower)
        onset, hold = tf.unstack(self._logits(drop(tf.nn.relu(units), self._dropout, seed)), axis=-1)
        return tf.stack([tf.zeros_like(onset), onset, tf.where(sounding, hold, -float("inf"))], axis=-1)
