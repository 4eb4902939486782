"""What losses of different outputs share."""

import keras
import tensorflow as tf

# float32 ends between here and 1; a sigmoid below it still has the exact gradient of its cross-entropy.
_LARGEST_BELOW_ONE = 1 - 2.0**-24
_SMALLEST = 1e-30


def bit_crossentropy(bits: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each bit, in nats.

    Args:
        bits: float32 zeros and ones.
        probabilities: of the ones, the same shape.
    """
    log_one = tf.math.log(tf.maximum(probabilities, _SMALLEST))
    log_zero = tf.math.log1p(-tf.minimum(probabilities, _LARGEST_BELOW_ONE))
    return -(bits * log_one + (1 - bits) * log_zero)


def focal(crossentropy: tf.Tensor) -> tf.Tensor:
    """The focal loss, (1 - p)² times the cross-entropy -log p: what is predicted well counts little (Lin et al. 2017)."""
    return tf.square(1 - tf.exp(-crossentropy)) * crossentropy


def curves(target: tf.Tensor, output: tf.Tensor) -> dict[str, tf.Tensor]:
    """The report's two curves besides the loss, comparable between networks: of 176 bits and the tempo.

    Args:
        target: (…, 177) features of a row.
        output: (…, 177), what was predicted of it: probabilities, or what is read as such, and the tempo feature.

    Returns:
        (…,) float32 each. The cross-entropy is Keras's: outputs are divided by their sum, and clipped; but a sum of
        0, which relu can give and Keras would divide by, is taken for epsilon.
    """
    epsilon = keras.backend.epsilon()
    share = output / tf.maximum(tf.reduce_sum(output, axis=-1, keepdims=True), epsilon)
    return {
        "categorical_crossentropy": -tf.reduce_sum(target * tf.math.log(tf.clip_by_value(share, epsilon, 1 - epsilon)), axis=-1),
        "mean_absolute_error": tf.reduce_mean(tf.abs(output - target), axis=-1),
    }
