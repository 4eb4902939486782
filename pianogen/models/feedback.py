"""The gated-feedback LSTM of Chung, Gulcehre, Cho and Bengio (2015), "Gated Feedback Recurrent Neural Networks"."""

from typing import Any

import keras
import tensorflow as tf

from pianogen.models.gates import unit_forget_bias


@keras.saving.register_keras_serializable("pianogen")
class GatedFeedbackLSTMCell(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A stack of LSTM layers in which each layer reads the previous outputs of all layers, also of those above it.

    A scalar for each pair of layers, the global reset gate, decides how much of an output is read. The stack is one cell, since
    no layer can read a window before the others.

    Args:
        units: U, the width of output and cell state of each layer.
        num_layers: L, the number of layers.
    """

    def __init__(self, units: int, num_layers: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = self.output_size = units
        self.num_layers = num_layers
        self.state_size = 2 * num_layers * [units]
        self.layers = [
            GatedFeedbackLayer(units, num_layers, i, name=f"layer_{i}", dtype=self.dtype_policy) for i in range(num_layers)
        ]

    def build(self, row_shape: tuple[int, ...]) -> None:
        for layer, row_width in zip(self.layers, (row_shape[-1], *(self.num_layers - 1) * [self.units]), strict=True):
            layer.build(row_width)

    def call(self, row: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(B, F) and the states to (B, U) output of the last layer and the next states.

        The states are the output and the cell state of each layer, each (B, U), from the first layer to the last one.
        """
        outputs = tf.concat(states[::2], axis=-1)
        next_states: list[tf.Tensor] = []
        for layer, cell_state in zip(self.layers, states[1::2], strict=True):
            row, cell_state = layer(row, outputs, cell_state)
            next_states += [row, cell_state]
        return row, next_states

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "num_layers": self.num_layers}


@keras.saving.register_keras_serializable("pianogen")
class GatedFeedbackLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """One layer of a gated-feedback LSTM.

    These are the equations for LSTM units in section 3 of the paper, with biases; j is this layer, i each layer, x the row below
    (the output of layer j - 1 at this step), h_i' the output of layer i at the last step, and h' the concatenation of them all:

        r_i = sigmoid(x w_i + h' u_i + a_i)                        global reset gate from layer i, a scalar
        g = tanh(x W_g + sum over i of r_i (h_i' U_i) + b_g)       candidate
        y = sigmoid(x W_y + h_j' U_y + b_y)                        input, forget and output gate: y is i, f or o
        c = f * c' + i * g,  h = o * tanh(c)

    Args:
        units: U.
        num_layers: L.
        index: j, counted from 0.
    """

    def __init__(self, units: int, num_layers: int, index: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units, self.num_layers, self.index = units, num_layers, index

    def build(self, row_width: int) -> None:
        units, outputs_width = self.units, self.num_layers * self.units
        self.kernel = self.add_weight((row_width, 4 * units), "glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight((units, 3 * units), "orthogonal", name="recurrent_kernel")
        self.feedback_kernel = self.add_weight((outputs_width, units), "orthogonal", name="feedback_kernel")
        self.bias = self.add_weight((4 * units,), unit_forget_bias, name="bias")
        self.reset_kernel = self.add_weight((row_width + outputs_width, self.num_layers), "glorot_uniform", name="reset_kernel")
        self.reset_bias = self.add_weight((self.num_layers,), "zeros", name="reset_bias")

    def call(self, row: tf.Tensor, outputs: tf.Tensor, cell_state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, F) row, (B, L·U) previous outputs of all layers and (B, U) cell state to (B, U) output and cell state."""
        resets = tf.sigmoid(tf.matmul(tf.concat([row, outputs], axis=-1), self.reset_kernel) + self.reset_bias)
        feedback = tf.matmul(outputs * tf.repeat(resets, self.units, axis=-1), self.feedback_kernel)
        own_output = outputs[:, self.index * self.units : (self.index + 1) * self.units]
        own = tf.split(tf.matmul(own_output, self.recurrent_kernel), 3, axis=-1)
        below = tf.split(tf.matmul(row, self.kernel) + self.bias, 4, axis=-1)
        input_gate, forget_gate, output_gate = (tf.sigmoid(below[gate] + own[i]) for i, gate in enumerate((0, 1, 3)))
        cell_state = forget_gate * cell_state + input_gate * tf.tanh(below[2] + feedback)
        return output_gate * tf.tanh(cell_state), cell_state

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "num_layers": self.num_layers, "index": self.index}
