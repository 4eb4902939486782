"""What the cells of this package share with the LSTM of Keras: four gates in the order input, forget, candidate, output."""

from typing import Any

import keras
import tensorflow as tf


def forget_gate_open(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
    """Initial biases (4U,) of the four gates: 1 for the forget gate, 0 for the others (Jozefowicz et al. 2015)."""
    return tf.repeat(tf.constant([0, 1, 0, 0], keras.backend.standardize_dtype(dtype)), shape[0] // 4)
