"""Training as a whole: against its own compiled iterations without any input, and against Keras' fit with Keras' data set.

    python -m benchmarks.train corpus.h5

The three take turns in one process, for a few seconds each, in rounds; a ratio is one of medians over the rounds.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from jobs.configuration import run_config
from jobs.configuration.run_config import RunConfig
from pianogen import command, models
from pianogen.data.windows import Windows, find_windows, training_batches
from pianogen.models.features import NUM_FEATURES, features
from pianogen.store import Split, Store
from pianogen.training import devices
from pianogen.training.loop import MEASURES, compile_training
from pianogen.training.resources import Workers

_FIT_BLOCK = 65_536


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.train`."""
    parser = command.Parser(
        prog="python -m benchmarks.train",
        description="Measure iterations of training: with its stream, with one constant batch, and as Keras' fit.\n"
        "Prints a table; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.train corpus.h5 --rounds 5",
    )
    parser.add_argument("store", type=Path, help="a corpus")
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="(default: 5)")
    parser.add_argument("--iterations", type=command.positive_int, default=300, help="of each way in a round (default: 300)")
    parser.add_argument("--units", type=command.positive_int, default=64, help="width of the LSTM (default: 64)")
    parser.add_argument("--batch", type=command.positive_int, default=64, help="windows an iteration (default: 64)")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="(default: cpu)")
    options = parser.parse(arguments)
    settings = run_config.parse(
        {
            "device": options.device,
            "model": {"units": options.units},
            "training": {"batch": options.batch},
            "slurm": {"cpus_per_task": len(os.sched_getaffinity(0)), "gpus_per_node": int(options.device == "gpu")},
        },
        "benchmark",
    )
    strategy = devices.find_strategy(settings.devices, Workers())
    with Store(options.store) as store:
        windows = find_windows(store, Split.TRAIN, settings.data)
        ways = _ways(settings, strategy, windows)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(options.rounds + 1):
            for name, run in ways.items():
                begin = time.perf_counter()
                run(options.iterations)
                if number:  # the first round traces and compiles
                    seconds[name].append((time.perf_counter() - begin) / options.iterations)
    figures = _figures(seconds) | {"batch": options.batch, "units": options.units, "window_steps": settings.data.window_steps}
    _print_table(figures)
    print(json.dumps({"benchmark": "train", **figures}))
    return 0


def _ways(settings: RunConfig, strategy: tf.distribute.Strategy, windows: Windows) -> dict[str, Callable[[int], None]]:
    """Each way to train, as a function of how many iterations."""
    batch, seed = settings.training.batch, settings.training.seed
    with strategy.scope():
        network = models.build(settings.model, settings.training, settings.data.window_steps)
        optimizer = keras.optimizers.RMSprop(settings.training.learning_rate)
        optimizer.build(network.keras.trainable_variables)
    compiled = compile_training(strategy, network, optimizer, batch)
    zeros = tf.zeros(len(MEASURES), tf.float64)

    def train_on(batches: Any) -> Callable[[int], None]:
        def run(count: int) -> None:
            totals, _, _ = compiled(batches, tf.constant(count), zeros, tf.constant(0.0))
            totals.numpy()

        return run

    stream = training_batches(windows, batch, seed)
    (one,) = stream.take(1)
    constant = tf.data.Dataset.from_tensors(one).repeat()
    return {
        "stream": train_on(iter(strategy.distribute_datasets_from_function(lambda _: stream))),
        "constant batch": train_on(iter(strategy.distribute_datasets_from_function(lambda _: constant))),
        "keras fit": _keras_fit(settings, windows),
    }


def _keras_fit(settings: RunConfig, windows: Windows) -> Callable[[int], None]:
    """The same layers on features that lie in memory as numbers, as Keras' guides show it."""
    rows = np.concatenate([_features_of(block.packed, block.tempo_us) for block, _ in windows.blocks()])
    steps, training = settings.data.window_steps, settings.training
    data = keras.utils.timeseries_dataset_from_array(rows, rows[steps:], steps, batch_size=training.batch, shuffle=True)
    model = keras.Sequential(
        [
            keras.Input((steps, NUM_FEATURES)),
            keras.layers.LSTM(settings.model.units),
            keras.layers.Dense(NUM_FEATURES),
            keras.layers.Dense(NUM_FEATURES, activation="softplus"),
        ]
    )
    model.compile(keras.optimizers.RMSprop(training.learning_rate), "mse")
    endless = data.repeat()

    def run(count: int) -> None:
        model.fit(endless, steps_per_epoch=count, epochs=1, verbose=0)

    return run


def _features_of(packed: np.ndarray, tempo_us: np.ndarray) -> np.ndarray:
    parts = []
    for at in range(0, len(packed), _FIT_BLOCK):
        block = slice(at, at + _FIT_BLOCK)
        parts.append(features(tf.constant(packed[block]), tf.constant(tempo_us[block].astype(np.int32))).numpy())
    return np.concatenate(parts)


def _figures(seconds: dict[str, list[float]]) -> dict[str, Any]:
    rate = {name: 1 / statistics.median(values) for name, values in seconds.items()}
    return {
        "iterations_per_s": rate,
        "stream_over_constant": rate["stream"] / rate["constant batch"],
        "stream_over_keras_fit": rate["stream"] / rate["keras fit"],
    }


def _print_table(figures: dict[str, Any]) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("way", "iterations/s", "stream / way"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, rate in figures["iterations_per_s"].items():
        table.add_row(name, f"{rate:.1f}", f"{figures['iterations_per_s']['stream'] / rate:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(command.run(main))
