"""Bodies: the recurrent layers of a network, between its features and its output head.

Shapes: B batch, T rows, U units. A body reads packed rows (B, T, 22) uint8 and tempo_us (B, T) int32. It returns (B, U) after the
last row or (B, T, U) after every row.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.models.features import Features
from pianogen.models.feedback import GatedFeedbackLSTMCell
from pianogen.models.hyperlstm import HyperLSTMCell
from pianogen.models.mlstm import MultiplicativeLSTMCell
from pianogen.models.peephole import PeepholeLSTMCell
from pianogen.roll import PACKED_BYTES

LayerFactory = Callable[[int, bool, str], keras.layers.RNN]


def lstm(units: int, return_sequences: bool, name: str) -> keras.layers.RNN:
    """A Keras LSTM layer."""
    return keras.layers.LSTM(units, return_sequences=return_sequences, use_cudnn=_use_cudnn(), name=name)


def gru(units: int, return_sequences: bool, name: str) -> keras.layers.RNN:
    """A Keras GRU layer."""
    return keras.layers.GRU(units, return_sequences=return_sequences, use_cudnn=_use_cudnn(), name=name)


def rnn(units: int, return_sequences: bool, name: str) -> keras.layers.RNN:
    """A plain recurrent layer (Elman 1990)."""
    return keras.layers.SimpleRNN(units, return_sequences=return_sequences, name=name)


def mlstm(units: int, return_sequences: bool, name: str) -> keras.layers.RNN:
    """A multiplicative LSTM layer."""
    return keras.layers.RNN(MultiplicativeLSTMCell(units), return_sequences=return_sequences, name=name)


def peephole(units: int, return_sequences: bool, name: str) -> keras.layers.RNN:
    """A peephole LSTM layer."""
    return keras.layers.RNN(PeepholeLSTMCell(units), return_sequences=return_sequences, name=name)


def hyperlstm(hyper_units: int, embedding: int) -> LayerFactory:
    """HyperLSTM layers with a smaller LSTM of `hyper_units` and embeddings of width `embedding`."""

    def layer(units: int, return_sequences: bool, name: str) -> keras.layers.RNN:
        return keras.layers.RNN(HyperLSTMCell(units, hyper_units, embedding), return_sequences=return_sequences, name=name)

    return layer


def feedback(num_layers: int) -> LayerFactory:
    """Gated-feedback LSTMs; each of these Keras layers contains the `num_layers` layers of the stack."""

    def layer(units: int, return_sequences: bool, name: str) -> keras.layers.RNN:
        return keras.layers.RNN(GatedFeedbackLSTMCell(units, num_layers), return_sequences=return_sequences, name=name)

    return layer


def _use_cudnn() -> bool | str:
    """True if a GPU is visible, so that a layer that cuDNN does not support is an error; "auto" would fall back unnoticed."""
    return True if tf.config.list_logical_devices("GPU") else "auto"


class Body(Protocol):
    """A body reads windows at once, or one row after the other with the same result."""

    def __call__(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        """(B, T, 22) and (B, T) to (B, U) or (B, T, U)."""

    def initial_state(self, batch: int) -> Any:
        """The state before the first row."""

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """(B, 22), (B,) and the state before the row to (B, U) and the state after it."""


class Unidirectional:
    """A stack of recurrent layers that carry their state from row to row.

    Args:
        layer: creates one layer.
        every_row: whether the body returns (B, T, U) after every row, or (B, U) after the last one.
    """

    def __init__(
        self, features: Features, layer: LayerFactory, units: int, num_layers: int, every_row: bool, name: str = "body"
    ) -> None:
        self._features = features
        last = num_layers - 1
        self._layers: Sequence[Any] = [layer(units, every_row or i < last, f"{name}_{i}") for i in range(num_layers)]

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
        next_state = []
        for layer, layer_state in zip(self._layers, state, strict=True):
            row, next_layer_state = layer.cell(row, layer_state)
            next_state.append(list(next_layer_state))
        return row, next_state


class Bidirectional:
    """An LSTM that reads a window forwards and one that reads it backwards; the body returns (B, 2U) after the last row.

    The backward LSTM starts at the last row, so no recurrent state can be carried. The state is the last `window_steps` rows
    themselves, and each step reads all of them again. Before the first row, the state is silence.
    """

    def __init__(self, features: Features, units: int, window_steps: int) -> None:
        self._features, self._window_steps = features, window_steps
        self._layer = keras.layers.Bidirectional(lstm(units, False, "lstm"), name="body")
        # XLA compiles the steps of samples. It can compile a loop over these cells, but not the LSTM of cuDNN.
        self._forward = keras.layers.RNN(self._layer.forward_layer.cell)
        self._backward = keras.layers.RNN(self._layer.backward_layer.cell, go_backwards=True)

    def __call__(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        return self._layer(self._features(packed, tempo_us))

    def initial_state(self, batch: int) -> dict[str, tf.Tensor]:
        steps = self._window_steps
        return {"packed": tf.zeros((batch, steps, PACKED_BYTES), tf.uint8), "tempo_us": tf.ones((batch, steps), tf.int32)}

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, state: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        next_state = {
            "packed": tf.concat([state["packed"][:, 1:], packed[:, tf.newaxis]], axis=1),
            "tempo_us": tf.concat([state["tempo_us"][:, 1:], tempo_us[:, tf.newaxis]], axis=1),
        }
        rows = self._features(next_state["packed"], next_state["tempo_us"])
        return tf.concat([self._forward(rows), self._backward(rows)], axis=-1), next_state
