"""The interface between a network and training, evaluation and sampling.

None of these stages looks inside an output, so a network that predicts each key on its own and one that scores a whole step
jointly have the same interface.
"""

import math
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT

NUM_UNIFORMS = 3 * NUM_KEYS + 2  # random numbers of one step: three states of each key, and two counts


class DecisionRule(Protocol):
    """A rule that turns predictions for each key into states."""

    def __call__(self, logits: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """The states of all keys, each key decided from its own logits.

        Args:
            logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
            sounding: (B, 88) bool, keys that sounded at the previous step; only these may be held.
            uniforms: (B, NUM_UNIFORMS) float32, uniform in 0..1.

        Returns:
            (B, 88) uint8 legal states.
        """


def threshold_states(logits: tf.Tensor, sounding: tf.Tensor, threshold: float) -> tf.Tensor:
    """(B, 88) uint8: the better of ONSET and HOLD where its probability against silence exceeds a threshold, else SILENT.

    Args:
        logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
        sounding: (B, 88) bool, keys that sounded at the previous step; only these may be held.
        threshold: between 0 and 1.
    """
    silent, onset = logits[..., SILENT], logits[..., ONSET]
    hold = tf.where(sounding, logits[..., HOLD], -float("inf"))
    sounds = tf.maximum(onset, hold) - silent > math.log(threshold / (1 - threshold))
    return tf.cast(tf.where(sounds, tf.where(onset >= hold, ONSET, HOLD), SILENT), tf.uint8)


class Network(Protocol):
    """A network for piano rolls.

    Attributes:
        keras: the Keras model that holds all weights.
    """

    keras: keras.Model

    def losses(self, packed: tf.Tensor, tempo_us: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """What is measured on each window: `loss`, which is minimised, and others that metrics.csv and the curves show.

        Args:
            packed: (B, W + 1, 22) uint8: W rows of input and the row after them.
            tempo_us: (B, W + 1) int32.

        Returns:
            (B,) float32 each, by the same names for every network: loss, categorical_crossentropy, mean_absolute_error.
        """

    def predict(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> Any:
        """The output for the row after each window.

        Args:
            packed: (B, W, 22) uint8.
            tempo_us: (B, W) int32.
        """

    def initial_state(self, batch: int) -> Any:
        """The state before the first row."""

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: Any) -> tuple[Any, Any]:
        """Reads one row and predicts the next.

        Args:
            packed: (B, 22) uint8.
            tempo_us: (B,) int32.
            state: from the row before.

        Returns:
            An output, and the state after this row.
        """

    def log_likelihood(self, output: Any, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """(B,) float32: log probability of a step in nats, all keys together, without the tempo.

        Args:
            output: from `predict` or `step`.
            states: (B, 88) uint8, what followed.
            sounding: (B, 88) bool, keys that sounded at the step before; only these can be held.
        """

    def draw(self, output: Any, sounding: tf.Tensor, uniforms: tf.Tensor, rule: DecisionRule) -> tuple[tf.Tensor, tf.Tensor]:
        """A legal step from an output.

        Args:
            output: from `predict` or `step`.
            sounding: (B, 88) bool, keys that sounded at the step before and may be held.
            uniforms: (B, NUM_UNIFORMS) uniform random numbers; the result depends on no other randomness.
            rule: for a network that predicts each key on its own.

        Returns:
            (B, 88) uint8 states and (B,) int32 tempo_us.
        """
