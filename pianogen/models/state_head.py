"""Two outputs: the state of each key, and the tempo.

The split model of the 2021 report had one loss for both outputs, and a loss that suits the keys ruins the tempo. Here the keys
and the tempo have losses of their own.
"""

import keras
import tensorflow as tf

from pianogen.models.features import features
from pianogen.models.losses import comparable_metrics, focal
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT


class StateHead:
    """(…, U) to {"keys": (…, 88, 3) logits of SILENT, ONSET, HOLD, "tempo": (…, 1) tempo feature}.

    Args:
        loss: loss of the keys: crossentropy, weighted_crossentropy or focal.
        loss_weight: weight of onsets and holds in the weighted loss.
    """

    def __init__(self, loss: str, loss_weight: float) -> None:
        self._keys = keras.layers.Dense(3 * NUM_KEYS, dtype="float32", name="keys")
        self._tempo = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="tempo")
        self._loss = loss
        self._weight = loss_weight if loss.startswith("weighted") else None

    def __call__(self, bodies: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Predicts the keys from the first body and the tempo from the last one, which may be the same."""
        logits = keras.ops.split(self._keys(bodies[0]), 3, axis=-1)
        return {"keys": keras.ops.stack(logits, axis=-1), "tempo": self._tempo(bodies[-1])}

    def losses(self, output: dict[str, tf.Tensor], packed: tf.Tensor, tempo_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """The loss, which is the mean error of the 88 keys plus the squared error of the tempo, and the comparable metrics.

        The error of a key is the cross-entropy of its three states or the focal loss; in the weighted loss, onsets and holds
        count `loss_weight` times.
        """
        target = features(packed, tempo_us)
        onset, hold, tempo = tf.split(target, [NUM_KEYS, NUM_KEYS, 1], axis=-1)
        log_probabilities = tf.nn.log_softmax(output["keys"])
        states = tf.stack([1 - onset - hold, onset, hold], axis=-1)
        errors = -tf.reduce_sum(states * log_probabilities, axis=-1)
        if self._loss == "focal":
            errors = focal(errors)
        if self._weight is not None:
            errors *= tf.where(states[..., SILENT] > 0, 1.0, self._weight)
        loss = tf.reduce_mean(errors, axis=-1) + tf.square(output["tempo"] - tempo)[..., 0]
        probabilities = tf.exp(log_probabilities)
        row = tf.concat([probabilities[..., ONSET], probabilities[..., HOLD], output["tempo"]], axis=-1)
        return {"loss": loss, **comparable_metrics(target, row)}

    def logits(self, output: dict[str, tf.Tensor]) -> tf.Tensor:
        """(…, 88, 3) logits of SILENT, ONSET, HOLD."""
        return output["keys"]

    def tempo(self, output: dict[str, tf.Tensor]) -> tf.Tensor:
        """(…) tempo feature."""
        return output["tempo"][..., 0]
