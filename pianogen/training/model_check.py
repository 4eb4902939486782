"""Check that models can be trained on a store, before a sweep is submitted: a job would fail only after waiting in the queue."""

import keras
import tensorflow as tf

from pianogen.config import Config
from pianogen.data.statistics import train_statistics
from pianogen.data.windows import evaluation_batches, find_windows, training_batches
from pianogen.meter import bar_steps
from pianogen.store import Split, Store
from pianogen.training import networks
from pianogen.training.schedule import epoch_ends, learning_rate
from pianogen.training.trained_model import load_ensemble


def check_models(store: Store, configs: list[Config]) -> int:
    """Builds every distinct model and computes the loss of one batch of its windows, on the CPU and in 32 bits; loads ensembles.

    Returns:
        Number of distinct models.

    Raises:
        WindowError: there is no window to train on.
        TrainedModelError: an ensemble cannot be loaded.
        ConfigError: the warm-up of a run is as long as the run or longer.
        UsageError: a bar of samples has no whole number of steps, or too many.
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
    for config in distinct.values():
        network = networks.build(config, train_statistics(store, config.data).keys, store.steps_per_quarter)
        windows = find_windows(store, Split.TRAIN, config.data, network.every_row, network.reads_context)
        training_batches(windows, config.training.batch, config.training.seed)  # checks the sizes, reads nothing
        network.losses(next(iter(evaluation_batches(windows, config.training.batch))), training=True)
        keras.backend.clear_session()
    for config in trained:
        windows = find_windows(store, Split.TRAIN, config.data, config.predicts_every_row)
        learning_rate(config.training, epoch_ends(len(windows), config.training)[-1])  # checks the warm-up
    return len(ensembles) + len(distinct)


def _relevant_settings(config: Config) -> str:
    """The settings that decide whether a model can be trained."""
    relevant = {"batch", "loss", "loss_weight", "predict", "dropout"}
    training = config.training.model_dump_json(include=relevant)
    return "\n".join((config.model.model_dump_json(), config.data.model_dump_json(), training))
