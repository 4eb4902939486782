"""The configuration of a run: what changes its result, and how often its checkpoints are written."""

import difflib
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pianogen.errors import UsageError

ModelName = Literal["base", "gru", "rnn", "stacked", "bidirectional", "mlstm", "peephole", "split", "pair"]
LossName = Literal["mse", "weighted_mse", "crossentropy", "weighted_crossentropy", "focal"]


class ConfigError(UsageError):
    """A configuration is not valid; nothing was started."""


class Section(BaseModel):
    """A section of a configuration: immutable, and unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The architecture of the model.

    Attributes:
        name: "base" is the LSTM of the report; "gru", "rnn", "mlstm" and "peephole" are the same model with a GRU, a plain
            recurrent layer, a multiplicative LSTM and a peephole LSTM. "stacked" has several LSTM layers; "bidirectional" reads a
            window in both directions. "split" has separate output heads for keys and tempo; "pair" also has a second LSTM for the
            tempo.
        units: number of units of each recurrent layer.
        layers: number of recurrent layers; None means 2 for "stacked" and 1 for the others.
        dense_layers: number of dense layers after the recurrent ones, including the output layer; the report has 2.
        activation: activation of the output layer; only for models whose output is one vector of keys and tempo.
        silence: whether each key has a third feature and output, which is 1 where the key is silent.
    """

    name: ModelName = "base"
    units: int = Field(default=64, ge=1)
    layers: int | None = Field(default=None, ge=1)
    dense_layers: Literal[1, 2] = 2
    activation: Literal["softplus", "relu", "sigmoid"] = "softplus"
    silence: bool = False

    @property
    def has_state_head(self) -> bool:
        """Whether an output head predicts the state of each key; other models predict keys and tempo as one vector."""
        return self.name in ("split", "pair")

    @property
    def default_loss(self) -> LossName:
        """The loss of the keys where `training.loss` is None."""
        return "crossentropy" if self.has_state_head else "mse"


class DataConfig(Section):
    """The windows that the model is trained on.

    Attributes:
        window_steps: number of input rows of a window; the model predicts the row that follows them, or the row that follows each
            of them.
        stride: number of steps between the starts of two consecutive windows of a piece, the first of which starts with the
            piece. None means 1 if only the last row is predicted. If every row is predicted, None means windows that do not
            overlap, at different steps in each epoch.
        groups: names of the groups whose pieces are used; all groups if empty.
        transpose: largest transposition of a training window in semitones, up or down; no key leaves the keyboard.
        memory_mb: limit for rows held in memory; the windows of a larger corpus are shuffled in pools of half this size.
    """

    window_steps: int = Field(default=64, ge=1)
    stride: int | None = Field(default=None, ge=1)
    groups: tuple[str, ...] = Field(default=(), strict=False)
    transpose: int = Field(default=0, ge=0, le=11)
    memory_mb: int = Field(default=2_000, ge=20)


class TrainingConfig(Section):
    """The optimization; the defaults are those of the report.

    Attributes:
        batch: number of windows of a global batch, which all replicas share.
        epochs: number of passes over all windows.
        max_iterations: limit of the number of iterations; training can end within an epoch.
        optimizer: rmsprop, adam or rprop.
        learning_rate: learning rate of the optimizer.
        loss: loss of the keys: mse (mean squared error), weighted_mse (mean squared error in which onsets and holds count
            `loss_weight` times), crossentropy, weighted_crossentropy or focal. None means the default of the model: crossentropy
            for "split" and "pair", mse for the others.
        loss_weight: weight of onsets and holds in the weighted losses.
        predict: "last" trains on the row after the window, as in the report; "every" on the row after every row of the window.
        patience: number of epochs without a better validation loss after which training stops and restores the best weights;
            None disables early stopping.
        mixed_precision: whether the model computes in 16 bits; only for GPUs.
        seed: seed of the initial weights and of the order of windows.
    """

    batch: int = Field(default=64, ge=1)
    epochs: int = Field(default=25, ge=1)
    max_iterations: int | None = Field(default=None, ge=1)
    optimizer: Literal["rmsprop", "adam", "rprop"] = "rmsprop"
    learning_rate: float = Field(default=0.002, gt=0)
    loss: LossName | None = None
    loss_weight: float = Field(default=10.0, gt=0)
    predict: Literal["last", "every"] = "last"
    patience: int | None = Field(default=None, ge=1)
    mixed_precision: bool = False
    seed: int = Field(default=0, ge=0, le=2**32 - 1)


class CheckpointConfig(Section):
    """How often checkpoints are written; the result does not depend on it.

    Attributes:
        every_iterations: number of iterations between checkpoints; None means that only `every_min` decides.
        every_min: minutes between checkpoints.
        keep: number of checkpoints that are kept.
    """

    every_iterations: int | None = Field(default=None, ge=1)
    every_min: float = Field(default=10.0, gt=0)
    keep: int = Field(default=2, ge=1)


class SamplingConfig(Section):
    """The samples that are drawn from the trained model.

    Attributes:
        num: number of samples.
        steps: length of a sample in steps (sixteenth notes).
        temperature: scale of the noise; close to 0, the most probable state of each key is drawn.
        threshold: a number is a static threshold, as in the report; "dynamic" computes a threshold at each step, so that the
            number of sounding keys follows the corpus.
        seed: a sample depends on this seed and on its index.
        primer: path of a MIDI file or score that the samples continue; None starts from silence.
    """

    num: int = Field(default=8, ge=1)
    steps: int = Field(default=512, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    threshold: Literal["dynamic"] | Annotated[float, Field(gt=0, lt=1)] = "dynamic"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    primer: str | None = None


class Config(Section):
    """The settings that change the result of a run, and how often its checkpoints are written."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig = SamplingConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()

    def identity(self, fingerprint: str) -> str:
        """The identity of a run: a hash of every setting that changes its result, and of the store's fingerprint."""
        content = [self.result_settings(), fingerprint]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def result_settings(self) -> dict[str, dict[str, Any]]:
        """The sections that change the result of a run, as JSON values."""
        return self.model_dump(mode="json", include={"model", "data", "training", "sampling"})


_SectionType = TypeVar("_SectionType", bound=Section)


def validate(schema: type[_SectionType], values: dict[str, Any], source: str) -> _SectionType:
    """Validates a nested mapping against a schema.

    Args:
        source: the file or object that the values come from, for messages.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type or range; all errors are listed.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_message(schema, detail, source) for detail in error.errors())) from None


def check_combinations(config: Config, source: str) -> None:
    """Checks that no setting would be ignored, and that settings do not contradict each other.

    Raises:
        ConfigError: with all the contradictions.
    """
    if contradictions := [f"{source}: {text}" for text in _contradictions(config.model, config.training)]:
        raise ConfigError("\n".join(contradictions))


def _contradictions(model: ModelConfig, training: TrainingConfig) -> Iterator[str]:
    loss = training.loss or model.default_loss
    if model.layers is not None and (model.layers > 1) != (model.name == "stacked"):
        yield (
            f"model.layers is {model.layers} and model.name is {model.name}; "
            "only stacked has more than one layer: remove model.layers or set model.name: stacked"
        )
    if model.has_state_head:
        for key in ("activation", "silence", "dense_layers"):
            if getattr(model, key) != ModelConfig.model_fields[key].default:
                yield f"model.{key} does not apply to model.name {model.name}, which predicts the state of each key: remove it"
        if loss not in ("crossentropy", "weighted_crossentropy", "focal"):
            yield (
                f"training.loss {loss} does not apply to model.name {model.name}; "
                "set crossentropy, weighted_crossentropy or focal"
            )
    elif loss not in ("mse", "weighted_mse") and model.activation != "sigmoid":
        yield (
            f"training.loss {loss} requires probabilities, and outputs of model.activation {model.activation} can exceed 1; "
            "set model.activation: sigmoid"
        )
    if training.loss_weight != TrainingConfig.model_fields["loss_weight"].default and not loss.startswith("weighted"):
        yield f"training.loss_weight does not apply to training.loss {loss}; only weighted losses use it: remove it"
    if training.predict == "every" and model.name == "bidirectional":
        yield "training.predict every does not apply to model.name bidirectional, which reads the rows that it would predict"


def flatten(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings by dotted key, such as `training.batch`."""
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def load_yaml(path: Path) -> dict[str, Any]:
    """Reads the mapping in a YAML 1.2 file.

    Raises:
        ConfigError: the file cannot be read, is not valid YAML, or is not a mapping.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except (OSError, ValueError, YAMLError) as error:  # an impossible date is a ValueError
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} contains {type(values).__name__}, expected a mapping of sections")
    return values


def dump_yaml(values: dict[str, Any]) -> str:
    """Formats a nested mapping as YAML, in the order of its keys."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, text)
    return text.getvalue()


def _message(schema: Any, detail: Any, source: str) -> str:
    keys = [str(part) for part in detail["loc"] if not str(part).startswith(("constrained-float", "float", "literal["))]
    place = f"{source}: {'.'.join(keys)}"
    if detail["type"] == "extra_forbidden":
        for key in keys[:-1]:
            schema = schema.model_fields[key].annotation
        return f"{place} is not a key; {_suggestion(keys[-1], list(schema.model_fields))}"
    if detail["type"] == "missing":
        return f"{place} is missing and has no default" + ("; set gpu or cpu" if keys[-1] == "device" else "")
    return f"{place} is {detail['input']!r}; {detail['msg']}"


def _suggestion(name: str, valid: list[str]) -> str:
    similar = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return (f"did you mean {similar[0]}? " if similar else "") + f"valid: {', '.join(valid)}"
