"""Networks that judge each key on its own: recurrent layers, and a readout of what they say of the row that follows."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.models.body import Body
from pianogen.models.features import tempo_us_of
from pianogen.models.network import DecisionRule
from pianogen.roll import HOLD, PACKED_BYTES


class Readout(Protocol):
    """From what bodies give to an output, and what the output means."""

    def __call__(self, states: list[tf.Tensor]) -> Any:
        """(…, U) of each body to an output for the row that follows."""

    def losses(self, output: Any, packed: tf.Tensor, tempo_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """(…,) float32 each, for the rows (…, 22) and (…,) that followed."""

    def logits(self, output: Any) -> tf.Tensor:
        """(B, 88, 3): log probabilities of SILENT, ONSET, HOLD, up to a constant per key."""

    def tempo(self, output: Any) -> tf.Tensor:
        """(B,): the tempo feature."""


class Recurrent:
    """Bodies, and one readout of them all.

    Args:
        every: the row after each row of a window is predicted, not the row after its last alone.

    Attributes:
        keras: the Keras model: (B, T, 22) uint8 and (B, T) int32 to the readout's output for the row that follows.
    """

    def __init__(self, name: str, bodies: Sequence[Body], readout: Readout, every: bool) -> None:
        self._bodies, self._readout, self._every = bodies, readout, every
        packed = keras.Input((None, PACKED_BYTES), dtype="uint8", name="packed")
        tempo_us = keras.Input((None,), dtype="int32", name="tempo_us")
        states = [body(packed, tempo_us) for body in bodies]
        self.keras = keras.Model([packed, tempo_us], readout(states), name=name)

    def losses(self, packed: tf.Tensor, tempo_us: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """What is measured on each window: `loss`, which is minimised, and the report's two other curves.

        Args:
            packed: (B, W + 1, 22) uint8; the last row is predicted, or all but the first.
            tempo_us: (B, W + 1) int32.

        Returns:
            (B,) float32 each; means over the predicted rows.
        """
        output = self.keras([packed[:, :-1], tempo_us[:, :-1]], training=training)
        if not self._every:
            return self._readout.losses(output, packed[:, -1], tempo_us[:, -1])
        losses = self._readout.losses(output, packed[:, 1:], tempo_us[:, 1:])
        return {name: tf.reduce_mean(of_rows, axis=1) for name, of_rows in losses.items()}

    def predict(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> Any:
        """The output for the row after (B, W, 22) and (B, W)."""
        output = self.keras([packed, tempo_us], training=False)
        return tf.nest.map_structure(lambda rows: rows[:, -1], output) if self._every else output

    def initial_state(self, batch: int) -> list[Any]:
        """The state before the first row, of each body."""
        return [body.initial_state(batch) for body in self._bodies]

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: list[Any]) -> tuple[Any, list[Any]]:
        """Reads one row, (B, 22) and (B,), and predicts the next: its output, and the state after this row."""
        read = [body.step(packed, tempo_us, before) for body, before in zip(self._bodies, state, strict=True)]
        return self._readout([units for units, _ in read]), [after for _, after in read]

    def log_likelihood(self, output: Any, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """(B,) float32: log probability in nats of the states (B, 88), keys apart, where only `sounding` keys can be held."""
        is_possible = sounding[..., tf.newaxis] | (tf.range(3) != HOLD)
        log_probabilities = tf.nn.log_softmax(tf.where(is_possible, self._readout.logits(output), -float("inf")))
        of_keys = tf.gather(log_probabilities, tf.cast(states, tf.int32), batch_dims=2)
        return tf.reduce_sum(of_keys, axis=-1)

    def draw(self, output: Any, sounding: tf.Tensor, uniforms: tf.Tensor, rule: DecisionRule) -> tuple[tf.Tensor, tf.Tensor]:
        """A legal step from an output; see `Network.draw`."""
        return rule(self._readout.logits(output), sounding, uniforms), tempo_us_of(self._readout.tempo(output))
