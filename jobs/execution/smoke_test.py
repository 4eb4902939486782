"""The smoke test of a sweep before its submission, so that the end of a run does not fail after hours of training.

python -m jobs.execution.smoke_test STORE FOLDER DESCRIPTOR < CONFIGURATIONS

The process reads a JSON list of configurations. It builds every model, and executes all stages of one run on a single batch in
FOLDER, which must be empty. It writes a line for each stage to the file descriptor, a JSON list of the stage and a detail. If
there is an error that the user can correct, the last line is [ERROR, message], and the exit code is INVALID. Standard output is
not used: the start of Python or a library may print there.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.configuration.run_config import RunConfig
from pianogen import logs
from pianogen.errors import PianogenError
from pianogen.roll_plot import plot_roll
from pianogen.store import Split, Store
from pianogen.tracking.tracker import find_tracker

if TYPE_CHECKING:
    from pianogen.models.network import Network

ERROR = "error"
INVALID = 3  # exit code; an uncaught exception exits with 1
_SAMPLE_STEPS = 2  # of the sample


def main(store: Path, folder: Path, configs: Sequence[RunConfig], show: Callable[[str, str], None]) -> None:
    """Builds the models of all runs of a sweep, and executes the stages of its first run.

    Args:
        show: called at the beginning of each stage with its name and a detail.

    Raises:
        PianogenError: a model, a tracker or a setting cannot be used, or a file cannot be written.
    """
    logs.import_tensorflow()
    from pianogen.training import model_check

    for tracker in {config.training.tracker for config in configs if config.training.tracker}:
        find_tracker(tracker)
    gc.freeze()  # garbage is collected after every model; the objects of the modules would take most of that time
    with Store(store) as opened:
        model_check.check_models(opened, list(configs), lambda detail: show("model", detail))
        show("one iteration and one sample", "")
        _run(configs[0], opened, folder)


def _run(config: RunConfig, store: Store, folder: Path) -> None:
    """Executes one iteration, and writes a checkpoint, curves, the model, a sample and its plot."""
    import tensorflow as tf

    from pianogen.data.statistics import train_statistics
    from pianogen.sampling.draw import Sampler, draw_to_store
    from pianogen.sampling.sample_store import SampleSource
    from pianogen.training import networks
    from pianogen.training.trained_model import load_ensemble

    statistics = train_statistics(store, config.data)
    if config.model.ensemble:
        network = load_ensemble(config.model.ensemble, store.steps_per_quarter)
    else:
        network = networks.build(config, statistics.keys, store.steps_per_quarter)
        _train(config, store, network, folder)
    # A sum shows whether XLA works; the loop of the sampler would take seconds to compile.
    tf.function(lambda: tf.add(1, 1), jit_compile=True)()
    tf.config.run_functions_eagerly(True)
    settings = config.sampling.model_copy(update={"num": 1, "steps": _SAMPLE_STEPS, "best_of": 1})
    for roll in draw_to_store(folder / "samples.h5", Sampler(network, settings, statistics), SampleSource("smoke-test", "none")):
        (folder / "sample.png").write_bytes(plot_roll(roll))


def _train(config: RunConfig, store: Store, network: Network, folder: Path) -> None:
    import tensorflow as tf

    from pianogen.data.windows import evaluation_batches, find_windows
    from pianogen.training.checkpoints import Checkpoints, variables_of
    from pianogen.training.curves import draw_curves
    from pianogen.training.optimizers import build_optimizer

    windows = find_windows(store, Split.TRAIN, config.data, network.every_row, network.reads_context)
    variables = network.keras.trainable_variables
    training = config.training.model_copy(update={"mixed_precision": False})  # this machine may have no GPU
    optimizer = build_optimizer(training, training.warmup_iterations + 1, variables)
    with tf.GradientTape() as tape:
        losses = network.losses(next(iter(evaluation_batches(windows, 1))), training=True)
    optimizer.apply(tape.gradient(losses["loss"], variables), variables)
    iteration = tf.Variable(1, dtype=tf.int64)
    state = tf.train.Checkpoint(model=variables_of(network.keras), optimizer=optimizer)
    Checkpoints(state, iteration, folder / "checkpoints", config.checkpoints, is_writer=True).save()
    network.keras.save(folder / "model.keras")
    row = {"epoch": 1.0} | {name: float(tf.reduce_mean(value)) for name, value in losses.items()}
    draw_curves([row], network.metrics, folder / "curves.png")


if __name__ == "__main__":
    logs.configure()
    logging.getLogger("pianogen").setLevel(logging.ERROR)
    reports = os.fdopen(int(sys.argv[3]), "w", buffering=1)

    def report(step: str, detail: str) -> None:
        print(json.dumps([step, detail]), file=reports)

    try:
        configurations = [RunConfig.model_validate(values) for values in json.load(sys.stdin)]
        main(Path(sys.argv[1]), Path(sys.argv[2]), configurations, report)
    except (PianogenError, OSError) as error:
        report(ERROR, str(error) if isinstance(error, PianogenError) else f"{error.strerror or error}: {error.filename}")
        sys.exit(INVALID)
