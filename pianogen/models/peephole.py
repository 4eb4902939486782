"""The peephole LSTM of Gers and Schmidhuber (2000), "Recurrent nets that time and count"."""

from typing import Any

import keras
import tensorflow as tf

from pianogen.models.gates import forget_gate_open


@keras.saving.register_keras_serializable("pianogen")
class PeepholeLSTMCell(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """An LSTM whose gates also see its memory, each unit its own: input and forget gate the last one, the output gate the new.

    So a gate can open at a count that the memory holds while its output is shut, as rhythm needs it.

    Args:
        units: U, the width of output and memory.
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
        self.bias = self.add_weight(shape=(4 * self.units,), initializer=forget_gate_open, name="bias")

    def call(self, row: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(B, F) and the states [(B, U) output, (B, U) memory] to the output and states after it."""
        output, memory = states
        gates = tf.matmul(row, self.kernel) + tf.matmul(output, self.recurrent_kernel) + self.bias
        enter, keep, candidate, leave = tf.split(gates, 4, axis=-1)
        see_enter, see_keep, see_leave = tf.unstack(tf.convert_to_tensor(self.peepholes))
        entering = tf.sigmoid(enter + see_enter * memory) * tf.tanh(candidate)
        memory = tf.sigmoid(keep + see_keep * memory) * memory + entering
        output = tf.sigmoid(leave + see_leave * memory) * tf.tanh(memory)
        return output, [output, memory]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
