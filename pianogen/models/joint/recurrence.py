"""A recurrent layer over rows that keeps its state, with the fused LSTM kernel of TensorFlow on the CPU."""

import keras
import tensorflow as tf

from pianogen.models.bodies import gru, lstm, mlstm

_LAYERS = {"lstm": lstm, "gru": gru, "mlstm": mlstm}


class Recurrence(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """(T, N, F) and a state to (T, N, U) and the state after the last row.

    Args:
        cell: lstm, gru or mlstm.
        units: U.
    """

    def __init__(self, cell: str, units: int) -> None:
        super().__init__(name="recurrence")
        self._is_lstm = cell == "lstm"
        self._layer = _LAYERS[cell](units, True, cell)
        self._layer.return_state = True

    def build(self, shape: tuple[int, ...]) -> None:
        self._layer.build((None, None, shape[-1]))

    def initial_state(self, batch: int) -> list[tf.Tensor]:
        """Zeros: [output, cell state] or [output]."""
        return list(self._layer.get_initial_state(batch))

    def call(self, rows: tf.Tensor, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        if rows.shape[0] == 1:
            output, state = self._layer.cell(rows[0], state)
            return output[tf.newaxis], list(state)
        if self._is_lstm and not tf.config.list_logical_devices("GPU"):
            return self._fused(rows, *state)
        output, *state = self._layer(tf.transpose(rows, [1, 0, 2]), initial_state=state)
        return tf.transpose(output, [1, 0, 2]), state

    def _fused(self, rows: tf.Tensor, output: tf.Tensor, cell_state: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        # The first version: TensorFlow 2.21 registers the gradient of BlockLSTM for BlockLSTMV2 as well, whose gates have another
        # order.
        cell = self._layer.cell
        unused = tf.zeros([cell.units], rows.dtype)
        result = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.constant(rows.shape[0], tf.int64),
            x=rows,
            cs_prev=cell_state,
            h_prev=output,
            w=_reorder_gates(tf.concat([cell.kernel, cell.recurrent_kernel], axis=0)),
            b=_reorder_gates(tf.convert_to_tensor(cell.bias)),
            wci=unused,
            wcf=unused,
            wco=unused,
            forget_bias=0.0,
            cell_clip=-1.0,
        )
        return result.h, [result.h[-1], result.cs[-1]]


def _reorder_gates(weights: tf.Tensor) -> tf.Tensor:
    """From the gate order of Keras, input, forget, candidate, output, to that of the kernel: input, candidate, forget, output."""
    input_gate, forget_gate, candidate, output_gate = tf.split(weights, 4, axis=-1)
    return tf.concat([input_gate, candidate, forget_gate, output_gate], axis=-1)
