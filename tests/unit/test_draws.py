"""Random draws of settings."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.configuration import draws, grid
from pianogen.validation import ConfigError

SPACE = {
    "training.learning_rate": "loguniform(1e-4, 1e-2)",
    "training.dropout": "uniform(0, 0.5)",
    "model.units": "randint(8, 10)",
    "model.name": ["base", "gru"],
}


def drawn(num: int, space: dict[str, Any] = SPACE, seed: int = 0) -> list[dict[str, Any]]:
    return list(draws.draw({"num": num, "seed": seed, "space": space}, "test"))


def test_draw_depends_on_seed_index_and_key_alone() -> None:
    settings = drawn(64)
    assert drawn(96)[:64] == settings
    assert drawn(64, seed=1) != settings
    for key in SPACE:
        assert [entry[key] for entry in drawn(64, {key: SPACE[key]})] == [entry[key] for entry in settings]


def test_draws_have_the_distribution_that_is_stated() -> None:
    settings = drawn(2_000)
    columns = {key: [entry[key] for entry in settings] for key in SPACE}
    log_rate = np.log10(columns["training.learning_rate"])
    quartiles = np.quantile(log_rate, [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([-3.5, -3.0, -2.5], abs=0.1)
    assert -4 <= log_rate.min() < log_rate.max() <= -2
    assert np.quantile(columns["training.dropout"], [0.25, 0.75]) == pytest.approx([0.125, 0.375], abs=0.03)
    expected: dict[str, list[Any]] = {"model.units": [8, 9, 10], "model.name": ["base", "gru"]}
    for key, values in expected.items():
        shares = [columns[key].count(value) / 2_000 for value in values]
        assert sum(shares) == pytest.approx(1)
        assert shares == pytest.approx([1 / len(values)] * len(values), abs=0.05)
    assert all(isinstance(units, int) for units in columns["model.units"])


@pytest.mark.parametrize(
    ("distribution", "low", "high"),
    [
        ("uniform(0.12345, 0.12346)", 0.12345, 0.12346),
        ("uniform(0.99999, 0.999999)", 0.99999, 0.999999),
        ("uniform(-1e-9, 1e-9)", -1e-9, 1e-9),
        ("loguniform(0.09999, 0.1)", 0.09999, 0.1),
    ],
)
def test_rounded_draws_of_a_narrow_range_are_distinct_and_stay_in_it(distribution: str, low: float, high: float) -> None:
    rates = [entry["training.learning_rate"] for entry in drawn(100, {"training.learning_rate": distribution})]
    assert low <= min(rates) < max(rates) < high
    assert len(set(rates)) > 90


def test_draws_multiply_runs_and_grid(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "device: cpu\nruns: [{model.name: base}, {model.name: gru}]\ngrid: {training.seed: [0, 1]}\n"
        "random: {num: 3, space: {training: {learning_rate: 'loguniform(1e-4, 1e-2)'}}}\n"
    )
    variations = grid.expand(grid.load_sweep(path, ["random.num=5"]), path)
    assert len(variations) == 2 * 2 * 5
    rates = [variation.config.training.learning_rate for variation in variations]
    assert rates[:5] == rates[5:10]
    assert len(set(rates)) == 5
    assert variations[0].label == f"base-seed0-learning_rate{rates[0]}"
    assert rates[0] == float(f"{rates[0]:.4g}")


@pytest.mark.parametrize(
    ("random", "message"),
    [
        ([], "expected num, seed and space"),
        ({"space": {"training.seed": [1]}}, "num is missing"),
        ({"num": 0, "space": {"training.seed": [1]}}, "num is 0"),
        ({"num": 1, "space": {}}, "random.space is empty"),
        ({"num": 1, "space": ["training.seed"]}, "random.space is ['training.seed'], expected a mapping"),
        ({"num": 1, "space": {"model": {"units": 32}}}, "random.space.model.units is 32, expected a list, uniform(A, B)"),
        ({"num": 1, "space": {"training.patience": None}}, "random.space.training.patience is None, expected a list"),
        ({"num": 1, "space": {"training.seed": []}}, "is an empty list"),
        ({"num": 1, "space": {"training.dropout": "uniform(1, 0)"}}, "A < B"),
        ({"num": 1, "space": {"training.dropout": "uniform(0, inf)"}}, "expected a list, uniform(A, B)"),
        ({"num": 1, "space": {"training.dropout": "uniform(-1e308, 1e308)"}}, "expected a list, uniform(A, B)"),
        ({"num": 1, "space": {"training.dropout": "loguniform(1e-320, 1)"}}, "expected a list, uniform(A, B)"),
        ({"num": 1, "space": {"training.dropout": "normal(0, 1)"}}, "expected a list, uniform(A, B)"),
        ({"num": 1, "space": {"training.dropout": "loguniform(0, 1)"}}, "loguniform(A, B) with A > 0"),
        ({"num": 1, "space": {"model.units": "randint(1.5, 3)"}}, "randint(A, B) with whole numbers"),
        ({"num": 1, "space": {"training.dropout": "uniform(a, b)"}}, "expected a list"),
        ({"num": 1, "samples": 3, "space": {"training.seed": [1]}}, "samples is not a key"),
    ],
)
def test_invalid_draws_are_refused(random: Any, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        list(draws.draw(random, "test"))
    assert message in str(raised.value)


def test_key_may_not_be_drawn_and_varied(tmp_path: Path) -> None:
    values = {"device": "cpu", "grid": {"training.seed": [1]}, "random": {"num": 2, "space": {"training.seed": [1, 2]}}}
    with pytest.raises(ConfigError, match=r"training\.seed is varied twice"):
        grid.expand(values, tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_text("device: cpu\n")
    with pytest.raises(ConfigError, match=r"has no section random"):
        grid.load_sweep(path, ["random.num=4"])


def test_uniform_numbers_never_reach_one() -> None:
    numbers = [draws._uniform(0, index, "key") for index in range(1_000)]
    assert 0 <= min(numbers) < 0.01
    assert 0.99 < max(numbers) < 1
    assert math.isclose(sum(numbers) / 1_000, 0.5, abs_tol=0.03)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random: {num: 9, space: {training.batch: [8, 16]}}", "configuration, batch8: lower random.num, or add settings"),
        ("grid: {slurm.memory_gb: [1, 2], training.seed: [3]}", "configuration, seed3: remove one of them"),
    ],
)
def test_equal_runs_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"device: cpu\n{text}\n")
    with pytest.raises(ConfigError) as raised:
        grid.expand(grid.load_sweep(path, []), path)
    assert message in str(raised.value)
