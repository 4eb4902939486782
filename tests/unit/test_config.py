"""Validation of a configuration."""

from pathlib import Path
from typing import Any

import pytest

from jobs.configuration import run_config
from jobs.configuration.options import find_options
from pianogen import config, yaml_files
from pianogen.combinations import find_warnings
from pianogen.midi.quantize import MAX_STEPS
from pianogen.validation import ConfigError
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "cpu", "trainin": {}}, "trainin is not a key; did you mean training?"),
        ({"device": "cpu", "training": {"bach": 3}}, "training.bach is not a key; did you mean batch?"),
        ({"device": "cpu", "epochs": 3}, "epochs is not a key; did you mean training.epochs?"),
        ({"device": "cpu", "model": {"seed": 3}}, "model.seed is not a key; did you mean training.seed or sampling.seed?"),
        ({"device": "cpu", "slurm": {"gpus": 1}}, "slurm.gpus is not a key; did you mean gpus_per_node?"),
        ({"device": "cpu", "training": {"batch": "many"}}, "training.batch is 'many'"),
        ({"device": "cpu", "training": {"batch": 0}}, "training.batch is 0"),
        ({"device": "cpu", "training": {"learning_rate": -1.0}}, "training.learning_rate is -1.0"),
        ({"device": "cpu", "training": {"dropout": 1.0}}, "training.dropout is 1.0"),
        ({"device": "cpu", "training": {"average": 1.0}}, "training.average is 1.0"),
        ({"device": "cpu", "training": {"tracker": ""}}, "training.tracker is '', expected wandb, or package.module:Class"),
        ({"device": "cpu", "model": {"name": "transformer"}}, "model.name is 'transformer'"),
        ({"device": "cpu", "model": {"copies": True}}, "model.copies is not a key; did you mean copy?"),
        ({"device": "cpu", "sampling": {"threshold": "high"}}, "sampling.threshold is 'high'"),
        ({"device": "cpu", "sampling": {"temperature": 0.0}}, "sampling.temperature is 0.0"),
        ({"device": "cpu", "sampling": {"temperature": 1e-38}}, "sampling.temperature is 1e-38, expected 1e-30 or more"),
        (
            {"device": "cpu", "model": {"name": "joint"}, "sampling": {"top_p": 1e-38}},
            "sampling.top_p is 1e-38, expected 1e-30 or more",
        ),
        ({"device": "cpu", "sampling": {"temperature": 1e39}}, "sampling.temperature is 1e+39, expected 1e+30 or less"),
        ({}, "device is missing"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"device": "gpu"}, "gpus_per_node 0"),
        ({"device": "cpu", "sampling": {"primer": ""}}, "sampling.primer is ''"),
        ({"device": "cpu", "sampling": {"primer": "a\0b"}}, "sampling.primer is 'a"),
        ({"device": "cpu", "model": {"name": "joint", "ensemble": ["a", ""]}}, "model.ensemble.1 is ''"),
        ({"device": "cpu", "logical_devices": 3}, "not divisible by 3 replicas"),
    ],
)
def test_error_names_the_invalid_key_and_value(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"^source: ") as caught:
        run_config.parse(values, "source")
    assert message in str(caught.value)


@pytest.mark.parametrize("key", [option.key for option in find_options() if "integer" in option.type])
def test_integers_beyond_those_of_libraries_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {10**30}, expected .* or less"):
        run_config.check_alone({key: 10**30}, "source")


def test_sample_is_at_most_as_long_as_a_piece() -> None:
    run_config.check_alone({"sampling.steps": MAX_STEPS}, "source")
    with pytest.raises(ConfigError, match="expected 131072 or less"):
        run_config.check_alone({"sampling.steps": MAX_STEPS + 1}, "source")


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({"layers": 2}, {}, "model.layers is 2 and model.name is base"),
        ({"name": "stacked", "layers": 1}, {}, "model.layers is 1 and model.name is stacked"),
        ({"name": "split", "activation": "sigmoid"}, {}, "model.activation does not apply to model.name split"),
        ({"name": "split", "silence": True}, {}, "model.silence does not apply to model.name split"),
        ({"name": "pair", "dense_layers": 1}, {}, "model.dense_layers does not apply to model.name pair"),
        ({"name": "split"}, {"loss": "mse"}, "training.loss mse does not apply to model.name split"),
        ({"name": "pair"}, {"loss": "weighted_mse"}, "training.loss weighted_mse does not apply to model.name pair"),
        ({}, {"loss": "crossentropy"}, "set model.activation: sigmoid"),
        ({"activation": "relu"}, {"loss": "focal"}, "set model.activation: sigmoid"),
        ({}, {"loss_weight": 3.0}, "training.loss_weight does not apply to training.loss mse"),
        ({"name": "split"}, {"loss_weight": 3.0}, "training.loss_weight does not apply to training.loss crossentropy"),
        ({"name": "bidirectional"}, {"predict": "every"}, "training.predict every does not apply to model.name bidirectional"),
        ({}, {"mixed_precision": True}, "mixed_precision with device cpu"),
        ({"name": "gru"}, {"dropout": 0.1}, "training.dropout does not apply to model.name gru; only joint"),
        ({}, {"beta_2": 0.99}, "training.beta_2 does not apply to training.optimizer rmsprop; only adam and adamw"),
        ({}, {"optimizer": "adam", "weight_decay": 0.1}, "training.weight_decay does not apply to training.optimizer adam"),
        ({}, {"optimizer": "rprop", "schedule": "cosine"}, "do not apply to training.optimizer rprop"),
        ({}, {"optimizer": "rprop", "warmup_iterations": 1}, "do not apply to training.optimizer rprop"),
        ({}, {"optimizer": "rprop", "clip_norm": 1.0}, "training.clip_norm does not apply to training.optimizer rprop"),
        ({"name": "joint", "activation": "relu"}, {}, "model.activation does not apply to model.name joint"),
        ({"name": "joint"}, {"loss": "focal"}, "training.loss does not apply to model.name joint"),
        ({"name": "joint"}, {"predict": "last"}, "training.predict last does not apply to model.name joint"),
        ({"name": "gru", "layers": 2}, {}, "only stacked and feedback have more than one layer"),
        ({"name": "feedback", "layers": 1}, {}, "only stacked and feedback have more than one layer"),
        ({"hyper_units": 8}, {}, "model.hyper_units does not apply to model.name base; only hyperlstm"),
        ({"name": "joint", "hyper_embedding": 8}, {}, "model.hyper_embedding does not apply to model.name joint"),
        ({"copy": False}, {}, "model.copy does not apply to model.name base; only joint"),
        ({"name": "gru", "head": "one_pass"}, {}, "model.head does not apply to model.name gru; only joint"),
        ({"ensemble": ["a", "b"]}, {}, "model.ensemble does not apply to model.name base; only joint"),
        ({"name": "joint", "ensemble": ["a"]}, {}, "model.ensemble lists 1 run; expected two or more"),
        ({"name": "joint", "ensemble": ["a", "b", "a"]}, {}, "model.ensemble lists a twice; remove one"),
        ({"name": "joint", "ensemble": ["a", "b"], "units": 64}, {}, "model.units does not apply to model.ensemble"),
        ({"name": "joint", "ensemble": ["a", "b"], "copy": False}, {}, "model.copy does not apply to model.ensemble"),
        ({"name": "joint", "ensemble": ["a", "b"]}, {"epochs": 3}, "training.epochs does not apply to model.ensemble"),
    ],
)
def test_settings_that_do_not_apply_are_refused(model: dict[str, Any], training: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"^source: ") as caught:
        run_config.parse({"device": "cpu", "model": model, "training": training}, "source")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"name": "stacked"}, {}),
        ({"name": "stacked", "layers": 3}, {"predict": "every"}),
        ({"name": "feedback", "layers": 3}, {}),
        ({"name": "hyperlstm", "hyper_units": 8, "hyper_embedding": 2}, {"predict": "every"}),
        ({"name": "gru", "layers": 1}, {"loss": "weighted_mse", "loss_weight": 3.0}),
        ({"activation": "sigmoid", "silence": True}, {"loss": "weighted_crossentropy"}),
        ({"name": "split"}, {"loss": "focal", "predict": "every"}),
        ({"name": "bidirectional", "dense_layers": 1}, {"optimizer": "rprop", "average": 0.99}),
        ({}, {"schedule": "cosine", "warmup_iterations": 9, "clip_norm": 1.0}),
        ({}, {"optimizer": "adam", "beta_2": 0.99, "predict": "every"}),
        ({}, {"optimizer": "adamw", "beta_2": 0.99, "weight_decay": 0.05}),
    ],
)
def test_settings_that_apply_are_kept_and_others_have_defaults(model: dict[str, Any], training: dict[str, Any]) -> None:
    parsed = run_config.parse({"device": "cpu", "model": model, "training": training}, "source")
    defaults = config.flatten(run_config.parse({"device": "cpu"}, "source").result_settings())
    settings = config.flatten(parsed.result_settings())
    changed = {key: value for key, value in settings.items() if value != defaults[key]}
    assert changed == config.flatten({"model": model, "training": training})


@pytest.mark.parametrize(
    ("name", "sampling", "message"),
    [
        ("joint", {"threshold": "dynamic"}, "sampling.threshold dynamic does not apply to model.name joint"),
        ("joint", {"threshold": 0.5}, "sampling.threshold 0.5 does not apply to model.name joint"),
        ("base", {"threshold": None}, "sampling.threshold is missing, and model.name base needs one"),
        ("base", {"top_p": 0.9}, "sampling.top_p does not apply to model.name base"),
        ("joint", {"primer_steps": 16}, "sampling.primer_steps is set, but sampling.primer is not"),
    ],
)
def test_sampling_settings_that_do_not_apply_are_refused(name: str, sampling: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"^source: ") as caught:
        run_config.parse({"device": "cpu", "model": {"name": name}, "sampling": sampling}, "source")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "temperature", "has_warning"), [("joint", 0.7, True), ("joint", 0.9, False), ("base", 0.5, False)]
)
def test_low_temperature_of_the_joint_model_is_a_warning(name: str, temperature: float, has_warning: bool) -> None:
    parsed = run_config.parse({"device": "cpu", "model": {"name": name}, "sampling": {"temperature": temperature}}, "source")
    assert bool(find_warnings(parsed)) == has_warning


def test_joint_model_has_defaults_of_its_own_which_can_be_overridden() -> None:
    parsed = run_config.parse({"device": "cpu", "model": {"name": "joint"}, "training": {"batch": 16}}, "source")
    assert (parsed.model.units, parsed.data.window_steps, parsed.data.stride) == (48, 32, None)
    assert (parsed.training.predict, parsed.training.optimizer, parsed.training.batch) == ("every", "adamw", 16)
    assert parsed.sampling.threshold is None
    other = run_config.parse({"device": "cpu", "model": {"name": "joint"}, "training": {"optimizer": "rmsprop"}}, "source")
    assert (other.training.learning_rate, other.training.beta_2, other.training.dropout) == (0.002, None, 0.1)
    assert other.training.clip_norm == 1.0
    rprop = run_config.parse({"device": "cpu", "model": {"name": "joint"}, "training": {"optimizer": "rprop"}}, "source")
    assert (rprop.training.clip_norm, rprop.training.average) == (None, 0.99)
    dense = run_config.parse({"device": "cpu", "model": {"name": "joint", "body": "dense"}}, "source")
    assert dense.model.units == 256
    assert run_config.parse(dense.model_dump(), "source") == dense


def test_documentation_has_every_default_of_the_joint_model() -> None:
    base, joint = (
        config.flatten(run_config.parse({"device": "cpu", "model": {"name": name}}, "source").result_settings())
        for name in ("base", "joint")
    )
    changed = {key.partition(".")[2]: joint[key] for key in joint if joint[key] != base[key] and key != "model.name"}
    assert len(changed) == 13
    text = (ROOT / "docs" / "music.md").read_text()
    entries = [yaml_files.dump_yaml({key: value}).strip() for key, value in changed.items()]
    assert [entry for entry in entries if f"`{entry}`" not in text] == []


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as unknown:
        run_config.parse({"device": "cpu", "trainin": {}, "model": {"units": 0}}, "source")
    assert len(str(unknown.value).splitlines()) == 2
    with pytest.raises(ConfigError) as contradicting:
        run_config.parse({"device": "cpu", "model": {"layers": 2}, "training": {"loss": "focal", "loss_weight": 3.0}}, "source")
    assert len(str(contradicting.value).splitlines()) == 3


def test_identity_depends_only_on_the_store_and_on_settings_that_change_the_result() -> None:
    base = run_config.parse({"device": "cpu"}, "source")
    on_gpus = run_config.parse({"device": "gpu", "slurm": {"gpus_per_node": 2, "timeout_min": 7}}, "source")
    other_seed = run_config.parse({"device": "cpu", "training": {"seed": 1}}, "source")
    assert base.identity("f") == on_gpus.identity("f")
    assert base.identity("f") != other_seed.identity("f")
    assert base.identity("f") != base.identity("g")


def test_identities_of_training_and_sampling_are_two() -> None:
    base = run_config.parse({"device": "cpu"}, "source")
    longer = run_config.parse({"device": "cpu", "sampling": {"steps": 9}}, "source")
    other_seed = run_config.parse({"device": "cpu", "training": {"seed": 1}}, "source")
    assert base.training_identity("f") == longer.training_identity("f") != other_seed.training_identity("f")
    assert base.training_identity("f") != base.training_identity("g")
    assert base.sampling_identity(b"") == other_seed.sampling_identity(b"") != longer.sampling_identity(b"")
    assert base.sampling_identity(b"a") != base.sampling_identity(b"b")


def test_written_configuration_is_read_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    written = run_config.parse({"device": "cpu", "data": {"groups": ["Bach"]}, "training": {"learning_rate": 1e-3}}, "source")
    path.write_text(yaml_files.dump_yaml(written.model_dump(mode="json")))
    assert run_config.parse(yaml_files.load_yaml(path), "source") == written


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("30", 30), ("30:01", 31), ("8:00:00", 480), ("1-12", 2_160), ("1-0:30", 1_470), ("0-1:0:1", 61), (45, 45)],
)
def test_time_limit_is_given_in_minutes_or_as_sbatch_accepts_it(text: object, minutes: int) -> None:
    assert run_config.parse({"device": "cpu", "slurm": {"timeout": text}}, "source").slurm.timeout_min == minutes


@pytest.mark.parametrize("gpus", ["a100:2", "2080ti:2", "1g.10gb:2", "gtx_1080-ti:2"])
def test_type_of_a_gpu_is_named_as_in_slurm(gpus: str) -> None:
    resources = run_config.parse({"device": "gpu", "slurm": {"gpus_per_node": gpus}}, "source").slurm
    assert (resources.num_gpus, resources.one_gpu) == (2, gpus.replace(":2", ":1"))


@pytest.mark.parametrize(
    ("slurm", "message"),
    [
        ({"timeout": "8h"}, "slurm.timeout_min is '8h'"),
        ({"gpus_per_node": "a100"}, "slurm.gpus_per_node is 'a100'"),
        ({"gpus_per_node": "a100:2"}, "device cpu with slurm.gpus_per_node a100:2"),
        ({"extra": {"array": "0-3"}}, "expected options other than array (set slurm.max_parallel)"),
        ({"extra": {"clusters": "other"}}, "expected options other than clusters (export SLURM_CLUSTERS"),
        ({"extra": {"cluster": "other"}}, "expected options other than clusters (export SLURM_CLUSTERS"),
        ({"extra": {"job-na": "mine"}}, "expected options other than job-name (jobs are found by their names"),
        ({"extra": {"quiet": True}}, "expected options other than quiet (the output of sbatch is parsed"),
        ({"extra": {"requeue": False}}, "expected requeue to be null, which removes the option, or true"),
        ({"extra": {"mail_type": "END"}}, "slurm.extra.mail_type"),
        ({"extra": {"comment": "a\n#SBATCH --begin=now"}}, "slurm.extra.comment"),
        ({"partition": ""}, "slurm.partition is '', expected text in one line"),
        ({"cpu_partition": "a\nb"}, "slurm.cpu_partition is 'a\\nb', expected text in one line"),
        ({"account": ""}, "slurm.account is '', expected text in one line"),
        ({"runs_per_job": 8, "nodes": 2}, "slurm.nodes 2 for jobs of 8 runs, which share one node"),
        ({"runs_per_gpu": 4, "nodes": 2}, "slurm.nodes 2 for jobs of 4 runs, which share one node"),
        ({"runs_per_gpu": 4, "runs_per_job": 2}, "a job cannot train more runs at a time than it has"),
        ({"runs_per_gpu": 0}, "slurm.runs_per_gpu is 0"),
    ],
)
def test_invalid_options_of_sbatch_are_refused(slurm: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run_config.parse({"device": "cpu", "slurm": slurm}, "source")
    assert message in str(caught.value)


def test_packing_does_not_make_a_run_another_one() -> None:
    alone, packed = (
        run_config.parse({"device": "gpu", "slurm": {"gpus_per_node": 1} | packing}, "source")
        for packing in ({}, {"runs_per_job": 8, "runs_per_gpu": 4})
    )
    assert packed.identity("1f") == alone.identity("1f")
    assert (alone.slurm.pack_size, packed.slurm.pack_size) == (1, 8)
    with pytest.raises(ConfigError, match="but runs that share a GPU use no other"):
        run_config.parse({"device": "gpu", "slurm": {"gpus_per_node": 2, "runs_per_gpu": 4}}, "source")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"transpose": 5}}, "data.transpose does not apply to model.ensemble, whose runs are trained: remove it"),
        ({"checkpoints": {"keep": 1}}, "checkpoints.keep does not apply to model.ensemble"),
        ({"logical_devices": 2}, "model.ensemble with 2 replicas; an ensemble uses one device"),
        ({"slurm": {"nodes": 2}}, "model.ensemble with 2 replicas; an ensemble uses one device"),
    ],
)
def test_settings_of_training_do_not_apply_to_an_ensemble(sections: dict[str, Any], message: str) -> None:
    model = {"name": "joint", "ensemble": ["a", "b"]}
    assert run_config.parse({"device": "cpu", "model": model, "data": {"groups": ["Bach"]}}, "source").model.ensemble
    with pytest.raises(ConfigError) as caught:
        run_config.parse({"device": "cpu", "model": model, **sections}, "source")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("model", "training", "key"), [({"body": "dense"}, {}, "model.body"), ({}, {"optimizer": "adam"}, "training.optimizer")]
)
def test_defaults_that_depend_on_another_setting_are_not_to_be_removed(
    model: dict[str, Any], training: dict[str, Any], key: str
) -> None:
    model = {"name": "joint", "ensemble": ["a", "b"], **model}
    with pytest.raises(ConfigError) as caught:
        run_config.parse({"device": "cpu", "model": model, "training": training}, "source")
    assert str(caught.value) == f"source: {key} does not apply to model.ensemble, whose runs are trained: remove it"
