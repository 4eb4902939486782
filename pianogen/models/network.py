"""The interface of a network for training, evaluation and sampling.

The interface does not depend on the structure of an output, so a network may predict each key on its own or all keys jointly.
"""

import math
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT
from pianogen.window import Window

NUM_UNIFORMS = 3 * NUM_KEYS + 2  # random numbers of one step: one per state of each key, and two for counts


class DecisionRule(Protocol):
    """A rule that turns predictions for each key into states."""

    def __call__(self, logits: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """The states of all keys at one step.

        Args:
            logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
            sounding: (B, 88) bool, keys that sounded at the previous step; only these may be held.
            uniforms: (B, NUM_UNIFORMS) float32, uniform in 0..1.

        Returns:
            (B, 88) uint8 legal states.
        """


def threshold_states(logits: tf.Tensor, sounding: tf.Tensor, threshold: float) -> tf.Tensor:
    """(B, 88) uint8 states: the more probable of ONSET and HOLD if its odds against SILENT exceed those of a threshold.

    Args:
        logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
        sounding: (B, 88) bool, keys that sounded at the previous step; only these may be held.
        threshold: a probability between 0 and 1, exclusive.
    """
    silent, onset = logits[..., SILENT], logits[..., ONSET]
    hold = tf.where(sounding, logits[..., HOLD], -float("inf"))
    sounds = tf.maximum(onset, hold) - silent > math.log(threshold / (1 - threshold))
    return tf.cast(tf.where(sounds, tf.where(onset >= hold, ONSET, HOLD), SILENT), tf.uint8)


class Network(Protocol):
    """A network for piano rolls.

    Attributes:
        keras: the Keras model that holds all weights.
        metrics: names of the metrics, which are the columns of metrics.csv; the first one is "loss".
    """

    keras: keras.Model
    metrics: tuple[str, ...]

    def losses(self, window: Window, training: bool, seed: tf.Tensor = (0, 0)) -> dict[str, tf.Tensor]:
        """The loss, which training minimizes, and the other metrics of each window.

        Args:
            training: whether units are dropped.
            seed: (2,) int32; the only source of randomness.

        Returns:
            (B,) float32 for each of `metrics`.
        """

    def predict(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> Any:
        """The output for the row after each window.

        Args:
            packed: (B, W, 22) uint8.
            tempo_us: (B, W) int32.
        """

    def initial_state(self, batch: int) -> Any:
        """The recurrent state before the first row."""

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: Any) -> tuple[Any, Any]:
        """Reads one row and predicts the next one.

        Args:
            packed: (B, 22) uint8.
            tempo_us: (B,) int32.
            state: the state before this row.

        Returns:
            The output for the next row, and the state after this row.
        """

    def log_likelihood(self, output: Any, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """(B,) float32 log probability of a step in nats, of all keys together, without the tempo.

        Args:
            output: the output of `predict` or `step`.
            states: (B, 88) uint8 states of the step.
            sounding: (B, 88) bool, keys that sounded at the previous step; only these can be held.
        """

    def draw(self, output: Any, sounding: tf.Tensor, uniforms: tf.Tensor, rule: DecisionRule) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws a legal step.

        Args:
            output: the output of `predict` or `step`.
            sounding: (B, 88) bool, keys that sounded at the previous step; only these may be held.
            uniforms: (B, NUM_UNIFORMS) float32, uniform in 0..1; the only source of randomness.
            rule: for a network that predicts each key on its own.

        Returns:
            (B, 88) uint8 states and (B,) int32 tempo_us.
        """
