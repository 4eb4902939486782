"""Whether configurations can be trained at all, found out in seconds where they are submitted, not at night where they run."""

import keras
import tensorflow as tf

from pianogen import models
from pianogen.config import Config
from pianogen.data.windows import evaluation_batches, find_windows, training_batches
from pianogen.store import Split, Store


def try_configs(store: Store, configs: list[Config]) -> int:
    """Builds every network that differs, and has each take one batch of the windows it is to be trained on.

    Runs on a CPU, in the precision of a CPU, and looks for no other device.

    Returns:
        How many networks differ.

    Raises:
        WindowError: there is no window to train on.
        PianogenError: a network cannot be built, or gives no loss.
    """
    tf.config.set_visible_devices([], "GPU")
    different = {_what_matters(config): config for config in configs}
    for config in different.values():
        windows = find_windows(store, Split.TRAIN, config.data)
        training_batches(windows, config.training.batch, config.training.seed, 0, 1, range(1))  # reads nothing yet, and refuses
        network = models.build(config.model, config.training, config.data.window_steps)
        packed, tempo_us = next(iter(evaluation_batches(windows, config.training.batch)))
        network.losses(packed, tempo_us, training=True)
        keras.backend.clear_session()
    return len(different)


def _what_matters(config: Config) -> str:
    """What decides whether it can be trained; not how long, how fast, or from which seed."""
    indifferent = {"epochs", "max_iterations", "learning_rate", "optimizer", "patience", "seed", "mixed_precision"}
    training = config.training.model_dump_json(exclude=indifferent)
    return "\n".join((config.model.model_dump_json(), config.data.model_dump_json(), training))
