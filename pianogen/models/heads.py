"""Two outputs for two problems: which of its three states each key takes, and how fast it goes on.

The report's split model: one vector asks one loss of both, and what suits the keys ruins the tempo.
"""

import keras
import tensorflow as tf

from pianogen.models.features import features
from pianogen.models.losses import curves, focal
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT


class Heads:
    """(…, U) to {"keys": (…, 88, 3) logits of SILENT, ONSET, HOLD, "tempo": (…, 1) tempo feature}.

    Args:
        loss: of the keys: crossentropy, weighted_crossentropy or focal.
        loss_weight: of a sounding state in the weighted loss.
    """

    def __init__(self, loss: str, loss_weight: float) -> None:
        self._keys = keras.layers.Dense(3 * NUM_KEYS, dtype="float32", name="keys")
        self._tempo = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="tempo")
        self._loss = loss
        self._weight = loss_weight if self._loss.startswith("weighted") else None

    def __call__(self, states: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        """The keys are of the first body, the tempo of the last, which may be the same."""
        logits = keras.ops.split(self._keys(states[0]), 3, axis=-1)
        return {"keys": keras.ops.stack(logits, axis=-1), "tempo": self._tempo(states[-1])}

    def losses(self, output: dict[str, tf.Tensor], packed: tf.Tensor, tempo_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """The mean error of a key plus the squared error of the tempo.

        A key's error is the cross-entropy of its three states, or the focal loss; weighted, onset and hold count
        `loss_weight` times.
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
        return {"loss": loss, **curves(target, row)}

    def logits(self, output: dict[str, tf.Tensor]) -> tf.Tensor:
        """(B, 88, 3) logits of silent, onset and hold."""
        return output["keys"]

    def tempo(self, output: dict[str, tf.Tensor]) -> tf.Tensor:
        """(B,) tempo feature."""
        return output["tempo"][:, 0]
