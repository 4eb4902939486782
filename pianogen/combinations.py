"""Settings that contradict each other, and settings that would be ignored: both are refused."""

from collections.abc import Iterator

from pianogen.config import Config, ConfigError, ModelConfig, TrainingConfig


def check_combinations(config: Config, source: str) -> None:
    """Checks that no setting would be ignored, and that settings do not contradict each other.

    Args:
        source: the file or object that the settings come from, for messages.

    Raises:
        ConfigError: with all the contradictions.
    """
    contradictions = [*_of_model(config.model), *_of_loss(config.model, config.training), *_of_training(config)]
    if contradictions:
        raise ConfigError("\n".join(f"{source}: {text}" for text in contradictions))


def _of_model(model: ModelConfig) -> Iterator[str]:
    if model.layers is not None and (model.layers > 1) != (model.name == "stacked"):
        yield (
            f"model.layers is {model.layers} and model.name is {model.name}; "
            "only stacked has more than one layer: remove model.layers or set model.name: stacked"
        )
    if model.has_state_head:
        for key in ("activation", "silence", "dense_layers"):
            if getattr(model, key) != ModelConfig.model_fields[key].default:
                yield f"model.{key} does not apply to model.name {model.name}, which predicts the state of each key: remove it"


def _of_loss(model: ModelConfig, training: TrainingConfig) -> Iterator[str]:
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


def _of_training(config: Config) -> Iterator[str]:
    model, training = config.model, config.training
    if training.predict == "every" and model.name == "bidirectional":
        yield "training.predict every does not apply to model.name bidirectional, which reads the rows that it would predict"
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
