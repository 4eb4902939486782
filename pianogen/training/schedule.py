"""The iterations of a run, and the learning rate of each of them."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from pianogen.command import counted
from pianogen.config import TrainingConfig
from pianogen.validation import ConfigError

_FINAL_SHARE = 0.02  # share of the learning rate that a cosine reaches at the last iteration


def epoch_ends(num_windows: int, training: TrainingConfig) -> dict[int, int]:
    """The number of each epoch, from 1, by its last iteration, whose batch may also contain windows of the next epoch.

    Of epochs that end in one batch only the last is listed. `max_iterations` may end the last epoch early.
    """
    epochs = training.epochs
    if training.max_iterations is not None and num_windows:  # no dictionary of epochs that are never reached
        epochs = min(epochs, training.max_iterations * training.batch // num_windows + 1)
    ends = {math.ceil(epoch * num_windows / training.batch): epoch for epoch in range(1, epochs + 1)}
    last = min(max(ends), training.max_iterations or max(ends))
    last_epoch = next(epoch for end, epoch in ends.items() if end >= last)
    return {end: epoch for end, epoch in ends.items() if end < last} | {last: last_epoch}


def learning_rate(training: TrainingConfig, num_iterations: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of an optimizer: a number, or a function of the number of completed iterations.

    Args:
        num_iterations: number of iterations of the run.

    Raises:
        ConfigError: the warm-up is as long as the run or longer.
    """
    if not training.learning_rate_varies:
        return training.learning_rate
    warmup = training.warmup_iterations
    if 0 < num_iterations <= warmup:
        raise ConfigError(
            f"training.warmup_iterations is {warmup}, but the run has {counted(num_iterations, 'iteration')}; "
            "lower it, or raise training.epochs or training.max_iterations"
        )
    final_share = _FINAL_SHARE if training.schedule == "cosine" else 1.0
    return _WarmupAndDecay(training.learning_rate, warmup, max(1, num_iterations - 1 - warmup), final_share)


@dataclass(frozen=True, slots=True)
class _WarmupAndDecay(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
    """A linear warm-up from 0, then half a cosine down to a share of the learning rate.

    The values are those of Keras' CosineDecay, whose branch an optimizer with weight decay would run once per weight.
    """

    learning_rate: float
    warmup_iterations: int
    decay_iterations: int
    final_share: float

    def __call__(self, iteration: tf.Tensor) -> tf.Tensor:
        iteration = tf.cast(iteration, tf.float32)
        decayed = tf.clip_by_value((iteration - self.warmup_iterations) / self.decay_iterations, 0.0, 1.0)
        share = (1 - self.final_share) * (0.5 * (1 + tf.cos(math.pi * decayed))) + self.final_share
        return self.learning_rate * tf.where(
            iteration < self.warmup_iterations, iteration / max(self.warmup_iterations, 1), share
        )

    def get_config(self) -> dict[str, Any]:
        return asdict(self)
