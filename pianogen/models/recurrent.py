"""Recurrent networks that predict each key on its own: one or more bodies and an output head."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.config import Config
from pianogen.models.bodies import Body
from pianogen.models.features import tempo_us_of
from pianogen.models.losses import COMPARABLE_METRICS
from pianogen.models.network import Decision
from pianogen.roll import HOLD, PACKED_BYTES
from pianogen.window import Window


class Head(Protocol):
    """An output head: maps bodies to an output, and defines its losses, its probabilities and its tempo."""

    def __call__(self, bodies: list[tf.Tensor]) -> Any:
        """(…, U) of each body to an output for the next row."""

    def losses(self, output: Any, packed: tf.Tensor, tempo_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """(…,) float32 for each of COMPARABLE_METRICS and the loss, of outputs for the rows (…, 22) and tempo_us (…,)."""

    def logits(self, output: Any) -> tf.Tensor:
        """(…, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key."""

    def tempo(self, output: Any) -> tf.Tensor:
        """(…) tempo feature."""


class Recurrent:
    """Bodies, and one output head that reads all of them; implements `Network`.

    The network predicts the first row of a piece from a window of silence: it is trained to predict rows that follow windows.

    Attributes:
        keras: the Keras model: (B, T, 22) uint8 and (B, T) int32 to the output of the head for the next row.
    """

    metrics: tuple[str, ...] = ("loss", *COMPARABLE_METRICS)
    reads_context = False
    has_rule = True
    sampling_batch = 32  # on a CPU, larger batches take as long per sample

    def __init__(self, config: Config, bodies: Sequence[Body], head: Head) -> None:
        self._bodies, self._head, self._window_steps = bodies, head, config.data.window_steps
        self.every_row = config.predicts_every_row
        packed = keras.Input((None, PACKED_BYTES), dtype="uint8", name="packed")
        tempo_us = keras.Input((None,), dtype="int32", name="tempo_us")
        self.keras = keras.Model([packed, tempo_us], head([body(packed, tempo_us) for body in bodies]), name=config.model.name)

    def losses(self, window: Window, training: bool, seed: tf.Tensor = (0, 0)) -> dict[str, tf.Tensor]:
        """See `Network.losses`; with `every_row`, means over the rows of a window but the first."""
        del seed  # no unit is dropped
        packed, tempo_us = window.packed, window.tempo_us
        output = self.keras([packed[:, :-1], tempo_us[:, :-1]], training=training)
        if not self.every_row:
            return self._head.losses(output, packed[:, -1], tempo_us[:, -1])
        return {name: tf.reduce_mean(row_losses, axis=1) for name, row_losses in self.row_losses(output, window).items()}

    def row_losses(self, output: Any, window: Window) -> dict[str, tf.Tensor]:
        """See `Network.row_losses`."""
        return self._head.losses(output, window.packed[:, 1:], window.tempo_us[:, 1:])

    def initial_state(self, batch: int, num_steps: int, tempo_us: int) -> list[Any]:
        """See `Network.initial_state`; the states of the bodies after a window of silence but its last row."""
        del num_steps
        silence, tempos = tf.zeros([1, PACKED_BYTES], tf.uint8), tf.fill([1], tempo_us)
        _, state = tf.while_loop(
            lambda row, _: row < self._window_steps - 1,
            lambda row, state: (row + 1, self._advance(silence, tempos, state)[1]),
            (0, [body.initial_state(1) for body in self._bodies]),
        )
        return [tf.nest.map_structure(lambda tensor: tf.repeat(tensor, batch, axis=0), body_state) for body_state in state]

    def read(self, window: Window, state: list[Any]) -> tuple[Any, list[Any]]:
        """See `Network.read`; the bodies read one row after the other, the head all rows at once."""
        packed, tempo_us = tf.transpose(window.packed[:, :-1], [1, 0, 2]), tf.transpose(window.tempo_us[:, :-1])
        no_units = [tf.zeros_like(units) for units in self._advance(packed[0], tempo_us[0], state)[0]]
        units, states = tf.scan(lambda last, row: self._advance(row[0], row[1], last[1]), (packed, tempo_us), (no_units, state))
        output = self._head([tf.transpose(body_units, [1, 0, 2]) for body_units in units])
        return output, tf.nest.map_structure(lambda rows: rows[-1], states)

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, bar_position: tf.Tensor, state: list[Any]) -> tuple[Any, list[Any]]:
        """See `Network.step`; the models of the 2021 report do not read bar positions."""
        del bar_position
        bodies, next_state = self._advance(packed, tempo_us, state)
        return tf.nest.map_structure(lambda row: row[:, tf.newaxis], self._head(bodies)), next_state

    def log_likelihood(self, output: Any, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """See `Network.log_likelihood`; the sum over the keys."""
        is_legal = sounding[..., tf.newaxis] | (tf.range(3) != HOLD)
        log_probabilities = tf.nn.log_softmax(tf.where(is_legal, self._head.logits(output), -float("inf")))
        return tf.reduce_sum(tf.gather(log_probabilities, tf.cast(states, tf.int32), batch_dims=3), axis=-1)

    def draw(self, output: Any, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Network.draw`."""
        if decision.rule is None:
            raise ValueError("a network that predicts each key on its own needs a decision rule")
        rows = (tf.reshape(tensor, [-1, *tensor.shape[2:]]) for tensor in (self._head.logits(output), sounding, uniforms))
        return tf.reshape(decision.rule(*rows), tf.shape(sounding)), tempo_us_of(self._head.tempo(output))

    def _advance(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: list[Any]) -> tuple[list[tf.Tensor], list[Any]]:
        """Reads one row: the outputs of the bodies, and their states after it."""
        steps = [body.step(packed, tempo_us, body_state) for body, body_state in zip(self._bodies, state, strict=True)]
        return [units for units, _ in steps], [next_state for _, next_state in steps]
