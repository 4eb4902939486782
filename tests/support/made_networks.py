"""Small networks with fixed initial weights, and input for them."""

from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from pianogen.config import Config, DataConfig, LossName, ModelConfig, ModelName, TrainingConfig
from pianogen.models.joint.network import Joint
from pianogen.models.network import Network
from pianogen.roll import HOLD, PACKED_BYTES
from pianogen.training import networks
from pianogen.window import Window
from tests.support.made_music import made_roll

REPORT_MODELS: list[ModelName] = [
    "base",
    "bidirectional",
    "feedback",
    "gru",
    "hyperlstm",
    "mlstm",
    "pair",
    "peephole",
    "rnn",
    "split",
    "stacked",
]
STATE_HEAD_MODELS: list[ModelName] = ["pair", "split"]
WINDOW_STEPS = 5
SILENCE_US = 650_000  # tempo of the silence before a piece


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
    config = Config(
        model=ModelConfig(name=name, **{"units": 6} | model),
        data=DataConfig(window_steps=WINDOW_STEPS),
        training=TrainingConfig(loss=loss, loss_weight=loss_weight, predict=predict),
    )
    return networks.build(config, range(88))


def made_joint(settings: dict[str, Any], keys: range, seed: int = 5, steps_per_quarter: int = 4) -> Joint:
    """A joint model with random weights, larger than its initial ones, so that everything it reads has an effect."""
    keras.utils.set_random_seed(seed)
    network = networks.build(Config(model=ModelConfig(name="joint", **{"units": 6} | settings)), keys, steps_per_quarter)
    assert isinstance(network, Joint)
    random = np.random.default_rng(seed + 1)
    for weight in network.keras.trainable_variables:
        weight.assign_add(random.normal(scale=0.2, size=weight.shape))
    return network


def made_windows(steps: int, batch: int = 1) -> Window:
    """Windows of `steps` rows, without context."""
    rolls = [made_roll(seed, steps) for seed in range(batch)]
    return window_of(np.stack([roll.packed for roll in rolls]), np.stack([roll.tempo_us.astype(np.int32) for roll in rolls]))


def window_of(packed: Any, tempo_us: Any) -> Window:
    """Windows for models that do not read the bar positions, all of which are 0, nor the context."""
    return Window(packed, tempo_us, np.zeros(tempo_us.shape, np.uint8))


def after_silence(piece: Window, silent_steps: int = WINDOW_STEPS) -> Window:
    """Rows of silence, and the rows of pieces after them."""
    silence = np.zeros((len(piece.packed), silent_steps, PACKED_BYTES), np.uint8)
    tempo_us = np.full((len(piece.packed), silent_steps), SILENCE_US, np.int32)
    return window_of(np.concatenate([silence, piece.packed], axis=1), np.concatenate([tempo_us, piece.tempo_us], axis=1))


def predict_row(network: Network, rows: Window, row: int) -> Any:
    """The output for a row, with W = 1, from the Keras model of a network that is trained to predict the last row.

    "bidirectional" reads the `WINDOW_STEPS` rows before it, the other networks read all rows before it.
    """
    first = max(0, row - WINDOW_STEPS) if network.keras.name == "bidirectional" else 0
    output = network.keras([rows.packed[:, first:row], rows.tempo_us[:, first:row]])
    return tf.nest.map_structure(lambda tensor: tensor[:, tf.newaxis], output)


def reference_probabilities(output: Any, sounding: np.ndarray) -> np.ndarray:
    """(…, 88, 3) probabilities of the legal states, from an output of any report network for rows (…), computed with NumPy."""
    if isinstance(output, dict):
        weights = np.exp(output["keys"].numpy().astype(float))
    else:
        onset, hold, silent = (output.numpy().astype(float)[..., first : first + 88] for first in (0, 88, 176))
        weights = np.stack([silent if output.shape[-1] == 265 else 1 - onset - hold, onset, hold], axis=-1)
        weights = np.clip(weights, 1e-4, 1)
    weights[..., HOLD] *= sounding
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
