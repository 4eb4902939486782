"""Learning rates by iteration, and the settings of the optimizers."""

import math
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest

from pianogen.config import Config, DataConfig, ModelConfig, TrainingConfig
from pianogen.store import Split, Store
from pianogen.training.model_check import check_models
from pianogen.training.optimizers import build_optimizer
from pianogen.training.schedule import epoch_ends, learning_rate
from pianogen.validation import ConfigError
from tests.support.made_music import made_store


def made_optimizer(num_iterations: int = 100, **settings: Any) -> tuple[keras.optimizers.Optimizer, keras.Variable]:
    """An optimizer of one weight, which is 2."""
    variable = keras.Variable([2.0])
    return build_optimizer(TrainingConfig(**settings), num_iterations, [variable]), variable


def learning_rates(num_iterations: int, **settings: Any) -> list[float]:
    """The learning rate of each iteration of a run."""
    optimizer, variable = made_optimizer(num_iterations, **settings)
    rates = []
    for _ in range(num_iterations):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([np.ones(1, np.float32)], [variable])
    return rates


def cosine(share: float) -> float:
    """From 1 to 0.02."""
    return 0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"warmup_iterations": 3}, [0, 1 / 3, 2 / 3, 1, 1, 1]),
        ({"schedule": "cosine"}, [1, *map(cosine, (0.2, 0.4, 0.6, 0.8)), 0.02]),
        ({"schedule": "cosine", "warmup_iterations": 2}, [0, 0.5, 1, *map(cosine, (1 / 3, 2 / 3)), 0.02]),
        ({"schedule": "cosine", "warmup_iterations": 5}, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_learning_rate_follows_its_schedule(optimizer: str, settings: dict[str, Any], expected: list[float]) -> None:
    rates = learning_rates(len(expected), optimizer=optimizer, learning_rate=0.5, **settings)
    assert rates == pytest.approx([0.5 * share for share in expected], rel=1e-6)


@pytest.mark.parametrize(("schedule", "final_share", "warmup"), [("constant", 1.0, 7), ("cosine", 0.02, 0), ("cosine", 0.02, 7)])
def test_schedule_has_the_values_of_keras_bit_by_bit(
    schedule: Literal["constant", "cosine"], final_share: float, warmup: int
) -> None:
    training = TrainingConfig(learning_rate=0.003, schedule=schedule, warmup_iterations=warmup)
    rate = learning_rate(training, 100)
    start, target = (0.0, 0.003) if warmup else (0.003, None)
    expected = keras.optimizers.schedules.CosineDecay(start, 99 - warmup, final_share, warmup_target=target, warmup_steps=warmup)
    assert callable(rate)
    assert [float(rate(iteration)) for iteration in range(120)] == [float(expected(iteration)) for iteration in range(120)]


def test_schedule_ends_with_the_run() -> None:
    """The run ends with its epochs or with its largest number of iterations, whichever comes first."""
    assert epoch_ends(40, TrainingConfig(batch=16, epochs=3)) == {3: 1, 5: 2, 8: 3}
    assert epoch_ends(40, TrainingConfig(batch=16, epochs=3, max_iterations=6)) == {3: 1, 5: 2, 6: 3}
    assert epoch_ends(40, TrainingConfig(batch=16, epochs=3, max_iterations=9)) == {3: 1, 5: 2, 8: 3}
    assert epoch_ends(40, TrainingConfig(batch=16, epochs=10**9, max_iterations=6)) == {3: 1, 5: 2, 6: 3}
    assert epoch_ends(3, TrainingConfig(batch=64, epochs=10**9, max_iterations=2)) == {1: 21, 2: 42}


def test_batch_that_contains_several_epochs_ends_the_last_of_them() -> None:
    assert epoch_ends(3, TrainingConfig(batch=64, epochs=25)) == {1: 21, 2: 25}
    assert epoch_ends(255, TrainingConfig(batch=1000, epochs=3)) == {1: 3}


def test_weight_decay_is_decoupled_from_the_gradient() -> None:
    optimizer, variable = made_optimizer(optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    optimizer.apply([np.zeros(1, np.float32)], [variable])
    assert variable.numpy() == pytest.approx([2 * (1 - 0.5 * 0.1)])


@pytest.mark.parametrize(("beta_2", "mean_square"), [(None, 0.001), (0.75, 0.25)])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_beta_2_is_the_decay_of_the_mean_square(name: str, beta_2: float | None, mean_square: float) -> None:
    optimizer, variable = made_optimizer(optimizer=name, beta_2=beta_2)
    optimizer.apply([np.ones(1, np.float32)], [variable])
    (velocity,) = (state for state in optimizer.variables if state.path.endswith("velocity"))
    assert velocity.numpy() == pytest.approx([mean_square])


def test_warm_up_that_is_longer_than_the_run_is_refused_before_submission(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "corpus.h5", [Split.TRAIN] * 2, steps=100)) as store:
        fitting, longer = (
            Config(training=TrainingConfig(batch=8, max_iterations=20, warmup_iterations=length)) for length in (19, 20)
        )
        assert check_models(store, [fitting]) == 1
        with pytest.raises(ConfigError, match="warmup_iterations is 20, but the run has 20 iterations; lower it"):
            check_models(store, [fitting, longer])


def test_models_that_differ_only_in_training_settings_are_built_once(tmp_path: Path) -> None:
    models: list[str] = []
    small: dict[str, Any] = {"model": ModelConfig(name="rnn", units=4), "data": DataConfig(window_steps=4)}
    settings: list[dict[str, Any]] = [
        {},
        {"seed": 1, "learning_rate": 0.5, "optimizer": "adam", "epochs": 3, "loss_weight": 2.0},
        {"dropout": 0.1},
        {"dropout": 0.2},
        {"batch": 9},
    ]
    configs = [Config(training=TrainingConfig(**{"batch": 8} | changes), **small) for changes in settings]
    with Store(made_store(tmp_path / "corpus.h5", [Split.TRAIN] * 2, steps=40)) as store:
        assert check_models(store, configs, models.append) == 3
    assert models == ["1 of 3: rnn", "2 of 3: rnn", "3 of 3: rnn"]
