"""The output of the 2021 report: one vector of keys and tempo, which predicts the features of the next row.

With the squared error, an output that is trained on zeros and ones is the expectation of its bit; it is read as its probability.
"""

import keras
import numpy as np
import tensorflow as tf

from pianogen.config import ModelConfig
from pianogen.models.features import features, num_features
from pianogen.models.losses import bit_crossentropy, comparable_metrics, focal
from pianogen.roll import NUM_KEYS

_MIN_PROBABILITY = 1e-4


class VectorHead:
    """(…, U) to (…, F): 88 onsets, 88 holds, 88 silences if `model.silence`, the tempo.

    Args:
        model: only dense_layers, activation and silence are used.
        loss: loss of the bits: mse, weighted_mse, crossentropy, weighted_crossentropy or focal.
        loss_weight: weight of onsets and holds in the weighted losses.
    """

    def __init__(self, model: ModelConfig, loss: str, loss_weight: float) -> None:
        self._silence = model.silence
        width = num_features(model.silence)
        self._layers = [keras.layers.Dense(width, name="linear")] if model.dense_layers == 2 else []
        self._layers.append(keras.layers.Dense(width, activation=model.activation, dtype="float32", name="output"))
        self._loss = loss
        self._weight = loss_weight if loss.startswith("weighted") else None
        self._is_sounding = np.arange(width) < 2 * NUM_KEYS  # onsets and holds, not silences and not the tempo

    def __call__(self, bodies: list[tf.Tensor]) -> tf.Tensor:
        (output,) = bodies
        for layer in self._layers:
            output = layer(output)
        return output

    def losses(self, output: tf.Tensor, packed: tf.Tensor, tempo_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """The loss, which is the mean error of the F features, and the comparable metrics.

        The error of the tempo is squared; the error of a bit depends on `loss`. In a weighted loss, an onset or hold counts
        `loss_weight` times. The sum is divided by F and not by the sum of weights; otherwise a row would count less the more keys
        sound in it.
        """
        target = features(packed, tempo_us, silence=self._silence)
        errors = tf.square(output - target)
        if self._loss not in ("mse", "weighted_mse"):
            bit_errors = bit_crossentropy(target[..., :-1], output[..., :-1])
            errors = tf.concat([focal(bit_errors) if self._loss == "focal" else bit_errors, errors[..., -1:]], axis=-1)
        if self._weight is not None:
            errors *= tf.where(self._is_sounding & (target > 0), self._weight, 1.0)
        metrics = comparable_metrics(_without_silence(target), _without_silence(output))
        return {"loss": tf.reduce_mean(errors, axis=-1), **metrics}

    def logits(self, output: tf.Tensor) -> tf.Tensor:
        """(…, 88, 3) logarithms of the outputs of SILENT, ONSET, HOLD, which are read as probabilities."""
        onset, hold = output[..., :NUM_KEYS], output[..., NUM_KEYS : 2 * NUM_KEYS]
        silent = output[..., 2 * NUM_KEYS : 3 * NUM_KEYS] if self._silence else 1 - onset - hold
        probabilities = tf.stack([silent, onset, hold], axis=-1)
        return tf.math.log(tf.clip_by_value(probabilities, _MIN_PROBABILITY, 1.0))

    def tempo(self, output: tf.Tensor) -> tf.Tensor:
        """(…) tempo feature."""
        return output[..., -1]


def _without_silence(row: tf.Tensor) -> tf.Tensor:
    """(…, 177) of (…, 177) or (…, 265)."""
    if row.shape[-1] == num_features():
        return row
    return tf.concat([row[..., : 2 * NUM_KEYS], row[..., -1:]], axis=-1)
