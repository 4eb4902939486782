"""Losses and metrics that the output heads have in common."""

import keras
import tensorflow as tf

COMPARABLE_METRICS = ("categorical_crossentropy", "mean_absolute_error")
# The largest float32 below 1; below it, the gradient of the cross-entropy of a sigmoid is still exact.
_LARGEST_BELOW_ONE = 1 - 2.0**-24
_SMALLEST = 1e-30


def bit_crossentropy(bits: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each bit, in nats.

    Args:
        bits: float32 zeros and ones, of any shape.
        probabilities: float32 probabilities of a one, of the same shape.
    """
    log_one = tf.math.log(tf.maximum(probabilities, _SMALLEST))
    log_zero = tf.math.log1p(-tf.minimum(probabilities, _LARGEST_BELOW_ONE))
    return -(bits * log_one + (1 - bits) * log_zero)


def focal(crossentropy: tf.Tensor) -> tf.Tensor:
    """The focal loss -(1 - p)² log p of a cross-entropy -log p; confident correct predictions count little (Lin et al. 2017)."""
    return tf.square(1 - tf.exp(-crossentropy)) * crossentropy


def comparable_metrics(target: tf.Tensor, output: tf.Tensor) -> dict[str, tf.Tensor]:
    """The two metrics of the 2021 report besides the loss; they are comparable between models.

    Args:
        target: (…, 177) features of a row.
        output: (…, 177) prediction: a value for each onset and hold, read as its probability, and the tempo feature.

    Returns:
        (…,) float32 categorical_crossentropy and mean_absolute_error. The cross-entropy is that of Keras, which divides outputs
        by their sum and clips them, with one exception: a sum of 0, which relu can produce, is replaced by epsilon.
    """
    epsilon = keras.backend.epsilon()
    share = output / tf.maximum(tf.reduce_sum(output, axis=-1, keepdims=True), epsilon)
    return {
        "categorical_crossentropy": -tf.reduce_sum(target * tf.math.log(tf.clip_by_value(share, epsilon, 1 - epsilon)), axis=-1),
        "mean_absolute_error": tf.reduce_mean(tf.abs(output - target), axis=-1),
    }
