"""Early stopping on the validation loss."""

import math
from typing import Any

import keras
import tensorflow as tf


class EarlyStopping:
    """Stops training after `patience` epochs without a better validation loss, and restores the best weights.

    Args:
        patience: number of epochs; None disables early stopping.

    Attributes:
        state: keyword arguments of tf.train.Checkpoint, which make a checkpoint include the variables.
    """

    def __init__(self, patience: int | None, model: keras.Model) -> None:
        self._patience, self._weights = patience, model.trainable_variables
        self.state: dict[str, Any] = {}
        if patience is not None:
            self._best_loss, self._num_waited = tf.Variable(math.inf, dtype=tf.float64), tf.Variable(0)
            self._best_weights = [tf.Variable(weight) for weight in self._weights]
            self.state = {"best": self._best_loss, "waited": self._num_waited, "best_weights": self._best_weights}

    def update(self, valid_loss: float) -> None:
        """Records the validation loss of an epoch, and its weights if it is the best so far."""
        if self._patience is None:
            return
        if valid_loss < float(self._best_loss):
            self._best_loss.assign(valid_loss)
            self._num_waited.assign(0)
            _assign(self._best_weights, self._weights)
        else:
            self._num_waited.assign_add(1)

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` epochs had no better validation loss."""
        return self._patience is not None and int(self._num_waited) >= self._patience

    def restore_best_weights(self) -> None:
        """Assigns the best weights to the model, if early stopping is enabled and there was a validation."""
        if self._patience is not None and math.isfinite(float(self._best_loss)):
            _assign(self._weights, self._best_weights)


def _assign(targets: list[Any], sources: list[Any]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.assign(source)
