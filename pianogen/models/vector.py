"""The report's output: one vector for keys and tempo, the features of the row that follows, by regression or bit by bit.

Trained with squared error against zeros and ones, an output is the expectation of its bit, and is read as its probability.
"""

import keras
import numpy as np
import tensorflow as tf

from pianogen.config import ModelConfig
from pianogen.models.features import features, num_features
from pianogen.models.losses import bit_crossentropy, curves, focal
from pianogen.roll import NUM_KEYS

_LEAST_PROBABILITY = 1e-4


class Vector:
    """(…, U) to (…, F): 88 onsets, 88 holds, 88 silences where asked for, the tempo.

    Args:
        model: its dense_layers, activation and silence.
        loss: of the bits: mse, weighted_mse, crossentropy, weighted_crossentropy or focal.
        loss_weight: of a bit that is 1 in the weighted losses.
    """

    def __init__(self, model: ModelConfig, loss: str, loss_weight: float) -> None:
        self._silence = model.silence
        width = num_features(model.silence)
        self._layers = [keras.layers.Dense(width, name="linear")] if model.dense_layers == 2 else []
        self._layers.append(keras.layers.Dense(width, activation=model.activation, dtype="float32", name="output"))
        self._loss = loss
        self._weight = loss_weight if self._loss.startswith("weighted") else None
        self._is_sounding = np.arange(width) < 2 * NUM_KEYS  # onsets and holds, not silences and not the tempo

    def __call__(self, states: list[tf.Tensor]) -> tf.Tensor:
        (output,) = states
        for layer in self._layers:
            output = layer(output)
        return output

    def losses(self, output: tf.Tensor, packed: tf.Tensor, tempo_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """The mean over the features of the error of each: of the tempo squared, of a bit what `training.loss` says.

        Where onset or hold is 1, a weighted error counts `loss_weight` times. The sum is divided by the number of features and
        not by the sum of weights: otherwise a row would count less the more keys sound in it.
        """
        target = features(packed, tempo_us, silence=self._silence)
        errors = tf.square(output - target)
        if self._loss not in ("mse", "weighted_mse"):
            of_bits = bit_crossentropy(target[..., :-1], output[..., :-1])
            errors = tf.concat([focal(of_bits) if self._loss == "focal" else of_bits, errors[..., -1:]], axis=-1)
        if self._weight is not None:
            errors *= tf.where(self._is_sounding & (target > 0), self._weight, 1.0)
        return {"loss": tf.reduce_mean(errors, axis=-1), **curves(_without_silence(target), _without_silence(output))}

    def logits(self, output: tf.Tensor) -> tf.Tensor:
        """(B, 88, 3): logarithms of what is read as the probabilities of silent, onset and hold."""
        onset, hold = output[:, :NUM_KEYS], output[:, NUM_KEYS : 2 * NUM_KEYS]
        silent = output[:, 2 * NUM_KEYS : 3 * NUM_KEYS] if self._silence else 1 - onset - hold
        probabilities = tf.stack([silent, onset, hold], axis=-1)
        return tf.math.log(tf.clip_by_value(probabilities, _LEAST_PROBABILITY, 1.0))

    def tempo(self, output: tf.Tensor) -> tf.Tensor:
        """(B,) tempo feature."""
        return output[:, -1]


def _without_silence(row: tf.Tensor) -> tf.Tensor:
    """(…, 177) of (…, 177) or (…, 265)."""
    if row.shape[-1] == num_features():
        return row
    return tf.concat([row[..., : 2 * NUM_KEYS], row[..., -1:]], axis=-1)
