"""Recurrent layers over the features of rows: what every network here has between its input and its outputs.

Shapes: B batch, T rows, U units. A body reads packed rows (B, T, 22) uint8 and tempo_us (B, T) int32 and gives (B, U) after the
last row or (B, T, U) after every one.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.models.features import Features
from pianogen.models.mlstm import MultiplicativeLSTMCell
from pianogen.models.peephole import PeepholeLSTMCell
from pianogen.roll import PACKED_BYTES

Kind = Callable[[int, bool, str], keras.layers.RNN]


def lstm(units: int, every: bool, name: str) -> keras.layers.RNN:
    """A Keras LSTM; `every` asks for its output at every row."""
    return keras.layers.LSTM(units, return_sequences=every, use_cudnn=_cudnn(), name=name)


def gru(units: int, every: bool, name: str) -> keras.layers.RNN:
    """A Keras GRU; `every` asks for its output at every row."""
    return keras.layers.GRU(units, return_sequences=every, use_cudnn=_cudnn(), name=name)


def rnn(units: int, every: bool, name: str) -> keras.layers.RNN:
    """Plain recurrent units (Elman 1990); `every` asks for their output at every row."""
    return keras.layers.SimpleRNN(units, return_sequences=every, name=name)


def mlstm(units: int, every: bool, name: str) -> keras.layers.RNN:
    """A multiplicative LSTM; `every` asks for its output at every row."""
    return keras.layers.RNN(MultiplicativeLSTMCell(units), return_sequences=every, name=name)


def peephole(units: int, every: bool, name: str) -> keras.layers.RNN:
    """A peephole LSTM; `every` asks for its output at every row."""
    return keras.layers.RNN(PeepholeLSTMCell(units), return_sequences=every, name=name)


def _cudnn() -> bool | str:
    """True where a GPU is visible: what cuDNN cannot do is an error then. "auto" would take the slow loop in silence."""
    return True if tf.config.list_logical_devices("GPU") else "auto"


class Body(Protocol):
    """Reads windows, or rows one after the other, to the same end."""

    def __call__(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        """(B, T, 22) and (B, T) to (B, U), or (B, T, U)."""

    def initial_state(self, batch: int) -> Any:
        """The state before the first row."""

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """(B, 22), (B,) and the state before the row to (B, U) and the state after it."""


class Carried:
    """Layers one above the other, each carrying a state from row to row.

    Args:
        kind: of each layer.
        every: outputs after every row, not after the last alone.
    """

    def __init__(self, features: Features, kind: Kind, units: int, num_layers: int, every: bool, name: str = "body") -> None:
        self._features = features
        last = num_layers - 1
        self._layers: Sequence[Any] = [kind(units, every or i < last, f"{name}_{i}") for i in range(num_layers)]

    def __call__(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        rows = self._features(packed, tempo_us)
        for layer in self._layers:
            rows = layer(rows)
        return rows

    def initial_state(self, batch: int) -> list[list[tf.Tensor]]:
        return [layer.get_initial_state(batch) for layer in self._layers]

    def step(
        self, packed: tf.Tensor, tempo_us: tf.Tensor, state: list[list[tf.Tensor]]
    ) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        row = self._features(packed, tempo_us)
        after = []
        for layer, before in zip(self._layers, state, strict=True):
            row, carried = layer.cell(row, before)
            after.append(list(carried))
        return row, after


class Bidirectional:
    """An LSTM that reads a window forwards and one that reads it backwards, after the last row: (B, 2U).

    What lies ahead in a window cannot be carried, so the state is the rows themselves, the last `window_steps` of them, and
    each step reads them all again.
    """

    def __init__(self, features: Features, units: int, window_steps: int) -> None:
        self._features, self._window_steps = features, window_steps
        self._layer = keras.layers.Bidirectional(lstm(units, False, "lstm"), name="body")

    def __call__(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        return self._layer(self._features(packed, tempo_us))

    def initial_state(self, batch: int) -> dict[str, tf.Tensor]:
        steps = self._window_steps
        return {
            "packed": tf.zeros((batch, steps, PACKED_BYTES), tf.uint8),
            "tempo_us": tf.zeros((batch, steps), tf.int32),
            "num_rows": tf.constant(0),
        }

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        after = {
            "packed": tf.concat([state["packed"][:, 1:], packed[:, tf.newaxis]], axis=1),
            "tempo_us": tf.concat([state["tempo_us"][:, 1:], tempo_us[:, tf.newaxis]], axis=1),
            "num_rows": tf.minimum(state["num_rows"] + 1, self._window_steps),
        }
        first = self._window_steps - after["num_rows"]  # what lies before has not been read yet
        return self(after["packed"][:, first:], after["tempo_us"][:, first:]), after
