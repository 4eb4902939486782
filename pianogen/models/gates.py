"""The initial biases of the gates of LSTM cells, in the order of Keras: input, forget, candidate, output."""

from typing import Any

import keras
import tensorflow as tf


def unit_forget_bias(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
    """Initial biases (4U,) of the gates: 1 for the forget gate, 0 for the others (Jozefowicz et al. 2015)."""
    return tf.repeat(tf.constant([0, 1, 0, 0], keras.backend.standardize_dtype(dtype)), shape[0] // 4)
