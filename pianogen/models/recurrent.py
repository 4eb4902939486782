"""The report's model: one recurrent layer, a linear and a softplus layer of 177, one vector of outputs for keys and tempo.

With an LSTM of 64 it has 104,963 parameters, with a GRU 89,667. It predicts the row after a window by regression: trained
with squared error against zeros and ones, an output is the expectation of its bit, and is read as its probability.
"""

from typing import Any

import keras
import tensorflow as tf

from pianogen.config import ModelConfig
from pianogen.decision import Decision, decide
from pianogen.features import NUM_FEATURES, Features, features, tempo_us_of
from pianogen.roll import NUM_KEYS, PACKED_BYTES

_LAYERS = {"base": keras.layers.LSTM, "gru": keras.layers.GRU}
_LEAST_PROBABILITY = 1e-4


class Recurrent:
    """The network `base` or `gru`.

    Attributes:
        keras: the Keras model: (B, T, 22) uint8 and (B, T) int32 to (B, 177), the features of the row that follows.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._units = config.units
        self._features = Features()
        self._recurrent = _LAYERS[config.name](config.units, name=config.name)
        self._dense = keras.layers.Dense(NUM_FEATURES, name="linear")
        self._output = keras.layers.Dense(NUM_FEATURES, activation="softplus", name="output")
        packed = keras.Input((None, PACKED_BYTES), dtype="uint8", name="packed")
        tempo_us = keras.Input((None,), dtype="int32", name="tempo_us")
        body = self._recurrent(self._features(packed, tempo_us))
        self.keras = keras.Model([packed, tempo_us], self._output(self._dense(body)), name=config.name)

    def losses(self, packed: tf.Tensor, tempo_us: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """What is measured on each window: `loss`, which is minimised, and the report's two other curves.

        Args:
            packed: (B, W + 1, 22) uint8; the last row is the one to predict.
            tempo_us: (B, W + 1) int32.

        Returns:
            (B,) float32 each.
        """
        target = features(packed[:, -1], tempo_us[:, -1])
        output = self.keras([packed[:, :-1], tempo_us[:, :-1]], training=training)
        return {
            "loss": tf.reduce_mean(tf.square(output - target), axis=-1),
            "categorical_crossentropy": keras.losses.categorical_crossentropy(target, output),
            "mean_absolute_error": tf.reduce_mean(tf.abs(output - target), axis=-1),
        }

    def initial_state(self, batch: int) -> list[tf.Tensor]:
        """The recurrent state before the first row."""
        return [tf.zeros((batch, self._units)) for _ in tf.nest.flatten(self._recurrent.cell.state_size)]

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: list[tf.Tensor]) -> tuple[Any, list[tf.Tensor]]:
        """Reads one row and predicts the next.

        Args:
            packed: (B, 22) uint8.
            tempo_us: (B,) int32.
            state: from the row before.

        Returns:
            What `draw` takes, and the state after this row.
        """
        body, state = self._recurrent.cell(self._features(packed, tempo_us), state, training=False)
        return self._output(self._dense(body)), list(state)

    def draw(
        self, output: tf.Tensor, sounding: tf.Tensor, count: tf.Tensor, noise: tf.Tensor, decision: Decision
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """A legal row from a prediction.

        Args:
            output: (B, 177), from `step`.
            sounding: (B, 88) bool, keys that sounded at the step before and may be held.
            count: (B,) int32, how many they were.
            noise: (B, NUM_NOISE) uniform numbers, all the randomness there is.

        Returns:
            (B, 88) uint8 states, (B,) int32 tempo_us, (B,) int32 sounding keys.
        """
        onset, hold = output[:, :NUM_KEYS], output[:, NUM_KEYS : 2 * NUM_KEYS]
        probabilities = tf.stack([1 - onset - hold, onset, hold], axis=-1)
        logits = tf.math.log(tf.clip_by_value(probabilities, _LEAST_PROBABILITY, 1.0))
        states, count = decide(logits, sounding, count, noise, decision)
        return states, tempo_us_of(output[:, -1]), count
