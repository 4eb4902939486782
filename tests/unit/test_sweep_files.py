"""The expansion of a sweep file and its overrides to runs."""

from pathlib import Path

import pytest

from jobs.configuration import grid
from pianogen import yaml_files
from pianogen.validation import ConfigError
from tests.support.paths import ROOT

SWEEPS = {
    "benchmark": [
        f"groups{run}-copy{copies}"
        for run in (
            "JSB_Chorales-epochs50-dropout0.3-weight_decay0.3",
            "Nottingham-epochs9-dropout0.2-weight_decay0.1",
            "Piano_midi-epochs14-dropout0.2-weight_decay0.1",
            "MuseData-epochs6-dropout0.1-weight_decay0.05",
        )
        for copies in (True, False)
    ],
    "activations": ["activationsoftplus", "activationrelu", "activationsigmoid"],
    "batches": ["batch64", "batch128", "batch256"],
    "cells": ["base", "gru", "rnn", "mlstm", "peephole", "hyperlstm", "feedback", "bidirectional"],
    "comparison": [f"{model}-seed{seed}" for model in ("base", "gru", "split") for seed in (0, 1, 2)],
    "composers": ["groups", "groupsbach"],
    "depths": ["base", "base-dense_layers1", "stacked-layers2", "stacked-layers3"],
    "ensemble": ["ensemble"],
    "epochs": ["epochs25", "epochs100", "epochs200"],
    "heads": ["base", "split", "pair", "base-silenceTrue"],
    "learning_rates": [f"learning_rate{rate}" for rate in (0.0005, 0.001, 0.002, 0.005, 0.01)],
    "losses": [
        "lossmse",
        "lossweighted_mse",
        "losscrossentropy-activationsigmoid",
        "lossweighted_crossentropy-activationsigmoid",
        "lossfocal-activationsigmoid",
    ],
    "optimizers": ["optimizerrmsprop", "optimizeradam", "optimizerrprop-batch1024"],
    "music": ["seed0", "seed1", "seed2"],
    "quick": ["joint-epochs8", "base-epochs3-temperature0.5"],
    "rests": ["base"],
}


def write_sweep(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def test_sweep_has_a_run_for_each_entry_of_runs_times_the_grid(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path,
        "device: cpu\nruns: [{model.name: base}, {model.name: gru}]\ngrid: {training.batch: [64, 128], training.seed: [0, 1]}\n",
    )
    variations = grid.expand(grid.load_sweep(path, []), path)
    assert [variation.label for variation in variations][:3] == [
        "base-batch64-seed0",
        "base-batch64-seed1",
        "base-batch128-seed0",
    ]
    assert len(variations) == 8
    assert variations[-1].config.model.name == "gru"
    assert variations[-1].config.training.batch == 128


def test_overrides_replace_settings_of_the_sweep(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, "device: cpu\ngrid: {model.name: [base, gru]}\n")
    overrides = ["training.learning_rate=1e-4", "data.groups=[Bach, Liszt]", "grid.model.name=[gru]"]
    (variation,) = grid.expand(grid.load_sweep(path, overrides), path)
    assert variation.config.training.learning_rate == 1e-4
    assert variation.config.data.groups == ("Bach", "Liszt")
    assert variation.config.model.name == "gru"


@pytest.mark.parametrize("runs", ["[{training: {learning_rate: 0.001}}]", "[{training.learning_rate: 0.001}]"])
def test_sections_of_runs_and_overrides_keep_the_other_keys(tmp_path: Path, runs: str) -> None:
    base = "device: cpu\ntraining: {batch: 16, seed: 7}\nslurm: {timeout_min: 30, memory_gb: 2, extra: {qos: short}}\n"
    path = write_sweep(tmp_path, f"{base}runs: {runs}\ngrid: {{training: {{epochs: [1, 2]}}}}\n")
    overrides = ["slurm={memory_gb: 3, timeout: 1-2}", "slurm.extra.constraint=a100", "grid={training.epochs: [4]}"]
    (variation,) = grid.expand(grid.load_sweep(path, overrides), path)
    training, resources = variation.config.training, variation.config.slurm
    assert variation.label == "learning_rate0.001-epochs4"
    assert (training.learning_rate, training.epochs, training.batch, training.seed) == (0.001, 4, 16, 7)
    assert (resources.memory_gb, resources.timeout_min, resources.extra) == (3, 26 * 60, {"qos": "short", "constraint": "a100"})
    changed = grid.override(variation.config, ["slurm={memory_gb: null}"], path)
    assert changed.slurm == resources.model_copy(update={"memory_gb": None})


@pytest.mark.parametrize(
    ("text", "overrides", "labels"),
    [
        ("grid.training.batch: [8, 16]\ngrid: {model.units: [4]}\n", [], ["batch8-units4", "batch16-units4"]),
        ("grid.training.batch: [8, 16]\n", ["grid.model.units=[4]"], ["batch8-units4", "batch16-units4"]),
        ("random.num: 1\nrandom.space: {model.units: [4]}\n", [], ["units4"]),
        ("random.num: 1\nrandom: {num: 2, space: {model.units: [4]}}\n", [], "random.num is set twice"),
        ("grid.training.batch: [8, 16]\n", ["training.batch=3"], "training.batch is varied"),
        ("runs.0.training.batch: 8\nruns: [{model.units: 4}]\n", [], "runs.0.training.batch is not a key"),
        ("runs: [{training.batch: 8}]\n", ["runs.0.training.batch=9"], "runs.0.training.batch is not a key"),
    ],
)
def test_dotted_keys_of_grid_random_and_runs_are_never_ignored(
    tmp_path: Path, text: str, overrides: list[str], labels: list[str] | str
) -> None:
    path = write_sweep(tmp_path, f"device: cpu\n{text}")
    if isinstance(labels, str):
        with pytest.raises(ConfigError, match=labels):
            grid.load_sweep(path, overrides)
    else:
        assert [variation.label for variation in grid.expand(grid.load_sweep(path, overrides), path)] == labels


@pytest.mark.parametrize(
    "text", ["my #1.mid", " a.mid", "a: b.mid", "&a b", "*a", "!a", "# a", "0012", "2020-01-01", "a\nb", "- a"]
)
def test_text_of_an_override_reaches_the_configuration_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = write_sweep(tmp_path, "device: cpu\n")
    monkeypatch.chdir(tmp_path)
    assert grid.load_sweep(path, [f"sampling.primer={text}"])["sampling"]["primer"] == str(tmp_path / text)


def test_paths_of_a_sweep_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sweep(
        tmp_path,
        "device: cpu\nmodel: {name: joint, ensemble: [runs/a, runs/b]}\nsampling: {primer: theme.mid, primer_steps: 4}\n",
    )
    monkeypatch.chdir(tmp_path)
    (variation,) = grid.expand(grid.load_sweep(path, []), path)
    assert variation.config.model.ensemble == tuple(str(tmp_path / "runs" / name) for name in "ab")
    assert variation.config.sampling.primer == str(tmp_path / "theme.mid")
    with pytest.raises(ConfigError, match=r"model.ensemble lists .+/runs/a twice"):
        grid.expand(grid.load_sweep(path, ["model.ensemble=[runs/a, runs/b/../a]"]), path)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("sampling.primer: theme.mid\n", ["joint"]),
        ("sampling: {primer: theme.mid}\n", ["joint"]),
        ("runs: [{sampling: {primer: a/theme.mid}}, {sampling.primer: null}]\n", ["primertheme.mid", "primerNone"]),
        ("grid.sampling.primer: [a/1.mid, b/2.mid, null]\n", ["primer1.mid", "primer2.mid", "primerNone"]),
        ("random: {num: 1, space: {sampling: {primer: [a/1.mid]}}}\n", ["primer1.mid"]),
        ("model.ensemble: [runs/a, runs/b]\n", ["ensemble"]),
        ("grid: {model.ensemble: [[runs/a, runs/b], [runs/a, runs/c]]}\n", ["ensemblea+b", "ensemblea+c"]),
    ],
)
def test_sweep_that_was_written_has_the_same_runs_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, labels: list[str]
) -> None:
    path = write_sweep(tmp_path, f"device: cpu\nmodel.name: joint\n{text}")
    monkeypatch.chdir(tmp_path)
    values = grid.load_sweep(path, [])
    variations = grid.expand(values, path)
    path.write_text(yaml_files.dump_yaml(values))
    monkeypatch.chdir("/")
    assert grid.expand(grid.load_sweep(path, []), path) == variations
    assert [variation.label for variation in variations] == labels


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("device: cpu\ngrid: {training.batch: [1, 2]}\n", ["training.batch=3"], "grid.training.batch="),
        ("device: cpu\ngrid: {training.batch: 64}\n", [], "expected a list"),
        ("device: cpu\nruns: {training.batch: 64}\n", [], "expected a list of mappings"),
        ("device: cpu\nruns: [{model.name: base}, {model.units: 64}]\n", [], "same configuration"),
        ("device: cpu\ngrid: {training.bach: [1]}\n", [], "did you mean batch?"),
        (
            "device: cpu\nruns: [{training.seed: 1}]\ngrid: {training: {seed: [2]}}\n",
            [],
            "training.seed is varied twice in runs, grid and random",
        ),
        ("device: cpu\ngrid: {1: [2]}\n", [], "grid: 1 is not a key"),
        ("device: cpu\nruns: [{training: {true: 2}}]\n", [], "runs: True is not a key"),
        ("device: cpu\ntraining: {batch: 8}\ntraining.batch: 16\n", [], "training.batch is set twice"),
        ("device: cpu\nslurm: {timeout: 8:00:00, timeout_min: 480}\n", [], "slurm.timeout_min is set twice"),
        ("device: cpu\nruns: [{training: {seed: 1}}]\n", ["training={seed: 4}"], "training.seed is varied"),
        ("device: cpu\n", ["training={epochs: 4}", "training.epochs=3"], "training.epochs is set by another override too"),
        ("device: cpu\n", ["slurm={}"], "states no setting"),
        (
            "device: cpu\ntraining: {batch: 8}\n",
            ["training=null"],
            "training is null, expected a mapping of keys to values",
        ),
        ("device: cpu\n", ["data.groups=[a] # b"], "YAML ignores ' # b'"),
        ("device: cpu\n", ["training.batch"], "expected key=value"),
        ("device: cpu\n", ["device.batch=1"], "a value, not a section"),
        ("- a list\n", [], "expected a mapping"),
        ("a: [\n", [], "cannot be read as YAML"),
        ("device: cpu\ntraining: &a {batch: *a}\n", [], "cannot be read as YAML: Circular reference"),
        (f"device: {'[' * 500}", [], "cannot be read as YAML: maximum recursion depth exceeded"),
    ],
)
def test_invalid_sweeps_are_refused(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    path = write_sweep(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        grid.expand(grid.load_sweep(path, overrides), path)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", SWEEPS)
def test_shipped_sweeps_expand_to_their_runs(name: str) -> None:
    path = ROOT / "sweeps" / f"{name}.yaml"
    assert [variation.label for variation in grid.expand(grid.load_sweep(path, []), path)] == SWEEPS[name]


def test_every_shipped_sweep_is_tested() -> None:
    assert {path.stem for path in (ROOT / "sweeps").glob("*.yaml")} == set(SWEEPS)
