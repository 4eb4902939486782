"""Check that models can be trained on a store, before a sweep is submitted: a job would fail only after waiting in the queue."""

from collections.abc import Callable
from functools import lru_cache

import keras
import tensorflow as tf

from pianogen.config import Config, DataConfig
from pianogen.data.statistics import train_statistics
from pianogen.data.windows import evaluation_batches, find_windows, training_batches
from pianogen.meter import bar_steps
from pianogen.store import Split, Store
from pianogen.training import networks
from pianogen.training.schedule import epoch_ends, learning_rate
from pianogen.training.trained_model import load_ensemble
from pianogen.window import Window


def check_models(store: Store, configs: list[Config], show: Callable[[str], None] = lambda _: None) -> int:
    """Builds every distinct model and computes the loss of one batch of its windows, on the CPU and in 32 bits; loads ensembles.

    Args:
        show: called with the number and the name of each model before it is built.

    Returns:
        Number of distinct models.

    Raises:
        WindowError: there is no window to train on.
        TrainedModelError: an ensemble cannot be loaded.
        ConfigError: the warm-up of a run is as long as the run or longer.
        UsageError: a bar of samples is not a whole number of steps, or is too long.
        PianogenError: a model cannot be built, or its loss cannot be computed.
    """
    tf.config.set_visible_devices([], "GPU")
    for meter in {config.sampling.meter for config in configs if config.sampling.meter}:
        bar_steps(meter, store.steps_per_quarter)
    ensembles = {config.model.ensemble for config in configs if config.model.ensemble}
    for runs in ensembles:
        load_ensemble(runs, store.steps_per_quarter)
    trained = [config for config in configs if not config.model.ensemble]
    distinct = {_relevant_settings(config): config for config in trained}
    find_keys = lru_cache(lambda data: train_statistics(store, data).keys)

    @lru_cache(maxsize=2)  # most models of a sweep read the same windows, with or without a context
    def first_batch(data: DataConfig, batch: int, every_row: bool, reads_context: bool) -> Window:
        windows = find_windows(store, Split.TRAIN, data, every_row, reads_context)
        training_batches(windows, batch, seed=0)  # checks the sizes, reads nothing
        window: Window = next(iter(evaluation_batches(windows, batch)))
        return window

    for number, config in enumerate(distinct.values(), start=1):
        show(f"{number} of {len(distinct)}: {config.model.name}")
        network = networks.build(config, find_keys(config.data), store.steps_per_quarter)
        window = first_batch(config.data, config.training.batch, network.every_row, network.reads_context)
        network.losses(window, training=True)
        keras.backend.clear_session()
    for config in trained:
        windows = find_windows(store, Split.TRAIN, config.data, config.predicts_every_row)
        learning_rate(config.training, max(epoch_ends(len(windows), config.training)))  # checks the warm-up
    return len(ensembles) + len(distinct)


def _relevant_settings(config: Config) -> str:
    """The settings that decide whether a model can be trained."""
    training = config.training.model_dump_json(include={"batch", "loss", "predict"})
    drops = str(config.training.dropout > 0)
    return "\n".join((config.model.model_dump_json(), config.data.model_dump_json(), training, drops))
