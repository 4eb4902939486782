"""The iterations of a run, and the learning rate of each of them."""

import math

import keras

from pianogen.command import counted
from pianogen.config import TrainingConfig
from pianogen.validation import ConfigError

_FINAL_SHARE = 0.02  # share of the learning rate that a cosine reaches at the last iteration


def epoch_ends(num_windows: int, training: TrainingConfig) -> list[int]:
    """The last iteration of each epoch; its batch may also contain windows of the next epoch."""
    ends = [math.ceil(epoch * num_windows / training.batch) for epoch in range(1, training.epochs + 1)]
    last = min(ends[-1], training.max_iterations or ends[-1])
    return [end for end in ends if end < last] + [last]


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
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else training.learning_rate,
        decay_steps=max(1, num_iterations - 1 - warmup),
        alpha=_FINAL_SHARE if training.schedule == "cosine" else 1.0,  # with 1, it is constant after the warm-up
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
