"""Recurrent networks that predict each key on its own: one or more bodies and an output head."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.models.bodies import Body
from pianogen.models.features import tempo_us_of
from pianogen.models.losses import COMPARABLE_METRICS
from pianogen.models.network import DecisionRule
from pianogen.roll import HOLD, PACKED_BYTES
from pianogen.window import Window


class Head(Protocol):
    """An output head: maps bodies to an output, and defines its losses, its probabilities and its tempo."""

    def __call__(self, bodies: list[tf.Tensor]) -> Any:
        """(…, U) of each body to an output for the next row."""

    def losses(self, output: Any, packed: tf.Tensor, tempo_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """(…,) float32 for each of COMPARABLE_METRICS and the loss, of outputs for the rows (…, 22) and tempo_us (…,)."""

    def logits(self, output: Any) -> tf.Tensor:
        """(B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key."""

    def tempo(self, output: Any) -> tf.Tensor:
        """(B,) tempo feature."""


class Recurrent:
    """Bodies, and one output head that reads all of them; implements `Network`.

    Args:
        every_row: whether training predicts the row after every row of a window, or only the row after the window.

    Attributes:
        keras: the Keras model: (B, T, 22) uint8 and (B, T) int32 to the output of the head for the next row.
    """

    metrics: tuple[str, ...] = ("loss", *COMPARABLE_METRICS)

    def __init__(self, name: str, bodies: Sequence[Body], head: Head, every_row: bool) -> None:
        self._bodies, self._head, self._every_row = bodies, head, every_row
        packed = keras.Input((None, PACKED_BYTES), dtype="uint8", name="packed")
        tempo_us = keras.Input((None,), dtype="int32", name="tempo_us")
        self.keras = keras.Model([packed, tempo_us], head([body(packed, tempo_us) for body in bodies]), name=name)

    def losses(self, window: Window, training: bool, seed: tf.Tensor = (0, 0)) -> dict[str, tf.Tensor]:
        """See `Network.losses`; with `every_row`, means over the rows of a window but the first."""
        del seed  # no unit is dropped
        packed, tempo_us = window.packed, window.tempo_us
        output = self.keras([packed[:, :-1], tempo_us[:, :-1]], training=training)
        if not self._every_row:
            return self._head.losses(output, packed[:, -1], tempo_us[:, -1])
        losses = self._head.losses(output, packed[:, 1:], tempo_us[:, 1:])
        return {name: tf.reduce_mean(row_losses, axis=1) for name, row_losses in losses.items()}

    def predict(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> Any:
        """See `Network.predict`."""
        output = self.keras([packed, tempo_us], training=False)
        return tf.nest.map_structure(lambda rows: rows[:, -1], output) if self._every_row else output

    def initial_state(self, batch: int) -> list[Any]:
        """The states of the bodies before the first row."""
        return [body.initial_state(batch) for body in self._bodies]

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: list[Any]) -> tuple[Any, list[Any]]:
        """See `Network.step`."""
        steps = [body.step(packed, tempo_us, body_state) for body, body_state in zip(self._bodies, state, strict=True)]
        return self._head([units for units, _ in steps]), [next_state for _, next_state in steps]

    def log_likelihood(self, output: Any, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """See `Network.log_likelihood`; the sum over the keys."""
        is_legal = sounding[..., tf.newaxis] | (tf.range(3) != HOLD)
        log_probabilities = tf.nn.log_softmax(tf.where(is_legal, self._head.logits(output), -float("inf")))
        return tf.reduce_sum(tf.gather(log_probabilities, tf.cast(states, tf.int32), batch_dims=2), axis=-1)

    def draw(self, output: Any, sounding: tf.Tensor, uniforms: tf.Tensor, rule: DecisionRule) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Network.draw`."""
        return rule(self._head.logits(output), sounding, uniforms), tempo_us_of(self._head.tempo(output))
