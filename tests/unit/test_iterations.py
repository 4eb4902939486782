"""Compiled iterations: clipping, averaged weights, and the seeds of dropout, on one replica and on two."""

import json
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import TrainingConfig
from tests.support.linear_network import Trainer
from tests.support.paths import PROGRAMS
from tests.support.processes import finished

LARGEST_SEED = 2**32 - 1


def noise(seed: int, number: int) -> float:
    """The random number that a network draws from a seed."""
    return float(tf.random.stateless_uniform((1,), tf.constant([seed, number], tf.int64))[0])


def training(**settings: Any) -> TrainingConfig:
    return TrainingConfig(batch=1, **settings)


@pytest.mark.parametrize("clip_norm", [None, 10.0, 5.0, 0.5])
@pytest.mark.parametrize("is_scaled", [False, True])
def test_gradient_is_clipped_to_its_norm(clip_norm: float | None, is_scaled: bool) -> None:
    """In mixed precision the optimizer scales the loss, and with it the gradients that are clipped."""
    optimizer = keras.optimizers.SGD(1.0)
    if is_scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    settings = TrainingConfig(batch=1, clip_norm=clip_norm, mixed_precision=is_scaled)
    trainer = Trainer(optimizer, np.array([[3, 4]], np.int32), settings)
    trainer.run(1)
    norm = min(5.0, clip_norm or 5.0)
    assert trainer.weights == pytest.approx([-3 / 5 * norm, -4 / 5 * norm], rel=1e-6)


def test_average_follows_its_definition() -> None:
    trainer = Trainer(keras.optimizers.SGD(1.0), np.array([[1, 2]], np.int32), training(average=0.75))
    expected = np.zeros(2)
    for i in range(40):
        trainer.run(1)
        decay = min(0.75, (1 + i) / (10 + i))
        expected = decay * expected + (1 - decay) * trainer.weights
        assert trainer.averaged_weights == pytest.approx(expected, rel=1e-5)
    assert trainer.weights.tolist() == [-40, -80]


def test_length_of_calls_changes_no_result() -> None:
    """A resumed run continues within a call of the uninterrupted run."""
    settings = training(average=0.9, clip_norm=1.0, seed=3)
    tempos = np.array([[1, 2], [5, 3], [4, 4]], np.int32)
    one, several = (Trainer(keras.optimizers.AdamW(0.1), tempos, settings) for _ in range(2))
    totals = one.run(9)
    assert np.array_equal(totals, sum(several.run(length) for length in (2, 1, 6)))
    assert np.array_equal(one.weights, several.weights)
    assert np.array_equal(one.averaged_weights, several.averaged_weights)


def test_random_numbers_depend_on_the_seed_and_the_iteration() -> None:
    drawn = {}
    for seed in (0, 1, LARGEST_SEED):
        trainer = Trainer(keras.optimizers.SGD(1.0), np.array([[1]], np.int32), training(seed=seed))
        drawn[seed] = [trainer.run(1)[1] for _ in range(4)]
    assert drawn[1] == [noise(1, i) for i in range(4)]
    assert len({number for numbers in drawn.values() for number in numbers}) == 12


def test_two_replicas_use_the_gradient_of_the_global_batch() -> None:
    ended = finished([sys.executable, str(PROGRAMS / "replicas.py")])
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["clipped"] == pytest.approx([-0.6, -0.8], rel=1e-6)
    assert result["averaged"] == pytest.approx([-0.9 * 0.6, -0.9 * 0.8], rel=1e-6)
    # Each replica draws its own numbers, in each iteration new ones.
    assert result["noise"] == pytest.approx([noise(5, 0) + noise(5, 1), noise(5, 2) + noise(5, 3)], rel=1e-6)
    # The gradient of the second replica alone overflows: no weight changes, and the loss is scaled by half as much.
    assert result["overflowed"] == {"weights": [0, 0], "scale": 2.0**99}
