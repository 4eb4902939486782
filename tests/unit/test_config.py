"""One validated configuration, and a sweep's YAML to its runs."""

from pathlib import Path

import pytest

from jobs.configuration import grid, run_config
from pianogen import config
from pianogen.config import ConfigError
from tests.support.paths import ROOT

SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "cpu", "trainin": {}}, "trainin is not a key; did you mean training?"),
        ({"device": "cpu", "training": {"bach": 3}}, "training.bach is not a key; did you mean batch?"),
        ({"device": "cpu", "training": {"batch": "many"}}, "training.batch is 'many'"),
        ({"device": "cpu", "training": {"batch": 0}}, "training.batch is 0"),
        ({"device": "cpu", "training": {"learning_rate": -1.0}}, "training.learning_rate is -1.0"),
        ({"device": "cpu", "model": {"name": "transformer"}}, "model.name is 'transformer'"),
        ({"device": "cpu", "sampling": {"threshold": "high"}}, "sampling.threshold is 'high'"),
        ({"device": "cpu", "sampling": {"temperature": 0.0}}, "sampling.temperature is 0.0"),
        ({}, "device is missing"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"device": "gpu"}, "gpus_per_node 0"),
        ({"device": "cpu", "logical_devices": 3}, "not divisible by 3 replicas"),
    ],
)
def test_invalid_values_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^here: ") as caught:
        run_config.parse(values, "here")
    assert message in str(caught.value)


HEADS = {"name": "split"}


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({"layers": 2}, {}, "model.layers 2 with model.name base"),
        ({"name": "stacked", "layers": 1}, {}, "model.layers 1 with model.name stacked"),
        (HEADS | {"activation": "sigmoid"}, {}, "belong to one vector"),
        (HEADS | {"silence": True}, {}, "belong to one vector"),
        ({"name": "pair", "dense_layers": 1}, {}, "belong to one vector"),
        (HEADS, {"loss": "mse"}, "training.loss mse with model.name split"),
        ({"name": "pair"}, {"loss": "weighted_mse"}, "training.loss weighted_mse with model.name pair"),
        ({}, {"loss": "crossentropy"}, "say model.activation: sigmoid"),
        ({"activation": "relu"}, {"loss": "focal"}, "say model.activation: sigmoid"),
        ({}, {"loss_weight": 3.0}, "training.loss_weight with training.loss None"),
        ({}, {"loss": "mse", "loss_weight": 3.0}, "training.loss_weight with training.loss mse"),
        ({"name": "bidirectional"}, {"predict": "every"}, "which would see what it predicts"),
        ({}, {"mixed_precision": True}, "mixed_precision with device cpu"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(model: dict, training: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^here: ") as caught:
        run_config.parse({"device": "cpu", "model": model, "training": training}, "here")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"name": "stacked"}, {}),
        ({"name": "stacked", "layers": 3}, {"predict": "every"}),
        ({"name": "gru", "layers": 1}, {"loss": "weighted_mse", "loss_weight": 3.0}),
        ({"activation": "sigmoid", "silence": True}, {"loss": "weighted_crossentropy"}),
        (HEADS, {"loss": "focal", "predict": "every"}),
        ({"name": "bidirectional", "dense_layers": 1}, {"optimizer": "rprop"}),
    ],
)
def test_combinations_that_mean_something_are_taken(model: dict, training: dict) -> None:
    assert run_config.parse({"device": "cpu", "model": model, "training": training}, "here").device == "cpu"


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        run_config.parse({"device": "cpu", "trainin": {}, "model": {"units": 0}}, "here")
    assert len(str(caught.value).splitlines()) == 2


def test_identity_changes_with_what_changes_the_result_alone() -> None:
    base = run_config.parse({"device": "cpu"}, "x")
    same = run_config.parse({"device": "gpu", "slurm": {"gpus_per_node": 2, "timeout_min": 7}}, "x")
    other = run_config.parse({"device": "cpu", "training": {"seed": 1}}, "x")
    assert base.identity("f") == same.identity("f")
    assert base.identity("f") != other.identity("f")
    assert base.identity("f") != base.identity("g")


def test_yaml_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    written = run_config.parse({"device": "cpu", "data": {"groups": ["Bach"]}, "training": {"learning_rate": 1e-3}}, "x")
    path.write_text(config.dump_yaml(written.model_dump(mode="json")))
    assert run_config.parse(config.load_yaml(path), "x") == written


def sweep(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def test_grid_and_runs_multiply(tmp_path: Path) -> None:
    path = sweep(
        tmp_path,
        "device: cpu\nruns: [{model.name: base}, {model.name: gru}]\ngrid: {training.batch: [64, 128], training.seed: [0, 1]}\n",
    )
    variations = grid.expand(grid.load_sweep(path, []), path)
    assert [each.label for each in variations][:3] == ["base-batch64-seed0", "base-batch64-seed1", "base-batch128-seed0"]
    assert len(variations) == 8
    assert variations[-1].config.model.name == "gru"
    assert variations[-1].config.training.batch == 128


def test_overrides_are_laid_over_the_sweep(tmp_path: Path) -> None:
    path = sweep(tmp_path, "device: cpu\ngrid: {model.name: [base, gru]}\n")
    overrides = ["training.learning_rate=1e-4", "data.groups=[Bach, Liszt]", "grid.model.name=[gru]"]
    (only,) = grid.expand(grid.load_sweep(path, overrides), path)
    assert only.config.training.learning_rate == 1e-4
    assert only.config.data.groups == ("Bach", "Liszt")
    assert only.config.model.name == "gru"


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("device: cpu\ngrid: {training.batch: [1, 2]}\n", ["training.batch=3"], "grid.training.batch="),
        ("device: cpu\ngrid: {training.batch: 64}\n", [], "expected a list"),
        ("device: cpu\nruns: {training.batch: 64}\n", [], "expected a list of mappings"),
        ("device: cpu\nruns: [{model.name: base}, {model.units: 64}]\n", [], "same configuration"),
        ("device: cpu\ngrid: {training.bach: [1]}\n", [], "did you mean batch?"),
        ("device: cpu\nruns: [{model.units: 8}, {slurm.timeout_min: 9}]\n", [], "different slurm settings"),
        ("device: cpu\n", ["training.batch"], "expected key=value"),
        ("device: cpu\n", ["device.batch=1"], "a value, not a section"),
        ("- a list\n", [], "expected a mapping"),
        ("a: [\n", [], "cannot be read as YAML"),
    ],
)
def test_invalid_sweeps_are_refused(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    path = sweep(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        grid.expand(grid.load_sweep(path, overrides), path)
    assert message in str(caught.value)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweeps_are_valid(path: Path) -> None:
    assert grid.expand(grid.load_sweep(path, []), path)
