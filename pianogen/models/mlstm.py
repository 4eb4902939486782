"""The multiplicative LSTM of Krause, Lu, Murray and Renals (2016, arXiv:1609.07959)."""

from typing import Any

import keras
import tensorflow as tf

from pianogen.models.gates import forget_gate_open


@keras.saving.register_keras_serializable("pianogen")
class MultiplicativeLSTMCell(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """An LSTM whose gates see, in place of the last output h, its product with the input: m = (Wmx x) * (Wmh h).

    So every input has a transition of its own, as every chord has other successors. The other equations are the LSTM's.

    Args:
        units: U, the width of output, memory and m.
    """

    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = self.output_size = units
        self.state_size = [units, units]

    def build(self, row_shape: tuple[int, ...]) -> None:
        # One kernel for all that reads the input: four gates and m.
        self.kernel = self.add_weight(shape=(row_shape[-1], 5 * self.units), initializer="glorot_uniform", name="kernel")
        self.product_kernel = self.add_weight(shape=(self.units, self.units), initializer="orthogonal", name="product_kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 4 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(4 * self.units,), initializer=forget_gate_open, name="bias")

    def call(self, row: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(B, F) and the states [(B, U) output, (B, U) memory] to the output and states after it."""
        output, memory = states
        gates, factor = tf.split(tf.matmul(row, self.kernel), [4 * self.units, self.units], axis=-1)
        product = factor * tf.matmul(output, self.product_kernel)
        gates = gates + tf.matmul(product, self.recurrent_kernel) + self.bias
        enter, keep, candidate, leave = tf.split(gates, 4, axis=-1)
        memory = tf.sigmoid(keep) * memory + tf.sigmoid(enter) * tf.tanh(candidate)
        output = tf.sigmoid(leave) * tf.tanh(memory)
        return output, [output, memory]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
