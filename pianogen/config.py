"""One validated configuration of a run: what changes its result, and how it is run."""

import difflib
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pianogen.errors import UsageError


class ConfigError(UsageError):
    """A configuration is not valid; nothing was started."""


class Section(BaseModel):
    """A section of a configuration: immutable, and every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelConfig(Section):
    """Which network is trained.

    Attributes:
        name: "base" is the report's LSTM and "gru" the same with a GRU; "rnn" has plain recurrent units, "mlstm" a multiplicative
            and "peephole" a peephole LSTM; "stacked" has several LSTM layers, "bidirectional" reads a window both ways;
            "split" has a head for the keys and one for the tempo, "pair" a second network for the tempo.
        units: width of each recurrent layer.
        layers: recurrent layers; 1, or 2 where the name is "stacked".
        dense_layers: layers between the recurrent ones and the outputs' end: 2 in the report, or 1.
        activation: of the last layer, where one vector holds keys and tempo.
        silence: a third feature and output of each key, 1 where it is silent.
    """

    name: Literal["base", "gru", "rnn", "stacked", "bidirectional", "mlstm", "peephole", "split", "pair"] = "base"
    units: int = Field(default=64, ge=1)
    layers: int | None = Field(default=None, ge=1)
    dense_layers: Literal[1, 2] = 2
    activation: Literal["softplus", "relu", "sigmoid"] = "softplus"
    silence: bool = False

    @property
    def has_state_head(self) -> bool:
        """Whether keys have a head of three states each; other models predict keys and tempo as one vector."""
        return self.name in ("split", "pair")

    @property
    def default_loss(self) -> str:
        """The loss of the keys where `training.loss` is None."""
        return "crossentropy" if self.has_state_head else "mse"


class DataConfig(Section):
    """Which windows it is trained on.

    Attributes:
        window_steps: rows of input; the row after them is predicted.
        stride: steps from one window of a piece to the next.
        groups: train on pieces of these groups alone; all if empty.
        transpose: semitones by which a window may be moved up or down, as far as it stays on the 88 keys.
        memory_mb: rows in memory at a time; windows of a larger corpus are shuffled in pools of half as much.
    """

    window_steps: int = Field(default=64, ge=1)
    stride: int = Field(default=1, ge=1)
    groups: tuple[str, ...] = Field(default=(), strict=False)
    transpose: int = Field(default=0, ge=0, le=11)
    memory_mb: int = Field(default=2_000, ge=20)


class TrainingConfig(Section):
    """How it is trained; the defaults are the report's.

    Attributes:
        batch: windows of one iteration, over all replicas.
        epochs: how often every window is seen.
        max_iterations: ends the training within an epoch.
        optimizer: rmsprop, adam or rprop.
        learning_rate: of the optimizer.
        loss: of the keys: mse, the mean squared error; weighted_mse, where what is not zero counts `loss_weight` times;
            crossentropy; weighted_crossentropy; focal. None takes the network's own: crossentropy where keys have a head of their
            own, mse elsewhere.
        loss_weight: of the weighted losses.
        predict: last, the row after a window alone, as in the report; every, the row after each of its rows.
        patience: epochs without a better validation loss after which training ends with its best weights; None never does.
        mixed_precision: 16-bit arithmetic in the network, on GPUs.
        seed: of the initial weights and the order of windows.
    """

    batch: int = Field(default=64, ge=1)
    epochs: int = Field(default=25, ge=1)
    max_iterations: int | None = Field(default=None, ge=1)
    optimizer: Literal["rmsprop", "adam", "rprop"] = "rmsprop"
    learning_rate: float = Field(default=0.002, gt=0)
    loss: Literal["mse", "weighted_mse", "crossentropy", "weighted_crossentropy", "focal"] | None = None
    loss_weight: float = Field(default=10.0, gt=0)
    predict: Literal["last", "every"] = "last"
    patience: int | None = Field(default=None, ge=1)
    mixed_precision: bool = False
    seed: int = Field(default=0, ge=0, le=2**32 - 1)


class CheckpointConfig(Section):
    """How much work a kill may cost; the result is the same.

    Attributes:
        every_iterations: iterations from one checkpoint to the next; None leaves it to the minutes.
        every_min: minutes from one to the next.
        keep: how many are kept.
    """

    every_iterations: int | None = Field(default=None, ge=1)
    every_min: float = Field(default=10.0, gt=0)
    keep: int = Field(default=2, ge=1)


class SamplingConfig(Section):
    """What is drawn from it.

    Attributes:
        num: samples.
        steps: length of each, in sixteenths.
        temperature: scale of the noise; towards 0 the most probable wins.
        threshold: a number for a static one, as in the report; "dynamic" for one per step, such that the number of sounding
            keys follows the corpus.
        seed: with a sample's index it decides the sample.
        primer: a MIDI file or score that the samples continue; None starts from silence.
    """

    num: int = Field(default=8, ge=1)
    steps: int = Field(default=512, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    threshold: Literal["dynamic"] | Annotated[float, Field(gt=0, lt=1)] = "dynamic"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    primer: str | None = None


class Config(Section):
    """What decides the result of a run, and how often its checkpoints are written."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig = SamplingConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()

    @property
    def loss(self) -> str:
        """The loss of the keys: the configured one, or the default of the model."""
        return self.training.loss or self.model.default_loss

    def identity(self, fingerprint: str) -> str:
        """The identity of a run: the hash of every setting that changes its result and of the store's fingerprint."""
        content = [self.result_settings(), fingerprint]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def result_settings(self) -> dict[str, dict[str, Any]]:
        """The sections that change the result of a run, as JSON values."""
        return self.model_dump(mode="json", include={"model", "data", "training", "sampling"})


_Parsed = TypeVar("_Parsed", bound=Section)


def validate(schema: type[_Parsed], values: dict[str, Any], where: str) -> _Parsed:
    """A configuration from a nested mapping.

    Args:
        where: the source of the values, for messages.

    Raises:
        ConfigError: a key is unknown (with the nearest valid one) or missing, or a value has the wrong type or range.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(schema, detail, where) for detail in error.errors())) from None


def parse(values: dict[str, Any], where: str) -> Config:
    """The configuration of a run from a nested mapping.

    Raises:
        ConfigError: as `validate`, or settings contradict each other.
    """
    config = validate(Config, values, where)
    check_model(config, where)
    return config


def check_model(config: Config, where: str) -> None:
    """Refuses settings that the network would ignore, and combinations that mean nothing."""
    model, training = config.model, config.training
    if model.layers is not None and (model.layers > 1) != (model.name == "stacked"):
        raise ConfigError(
            f"{where}: model.layers {model.layers} with model.name {model.name}; stacked has 2 or more, the others 1"
        )
    standard = ModelConfig()
    if model.has_state_head and any(
        getattr(model, key) != getattr(standard, key) for key in ("activation", "silence", "dense_layers")
    ):
        raise ConfigError(
            f"{where}: model.activation, model.silence and model.dense_layers belong to one vector of outputs; "
            f"model.name {model.name} has a head of three states a key: remove them"
        )
    if model.has_state_head and training.loss not in (None, "crossentropy", "weighted_crossentropy", "focal"):
        raise ConfigError(
            f"{where}: training.loss {training.loss} with model.name {model.name}; it takes a cross-entropy or focal"
        )
    if not model.has_state_head and training.loss not in (None, "mse", "weighted_mse") and model.activation != "sigmoid":
        raise ConfigError(
            f"{where}: training.loss {training.loss} with model.activation {model.activation}, "
            "whose values are no probabilities; say model.activation: sigmoid"
        )
    is_weighted = training.loss in ("weighted_mse", "weighted_crossentropy")
    if training.loss_weight != TrainingConfig().loss_weight and not is_weighted:
        raise ConfigError(f"{where}: training.loss_weight with training.loss {training.loss}; it belongs to the weighted losses")
    if training.predict == "every" and model.name == "bidirectional":
        raise ConfigError(f"{where}: training.predict every with model.name bidirectional, which would see what it predicts")


def flatten(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings by dotted key, such as `training.batch`."""
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML 1.2 file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or no mapping.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except (OSError, ValueError, YAMLError) as error:  # a date that does not exist is a ValueError
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, expected a mapping of sections")
    return values


def dump_yaml(values: dict[str, Any]) -> str:
    """A nested mapping as YAML, in its own order."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, text)
    return text.getvalue()


def nearest(name: str, valid: list[str]) -> str:
    """The end of a message about an unknown name: the closest valid one, and all of them."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return (f"did you mean {close[0]}? " if close else "") + f"valid: {', '.join(valid)}"


def _explain(section: Any, detail: Any, where: str) -> str:
    keys = [str(part) for part in detail["loc"] if not str(part).startswith(("constrained-float", "float", "literal["))]
    place = f"{where}: {'.'.join(keys)}"
    if detail["type"] == "extra_forbidden":
        for key in keys[:-1]:
            section = section.model_fields[key].annotation
        return f"{place} is not a key; {nearest(keys[-1], list(section.model_fields))}"
    if detail["type"] == "missing":
        return f"{place} is missing; it has no default" + (": say gpu or cpu" if keys[-1] == "device" else "")
    return f"{place} is {detail['input']!r}; {detail['msg']}"
