"""What training, evaluation and sampling ask of a network, whatever it predicts and however it draws.

None of them looks inside an output: a network that predicts each key on its own and one that scores a step jointly, and draws
it key by key, are the same to them.
"""

from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.sampling.decision import Decision


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

    def draw(self, output: Any, sounding: tf.Tensor, noise: tf.Tensor, decision: Decision) -> tuple[tf.Tensor, tf.Tensor]:
        """A legal row from an output.

        Args:
            output: from `predict` or `step`.
            sounding: (B, 88) bool, keys that sounded at the step before and may be held.
            noise: (B, NUM_NOISE) uniform numbers, all the randomness there is.

        Returns:
            (B, 88) uint8 states and (B,) int32 tempo_us.
        """
