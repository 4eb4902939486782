"""Small networks with fixed initial weights, and input for them."""

from typing import Any, Literal

import keras
import numpy as np

from pianogen import models
from pianogen.config import LossName, ModelConfig, ModelName, TrainingConfig
from pianogen.models.network import Network
from pianogen.window import Window
from tests.support.made_music import made_roll

STATE_HEAD_MODELS: list[ModelName] = ["pair", "split"]
WINDOW_STEPS = 5


def made_network(
    name: ModelName,
    *,
    loss: LossName | None = None,
    loss_weight: float = 10.0,
    predict: Literal["last", "every"] = "last",
    **model: Any,
) -> Network:
    """A network with the given settings and 6 units by default; its initial weights are always the same."""
    keras.utils.set_random_seed(1)
    training = TrainingConfig(loss=loss, loss_weight=loss_weight, predict=predict)
    return models.build(ModelConfig(name=name, **{"units": 6} | model), training, WINDOW_STEPS)


def made_windows(steps: int, batch: int = 1) -> Window:
    """Windows of `steps` rows, without context."""
    rolls = [made_roll(seed, steps) for seed in range(batch)]
    return Window(np.stack([roll.packed for roll in rolls]), np.stack([roll.tempo_us.astype(np.int32) for roll in rolls]))
