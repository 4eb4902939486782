"""Settings that contradict each other, and settings that would be ignored: both are refused."""

from collections import Counter
from collections.abc import Iterator

from pianogen.config import Config, ModelConfig, TrainingConfig, flatten
from pianogen.roll import ROW_BYTES
from pianogen.validation import ConfigError, Section

_LOWEST_TEMPERATURE = 0.8


def check_combinations(config: Config, source: str) -> None:
    """Checks that no setting would be ignored, and that settings do not contradict each other.

    Args:
        source: the file or object that the settings come from, for messages.

    Raises:
        ConfigError: with all the contradictions.
    """
    contradictions = [
        *_of_model(config.model),
        *_of_ensemble(config),
        *_of_loss(config),
        *_of_training(config),
        *_of_memory(config),
        *_of_sampling(config),
    ]
    if contradictions:
        raise ConfigError("\n".join(f"{source}: {text}" for text in contradictions))


def find_warnings(config: Config) -> list[str]:
    """Settings that are valid but known to give poor samples."""
    sampling = config.sampling
    if config.model.is_joint and sampling.temperature < _LOWEST_TEMPERATURE:
        return [
            f"sampling.temperature is {sampling.temperature:g}, and samples of joint thin out to silence below "
            f"{_LOWEST_TEMPERATURE}; 0.9 to 1 is best"
        ]
    return []


def _of_model(model: ModelConfig) -> Iterator[str]:
    if model.layers is not None and (model.layers > 1) != model.is_stack:
        yield (
            f"model.layers is {model.layers} and model.name is {model.name}; "
            "only stacked and feedback have more than one layer: remove model.layers, or change model.name"
        )
    if model.name != "hyperlstm":
        for key in _changed(model, "hyper_units", "hyper_embedding"):
            yield f"model.{key} does not apply to model.name {model.name}; only hyperlstm uses it: remove it"
    if model.has_state_head or model.is_joint:
        for key in _changed(model, "activation", "silence", "dense_layers"):
            yield f"model.{key} does not apply to model.name {model.name}, which predicts states: remove it"
    if not model.is_joint:
        for key in _changed(model, "cell", "body", "head", "copies", "ensemble"):
            alias = ModelConfig.model_fields[key].alias or key
            yield f"model.{alias} does not apply to model.name {model.name}; only joint uses it: remove it"


def _of_ensemble(config: Config) -> Iterator[str]:
    ensemble = config.model.ensemble
    if not ensemble or not config.model.is_joint:
        return
    if len(ensemble) < 2:
        yield "model.ensemble lists 1 run; expected two or more: add runs"
    for path, count in Counter(ensemble).items():
        if count > 1:
            yield f"model.ensemble lists {path} twice; remove one"
    model, data = {"name": "joint", "ensemble": ensemble}, {"groups": config.data.groups}
    # The defaults of other settings depend on the body and the optimizer; these settings are not to be removed.
    sections = {"model": model | {"body": config.model.body}, "training": {"optimizer": config.training.optimizer}, "data": data}
    default, of_same_kind = (Config.model_validate(values) for values in ({"model": model}, sections))
    expected = flatten(of_same_kind.model_dump(exclude={"sampling"}))
    expected |= {"model.body": default.model.body, "training.optimizer": default.training.optimizer}
    for key, value in flatten(config.model_dump(include={"model", "data", "training", "checkpoints"})).items():
        if value != expected[key]:
            yield f"{key} does not apply to model.ensemble, whose runs are trained: remove it"


def _of_loss(config: Config) -> Iterator[str]:
    model, training = config.model, config.training
    if model.is_joint:
        for key in _changed(training, "loss", "loss_weight"):
            yield f"training.{key} does not apply to model.name joint, whose loss is the negative log-likelihood: remove it"
        return
    loss = training.loss or model.default_loss
    if model.has_state_head and loss not in ("crossentropy", "weighted_crossentropy", "focal"):
        yield (
            f"training.loss {loss} does not apply to model.name {model.name}; set crossentropy, weighted_crossentropy or focal"
        )
    if not model.has_state_head and loss not in ("mse", "weighted_mse") and model.activation != "sigmoid":
        yield (
            f"training.loss {loss} requires probabilities, and outputs of model.activation {model.activation} can exceed 1; "
            "set model.activation: sigmoid"
        )
    if training.loss_weight != TrainingConfig.model_fields["loss_weight"].default and not loss.startswith("weighted"):
        yield f"training.loss_weight does not apply to training.loss {loss}; only weighted losses use it: remove it"


def _of_memory(config: Config) -> Iterator[str]:
    batch_bytes = config.training.batch * (config.data.window_steps + 1) * ROW_BYTES
    if batch_bytes > config.data.memory_mb * 10**6:
        yield (
            f"training.batch is {config.training.batch:,}: its windows take {batch_bytes / 1e9:,.1f} GB, more than "
            f"data.memory_mb {config.data.memory_mb:,}; lower training.batch"
        )


def _of_sampling(config: Config) -> Iterator[str]:
    model, sampling = config.model, config.sampling
    if model.is_joint and sampling.threshold is not None:
        yield (
            f"sampling.threshold {sampling.threshold} does not apply to model.name joint, which draws from the probability of a "
            "step: remove it"
        )
    if sampling.threshold is None and not model.is_joint:
        yield f"sampling.threshold is missing, and model.name {model.name} needs one: set a number between 0 and 1, or dynamic"
    if sampling.top_p < 1 and not model.is_joint:
        yield f"sampling.top_p does not apply to model.name {model.name}; only joint uses it: remove it"
    if sampling.primer_steps is not None and sampling.primer is None:
        yield "sampling.primer_steps is set, but sampling.primer is not: set both or none"


def _changed(section: Section, *keys: str) -> list[str]:
    """The keys whose values are not the defaults."""
    return [key for key in keys if getattr(section, key) != type(section).model_fields[key].default]


def _of_training(config: Config) -> Iterator[str]:
    model, training = config.model, config.training
    if training.predict == "every" and model.name == "bidirectional":
        yield (
            "training.predict every does not apply to model.name bidirectional, which reads the rows that it would predict: "
            "remove it"
        )
    if training.predict == "last" and model.is_joint:
        yield "training.predict last does not apply to model.name joint, which predicts every row: remove it"
    if training.dropout and not model.is_joint:
        yield f"training.dropout does not apply to model.name {model.name}; only joint uses it: remove it"
    if training.beta_2 is not None and training.optimizer not in ("adam", "adamw"):
        yield f"training.beta_2 does not apply to training.optimizer {training.optimizer}; only adam and adamw use it: remove it"
    if training.weight_decay is not None and training.optimizer != "adamw":
        yield f"training.weight_decay does not apply to training.optimizer {training.optimizer}; only adamw uses it: remove it"
    if training.optimizer == "rprop":
        if training.learning_rate_varies:
            yield (
                "training.schedule and training.warmup_iterations do not apply to training.optimizer rprop, which adapts the "
                "step size of each weight: remove them"
            )
        if training.clip_norm is not None:
            yield (
                "training.clip_norm does not apply to training.optimizer rprop, which uses only the sign of the gradient: "
                "remove it"
            )
