"""A network with one weight per row of a window, whose gradient is known, and its compiled training."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pianogen.config import TrainingConfig
from pianogen.training.agreement import Message
from pianogen.training.iterations import compile_iterations
from pianogen.window import Window


class LinearNetwork:
    """Predicts nothing: its loss is the sum of the products of weights and tempos, so the gradient of a window is its tempos.

    Attributes:
        keras: a model with (W,) weights, all of them 0.
        metrics: the loss, and a random number that depends on the seed alone.
    """

    metrics = ("loss", "noise")

    def __init__(self, num_weights: int) -> None:
        self.keras = keras.Sequential(
            [keras.Input((num_weights,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
        )

    def losses(self, window: Window, training: bool, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B,) float32 for each metric."""
        loss = self.keras(tf.cast(window.tempo_us, tf.float32), training=training)[:, 0]
        return {"loss": loss, "noise": tf.random.stateless_uniform(tf.shape(loss), seed)}


class Trainer:
    """Compiled iterations of a `LinearNetwork` on the same window, one row of tempos for each replica.

    Args:
        tempos: (R, W) int32, the gradient on each of R replicas.
    """

    def __init__(
        self, optimizer: keras.optimizers.Optimizer, tempos: np.ndarray, training: TrainingConfig, strategy: Any = None
    ) -> None:
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            self._network, self._averaged = (LinearNetwork(tempos.shape[1]) for _ in range(2))
            optimizer.build(self._network.keras.trainable_variables)
        network: Any = self._network  # training uses only a part of the interface of a network
        averaged: Any = self._averaged
        self._run = compile_iterations(strategy, network, averaged, optimizer, training)
        rows = tf.data.Dataset.from_tensor_slices(tempos).batch(1).repeat()
        packed = tf.zeros((1, tempos.shape[1], 22), tf.uint8)
        dataset = rows.map(lambda tempo_us: Window(packed, tempo_us, packed[..., 0]))
        self._batches = iter(strategy.distribute_datasets_from_function(lambda _: dataset))
        self._num_iterations = 0

    def run(self, num_iterations: int) -> np.ndarray:
        """(2,) sums of the metrics over some more iterations, in one call."""
        begin = self._num_iterations
        self._num_iterations += num_iterations
        message = Message(shutdown_requested=False, last_call_s=0.0).to_tensor()
        end = tf.constant(self._num_iterations, tf.int64)
        result = self._run(self._batches, tf.constant(begin, tf.int64), end, tf.zeros(2, tf.float64), message)
        return np.asarray(result.totals)

    @property
    def weights(self) -> np.ndarray:
        """(W,) weights."""
        return np.asarray(self._network.keras.get_weights()[0][:, 0])

    @property
    def averaged_weights(self) -> np.ndarray:
        """(W,) moving averages of the weights."""
        return np.asarray(self._averaged.keras.get_weights()[0][:, 0])
