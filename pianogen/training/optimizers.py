"""The optimizer of a run."""

import keras

from pianogen.config import TrainingConfig
from pianogen.training import schedule
from pianogen.training.rprop import Rprop

_OPTIMIZERS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rprop": Rprop,
}


def build_optimizer(training: TrainingConfig, num_iterations: int, variables: list[keras.Variable]) -> keras.optimizers.Optimizer:
    """Builds the optimizer of some variables; must be called in the scope of the strategy.

    Args:
        num_iterations: number of iterations of the run.

    Raises:
        ConfigError: the warm-up is as long as the run or longer.
    """
    settings = {name: getattr(training, name) for name in ("beta_2", "weight_decay") if getattr(training, name) is not None}
    optimizer = _OPTIMIZERS[training.optimizer](schedule.learning_rate(training, num_iterations), **settings)
    if training.mixed_precision:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer
