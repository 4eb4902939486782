"""Check that models can be trained on a store, before a sweep is submitted: a job would fail only after waiting in the queue."""

import keras
import tensorflow as tf

from pianogen import models
from pianogen.config import Config
from pianogen.data.windows import evaluation_batches, find_windows, training_batches
from pianogen.store import Split, Store


def check_models(store: Store, configs: list[Config]) -> int:
    """Builds every distinct model and computes the loss of one batch of its windows, on the CPU and in 32 bits.

    Returns:
        Number of distinct models.

    Raises:
        WindowError: there is no window to train on.
        PianogenError: a model cannot be built, or its loss cannot be computed.
    """
    tf.config.set_visible_devices([], "GPU")
    distinct = {_relevant_settings(config): config for config in configs}
    for config in distinct.values():
        windows = find_windows(store, Split.TRAIN, config.data)
        training_batches(windows, config.training.batch, config.training.seed)  # checks the sizes, reads nothing
        network = models.build(config.model, config.training, config.data.window_steps)
        network.losses(next(iter(evaluation_batches(windows, config.training.batch))), training=True)
        keras.backend.clear_session()
    return len(distinct)


def _relevant_settings(config: Config) -> str:
    """The settings that decide whether a model can be trained."""
    irrelevant = {"epochs", "max_iterations", "learning_rate", "optimizer", "patience", "seed", "mixed_precision"}
    training = config.training.model_dump_json(exclude=irrelevant)
    return "\n".join((config.model.model_dump_json(), config.data.model_dump_json(), training))
