"""Heads of the joint model: the exact probability of all keys of a row together, as a product over keys from low to high.

The two-stage head first decides for every sounding key whether it is held, given the holds of the lower keys; then for every
other key whether it has an onset, given all holds and the lower onsets. The one-pass head decides between the three states of a
key, given those of the lower keys. In training, each stage is one parallel pass over the true states of a row.

Shapes: key_units are (T, B, K, U); states, sounding and the rest are (T, B, K).
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import keras
import tensorflow as tf

from pianogen.models.joint.ensemble import MeanStage
from pianogen.models.joint.features import use_keys
from pianogen.models.joint.fixed_point import draw_bits, draw_classes, fixed_point
from pianogen.models.joint.stages import HoldStage, OnsetStage, Stage, StateStage
from pianogen.models.network import Decision
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT


class Head(Protocol):
    """A distribution over the states of all keys of a row."""

    def log_likelihood(
        self, key_units: Any, semitones: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """(T, B) float32 log probability of states, in nats.

        Args:
            states: uint8.
            sounding: bool, keys that sound in the row before; only these can be held.
            seed: of the dropout; None for none.
        """

    def draw(
        self, key_units: Any, semitones: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision
    ) -> tf.Tensor:
        """(T, B, K) uint8 states, drawn with (T, B, NUM_UNIFORMS) uniform numbers."""

    @classmethod
    def mean_of(cls, heads: Sequence[Self]) -> Self:
        """The head whose logits are the means of those of other heads; its key_units are a list with those of each."""


class TwoStageHead(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The two-stage head.

    Args:
        keys: the keys in use.
    """

    def __init__(self, keys: range, hold_stage: Stage, onset_stage: Stage) -> None:
        super().__init__(name="head")
        self.keys, self.hold_stage, self.onset_stage = keys, hold_stage, onset_stage

    def log_likelihood(
        self, key_units: Any, semitones: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """See `Head.log_likelihood`."""
        held, onset = states == HOLD, states == ONSET
        hold_logits = self.hold_stage.logits(self.hold_stage.precompute(key_units, semitones), held, sounding, seed=seed)
        onset_logits = self.onset_stage.logits(
            self.onset_stage.precompute(key_units, semitones, held, sounding), onset, seed=seed
        )
        return _log_likelihood_of_bits(held, hold_logits, sounding) + _log_likelihood_of_bits(onset, onset_logits, ~held)

    def draw(
        self, key_units: Any, semitones: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision
    ) -> tf.Tensor:
        """See `Head.draw`."""
        hold_noise, onset_noise = (use_keys(uniforms[..., first : first + NUM_KEYS], self.keys) for first in (0, NUM_KEYS))
        for_holds = self.hold_stage.precompute(key_units, semitones)

        def decide_holds(held: tf.Tensor) -> tf.Tensor:
            return sounding & draw_bits(self.hold_stage.logits(for_holds, held, sounding), hold_noise, decision)

        held = fixed_point(decide_holds, sounding)
        for_onsets = self.onset_stage.precompute(key_units, semitones, held, sounding)

        def decide_onsets(onset: tf.Tensor) -> tf.Tensor:
            return ~held & draw_bits(self.onset_stage.logits(for_onsets, onset), onset_noise, decision)

        onset = fixed_point(decide_onsets, tf.zeros_like(held))
        return tf.cast(tf.where(held, HOLD, tf.where(onset, ONSET, SILENT)), tf.uint8)

    @classmethod
    def mean_of(cls, heads: Sequence[Self]) -> Self:
        """See `Head.mean_of`."""
        hold_stages, onset_stages = [head.hold_stage for head in heads], [head.onset_stage for head in heads]
        return cls(heads[0].keys, MeanStage(hold_stages), MeanStage(onset_stages))


class OnePassHead(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The one-pass head: the three states of each key, given those of the lower keys.

    Args:
        keys: the keys in use.
    """

    def __init__(self, keys: range, state_stage: Stage) -> None:
        super().__init__(name="head")
        self.keys, self.state_stage = keys, state_stage

    def log_likelihood(
        self, key_units: Any, semitones: tf.Tensor, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """See `Head.log_likelihood`."""
        logits = self.state_stage.logits(self.state_stage.precompute(key_units, semitones), states, sounding, seed=seed)
        log_probabilities = tf.nn.log_softmax(logits)
        return tf.reduce_sum(tf.gather(log_probabilities, tf.cast(states, tf.int32), batch_dims=3), axis=-1)

    def draw(
        self, key_units: Any, semitones: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision
    ) -> tf.Tensor:
        """See `Head.draw`."""
        precomputed, noise = self.state_stage.precompute(key_units, semitones), use_keys(uniforms[..., :NUM_KEYS], self.keys)

        def decide(states: tf.Tensor) -> tf.Tensor:
            return tf.cast(draw_classes(self.state_stage.logits(precomputed, states, sounding), noise, decision), tf.uint8)

        return fixed_point(decide, tf.cast(sounding, tf.uint8) * HOLD)

    @classmethod
    def mean_of(cls, heads: Sequence[Self]) -> Self:
        """See `Head.mean_of`."""
        return cls(heads[0].keys, MeanStage([head.state_stage for head in heads]))


def two_stage_head(units: int, keys: range, dropout: float) -> Head:
    """A two-stage head of U units, whose onset stage drops a share of them in training."""
    return TwoStageHead(keys, HoldStage(units, keys), OnsetStage(units, keys, dropout))


def one_pass_head(units: int, keys: range, dropout: float) -> Head:
    """A one-pass head of U units, a share of which training drops."""
    return OnePassHead(keys, StateStage(units, keys, dropout))


def _log_likelihood_of_bits(bits: tf.Tensor, logits: tf.Tensor, is_decided: tf.Tensor) -> tf.Tensor:
    """(T, B) sums over the keys for which there is a decision."""
    errors = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(bits, tf.float32), logits)
    return -tf.reduce_sum(errors * tf.cast(is_decided, tf.float32), axis=-1)
