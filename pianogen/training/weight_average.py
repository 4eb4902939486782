"""The moving average of the weights of a model, held by a second model of the same architecture."""

import keras
import tensorflow as tf


def update_average(
    strategy: tf.distribute.Strategy, average: keras.Model, model: keras.Model, decay: float, iteration: tf.Tensor
) -> None:
    """Moves the weights of `average` towards those of `model`; must be called outside of the replicas.

    Args:
        decay: the weights of `average` keep this share. The share is lower in the first iterations, so that the initial weights
            are soon forgotten.
        iteration: () int64 number of iterations before the last one.
    """
    i = tf.cast(iteration, tf.float32)
    share = 1 - tf.minimum(decay, (1 + i) / (10 + i))
    for average_weight, weight in zip(average.trainable_variables, model.trainable_variables, strict=True):
        strategy.extended.update(average_weight.value, _move, args=(weight.value, share), group=False)


def _move(average: tf.Variable, weight: tf.Variable, share: tf.Tensor) -> None:
    average.assign_sub(share * (average - weight))
