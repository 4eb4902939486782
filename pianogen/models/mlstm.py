"""The multiplicative LSTM of Krause, Lu, Murray and Renals (2016, arXiv:1609.07959)."""

from typing import Any

import keras
import tensorflow as tf

from pianogen.models.gates import unit_forget_bias


@keras.saving.register_keras_serializable("pianogen")
class MultiplicativeLSTMCell(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """An LSTM cell whose gates read m = (Wmx x) * (Wmh h) instead of the previous output h; x is the input.

    Each input thus has its own recurrent transition, as each chord has its own successors. The other equations are those of the
    LSTM.

    Args:
        units: U, the width of output, cell state and m.
    """

    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = self.output_size = units
        self.state_size = [units, units]

    def build(self, row_shape: tuple[int, ...]) -> None:
        # One kernel for everything that reads the input: four gates and m.
        self.kernel = self.add_weight(shape=(row_shape[-1], 5 * self.units), initializer="glorot_uniform", name="kernel")
        self.product_kernel = self.add_weight(shape=(self.units, self.units), initializer="orthogonal", name="product_kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 4 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(4 * self.units,), initializer=unit_forget_bias, name="bias")

    def call(self, row: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(B, F) and the states [(B, U) output, (B, U) cell state] to (B, U) output and the next states."""
        output, cell_state = states
        gates, factor = tf.split(tf.matmul(row, self.kernel), [4 * self.units, self.units], axis=-1)
        product = factor * tf.matmul(output, self.product_kernel)
        gates = gates + tf.matmul(product, self.recurrent_kernel) + self.bias
        input_gate, forget_gate, candidate, output_gate = tf.split(gates, 4, axis=-1)
        cell_state = tf.sigmoid(forget_gate) * cell_state + tf.sigmoid(input_gate) * tf.tanh(candidate)
        output = tf.sigmoid(output_gate) * tf.tanh(cell_state)
        return output, [output, cell_state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
