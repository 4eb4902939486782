"""The peephole LSTM of Gers and Schmidhuber (2000), "Recurrent nets that time and count"."""

from typing import Any

import keras
import tensorflow as tf

from pianogen.models.gates import unit_forget_bias


@keras.saving.register_keras_serializable("pianogen")
class PeepholeLSTMCell(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """An LSTM cell whose gates also read the cell state of their unit.

    The input and forget gates read the previous cell state, the output gate the new one. A gate can thus open at a count in the
    cell state while the output gate is closed, which rhythm requires.

    Args:
        units: U, the width of output and cell state.
    """

    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = self.output_size = units
        self.state_size = [units, units]

    def build(self, row_shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(shape=(row_shape[-1], 4 * self.units), initializer="glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 4 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )
        # Zeros: training starts from the LSTM without peepholes.
        self.peepholes = self.add_weight(shape=(3, self.units), initializer="zeros", name="peepholes")
        self.bias = self.add_weight(shape=(4 * self.units,), initializer=unit_forget_bias, name="bias")

    def call(self, row: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(B, F) and the states [(B, U) output, (B, U) cell state] to (B, U) output and the next states."""
        output, cell_state = states
        gates = tf.matmul(row, self.kernel) + tf.matmul(output, self.recurrent_kernel) + self.bias
        input_gate, forget_gate, candidate, output_gate = tf.split(gates, 4, axis=-1)
        input_peephole, forget_peephole, output_peephole = tf.unstack(tf.convert_to_tensor(self.peepholes))
        new_content = tf.sigmoid(input_gate + input_peephole * cell_state) * tf.tanh(candidate)
        cell_state = tf.sigmoid(forget_gate + forget_peephole * cell_state) * cell_state + new_content
        output = tf.sigmoid(output_gate + output_peephole * cell_state) * tf.tanh(cell_state)
        return output, [output, cell_state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
