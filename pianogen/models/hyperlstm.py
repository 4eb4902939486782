"""The HyperLSTM of Ha, Dai and Le (2016), "HyperNetworks", arXiv:1609.09106, with layer normalization."""

from typing import Any

import keras
import tensorflow as tf

from pianogen.models.gates import unit_forget_bias

_EPSILON = 1e-3  # added to the variance in the reference implementation of the paper, and the default of Keras


@keras.saving.register_keras_serializable("pianogen")
class HyperLSTMCell(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """An LSTM cell whose weights change at each step: a smaller LSTM scales their rows and adds to the biases.

    These are equations 10 to 13 in appendix A.2.2 of the paper, without dropout. ^ marks the smaller LSTM, ' the states before
    the step, * a product of elements, LN layer normalization with a gain and a shift per unit (Ba et al. 2016), and y each of
    the gates i, f, o and the candidate g:

        y^ = LN(h^' W^_h + (h', x) W^_x + b^)                                                    (10)
        c^ = sigmoid(f^) * c^' + sigmoid(i^) * tanh(g^),  h^ = sigmoid(o^) * tanh(LN(c^))        (10)
        z_h = h^ V_h + v_h,  z_x = h^ V_x + v_x,  z_b = h^ V_b                                   (11)
        y = LN((z_h D_h) * (h' W_h) + (z_x D_x) * (x W_x) + z_b D_b + b)                         (12)
        c = sigmoid(f) * c' + sigmoid(i) * tanh(g),  h = sigmoid(o) * tanh(LN(c))                (13)

    Equation 11 is printed with h^', but the text defines the embeddings z as functions of h' and x, and the reference
    implementation of the authors computes them from h^, as here. The initial weights are those of appendix A.2.3, with which
    each scale z D is 0.1; the shift of the forget gates is 1 at first, like the forget bias of the reference implementation.

    Args:
        units: U, the width of output h and cell state c.
        hyper_units: H, the width of output and cell state of the smaller LSTM.
        embedding: Z, the width of the embeddings z, of which each gate has three.
    """

    def __init__(self, units: int, hyper_units: int, embedding: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = self.output_size = units
        self.hyper_units, self.embedding = hyper_units, embedding
        self.state_size = [units, units, hyper_units, hyper_units]
        self.update = NormalizedUpdate(units, name="update", dtype=self.dtype_policy)
        self.hyper_update = NormalizedUpdate(hyper_units, name="hyper_update", dtype=self.dtype_policy)

    def build(self, row_shape: tuple[int, ...]) -> None:
        units, hyper_units, embedding, row_width = self.units, self.hyper_units, self.embedding, row_shape[-1]
        self.hyper_kernel = self.add_weight((units + row_width, 4 * hyper_units), "orthogonal", name="hyper_kernel")
        self.hyper_recurrent_kernel = self.add_weight((hyper_units, 4 * hyper_units), "orthogonal", name="hyper_recurrent_kernel")
        self.hyper_bias = self.add_weight((4 * hyper_units,), "zeros", name="hyper_bias")
        # The embeddings of the recurrent kernel, then those of the kernel, each for four gates.
        self.scale_embedding_kernel = self.add_weight((hyper_units, 8 * embedding), "zeros", name="scale_embedding_kernel")
        self.scale_embedding_bias = self.add_weight((8 * embedding,), "ones", name="scale_embedding_bias")
        self.scale_kernel = self.add_weight(
            (8, embedding, units), keras.initializers.Constant(0.1 / embedding), name="scale_kernel"
        )
        normal = keras.initializers.RandomNormal(stddev=0.01)
        self.bias_embedding_kernel = self.add_weight((hyper_units, 4 * embedding), normal, name="bias_embedding_kernel")
        self.bias_kernel = self.add_weight((4, embedding, units), "zeros", name="bias_kernel")
        self.kernel = self.add_weight((row_width, 4 * units), "orthogonal", name="kernel")
        self.recurrent_kernel = self.add_weight((units, 4 * units), "orthogonal", name="recurrent_kernel")
        self.bias = self.add_weight((4 * units,), "zeros", name="bias")
        self.update.build()
        self.hyper_update.build()

    def call(self, row: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(B, F) and the states [(B, U) h, (B, U) c, (B, H) h^, (B, H) c^] to (B, U) h and the next states."""
        output, cell_state, hyper_output, hyper_cell_state = states
        hyper_gates = tf.matmul(tf.concat([output, row], axis=-1), self.hyper_kernel) + self.hyper_bias
        hyper_gates += tf.matmul(hyper_output, self.hyper_recurrent_kernel)
        hyper_output, hyper_cell_state = self.hyper_update(hyper_gates, hyper_cell_state)
        scales = tf.matmul(hyper_output, self.scale_embedding_kernel) + self.scale_embedding_bias
        recurrent_scale, scale = tf.split(_project(scales, self.scale_kernel), 2, axis=-1)
        bias = _project(tf.matmul(hyper_output, self.bias_embedding_kernel), self.bias_kernel) + self.bias
        gates = recurrent_scale * tf.matmul(output, self.recurrent_kernel) + scale * tf.matmul(row, self.kernel) + bias
        output, cell_state = self.update(gates, cell_state)
        return output, [output, cell_state, hyper_output, hyper_cell_state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "hyper_units": self.hyper_units, "embedding": self.embedding}


@keras.saving.register_keras_serializable("pianogen")
class NormalizedUpdate(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The update of an LSTM with layer normalization of each gate and of the cell state where the output reads it.

    Args:
        units: U, the width of output and cell state.
    """

    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = units

    def build(self) -> None:
        self.gain = self.add_weight(shape=(4 * self.units,), initializer="ones", name="gain")
        self.shift = self.add_weight(shape=(4 * self.units,), initializer=unit_forget_bias, name="shift")
        self.cell_gain = self.add_weight(shape=(self.units,), initializer="ones", name="cell_gain")
        self.cell_shift = self.add_weight(shape=(self.units,), initializer="zeros", name="cell_shift")

    def call(self, gates: tf.Tensor, cell_state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, 4U) gates before normalization and (B, U) cell state to (B, U) output and the next cell state."""
        normalized = keras.ops.layer_normalization(tf.reshape(gates, [-1, 4, self.units]), epsilon=_EPSILON)
        gates = tf.reshape(normalized, [-1, 4 * self.units]) * self.gain + self.shift
        input_gate, forget_gate, candidate, output_gate = tf.split(gates, 4, axis=-1)
        cell_state = tf.sigmoid(forget_gate) * cell_state + tf.sigmoid(input_gate) * tf.tanh(candidate)
        normalized = keras.ops.layer_normalization(cell_state, self.cell_gain, self.cell_shift, epsilon=_EPSILON)
        return tf.sigmoid(output_gate) * tf.tanh(normalized), cell_state

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def _project(embeddings: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """(B, N·Z) embeddings and a kernel for each, (N, Z, U), to (B, N·U)."""
    num, width, units = kernels.shape
    return tf.reshape(tf.einsum("bnz,nzu->bnu", tf.reshape(embeddings, [-1, num, width]), kernels), [-1, num * units])
