"""Speed of training, compared with the same compiled iterations on one constant batch.

    python -m benchmarks.train corpus.h5
    python -m benchmarks.train corpus.h5 --model joint --threads 1

The 2021 report's model is also compared with clipped gradients and averaged weights, and with Keras fit. The variants take turns
in one process, for a few seconds each. A ratio is that of the medians over the rounds.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from jobs.configuration import run_config
from jobs.configuration.run_config import RunConfig
from pianogen import command
from pianogen.data.statistics import train_statistics
from pianogen.data.windows import Windows, find_windows, training_batches
from pianogen.models.features import features, num_features
from pianogen.store import Split, Store
from pianogen.training import networks
from pianogen.training.agreement import Message
from pianogen.training.devices import find_strategy
from pianogen.training.iterations import compile_iterations
from pianogen.training.optimizers import build_optimizer
from pianogen.training.resources import Workers

_FEATURE_ROWS = 65_536  # whose features are computed at once
_ENDLESS = 1_000_000_000  # iterations, longer than any warm-up


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of this benchmark.

    Attributes:
        iterations_per_s: by variant.
        stream_over: speed of the stream relative to each of the other variants.
        s_per_2048_steps: seconds in which the stream trains on 2,048 predicted steps.
        keys: number of keys in use.
    """

    model: str
    iterations_per_s: dict[str, float]
    stream_over: dict[str, float]
    s_per_2048_steps: float
    batch: int
    units: int
    window_steps: int
    keys: int
    threads: int


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.train`."""
    parser = command.Parser(
        prog="python -m benchmarks.train",
        description="Measure training iterations per second with the stream of windows and with one constant batch; for base\n"
        "also with clipped gradients and averaged weights, and with Keras fit.\n"
        "Prints a table; the last line is one JSON object.",
        epilog="examples:\n  python -m benchmarks.train corpus.h5 --rounds 5\n"
        "  python -m benchmarks.train corpus.h5 --model joint --threads 1",
    )
    parser.add_argument("store", type=Path, help="a corpus")
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="number of rounds (default: 5)")
    parser.add_argument(
        "--iterations", type=command.positive_int, default=300, help="iterations of each variant in a round (default: 300)"
    )
    parser.add_argument("--model", choices=["base", "joint"], default="base", help="the model (default: base)")
    parser.add_argument("--units", type=command.positive_int, help="units of the LSTM (default: that of the model)")
    parser.add_argument("--batch", type=command.positive_int, help="windows of a batch (default: that of the model)")
    parser.add_argument("--threads", type=command.positive_int, help="threads (default: all cores)")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="device (default: cpu)")
    options = parser.parse(arguments)
    threads = options.threads or len(os.sched_getaffinity(0))
    config = run_config.parse(
        {
            "device": options.device,
            "model": {"name": options.model} | ({"units": options.units} if options.units else {}),
            "training": {"batch": options.batch} if options.batch else {},
            "slurm": {"cpus_per_task": threads, "gpus_per_node": int(options.device == "gpu")},
        },
        "benchmark",
    )
    strategy = find_strategy(config.devices, Workers())
    is_joint = config.model.is_joint
    with Store(options.store) as store:
        keys = train_statistics(store, config.data).keys
        windows = find_windows(store, Split.TRAIN, config.data, every_row=is_joint, context=is_joint)
        variants = _variants(config, strategy, keys, windows)
        seconds = _measure(variants, options.rounds, options.iterations)
    figures = _figures(config, keys, seconds)
    _print_table(figures)
    print(json.dumps({"benchmark": "train", **asdict(figures)}))
    return 0


def _measure(variants: dict[str, Callable[[int], None]], rounds: int, num_iterations: int) -> dict[str, list[float]]:
    """Seconds per iteration by variant, of each round."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            run(num_iterations)
            if number:  # the first round traces and compiles
                seconds[name].append((time.perf_counter() - start) / num_iterations)
    return seconds


def _variants(
    config: RunConfig, strategy: tf.distribute.Strategy, keys: range, windows: Windows
) -> dict[str, Callable[[int], None]]:
    """The variants of training, as functions of the number of iterations."""
    stream = training_batches(windows, config.training.batch, config.training.seed)
    (first_batch,) = stream.take(1)
    variants = {
        "stream": _training(config, strategy, keys, stream),
        "constant batch": _training(config, strategy, keys, tf.data.Dataset.from_tensors(first_batch).repeat()),
    }
    if not config.model.is_joint:
        averaged = config.model_copy(update={"training": config.training.model_copy(update={"clip_norm": 1.0, "average": 0.99})})
        variants["clipped and averaged"] = _training(averaged, strategy, keys, stream)
        variants["keras fit"] = _keras_fit(config, windows)
    return variants


def _training(
    config: RunConfig, strategy: tf.distribute.Strategy, keys: range, dataset: tf.data.Dataset
) -> Callable[[int], None]:
    """The training of a new network on a stream of batches, as a function of the number of iterations."""
    with strategy.scope():
        network, averaged = (networks.build(config, keys) for _ in range(2))
        optimizer = build_optimizer(config.training, _ENDLESS, network.keras.trainable_variables)
    run_iterations = compile_iterations(strategy, network, averaged, optimizer, config.training)
    batches = iter(strategy.distribute_datasets_from_function(lambda _: dataset))
    totals = tf.zeros(len(network.metrics), tf.float64)
    message = Message(shutdown_requested=False, last_call_s=0.0).to_tensor()

    def run(num_iterations: int) -> None:
        begin, end = tf.constant(0, tf.int64), tf.constant(num_iterations, tf.int64)
        run_iterations(batches, begin, end, totals, message).totals.numpy()

    return run


def _keras_fit(config: RunConfig, windows: Windows) -> Callable[[int], None]:
    """The same layers on features in memory, as in the Keras guides."""
    rows = np.concatenate([_features_of(block.packed, block.tempo_us) for block, _ in windows.blocks()])
    steps, training = config.data.window_steps, config.training
    data = keras.utils.timeseries_dataset_from_array(rows, rows[steps:], steps, batch_size=training.batch, shuffle=True)
    model = keras.Sequential(
        [
            keras.Input((steps, num_features())),
            keras.layers.LSTM(config.model.units),
            keras.layers.Dense(num_features()),
            keras.layers.Dense(num_features(), activation="softplus"),
        ]
    )
    model.compile(keras.optimizers.RMSprop(training.learning_rate), "mse")
    endless = data.repeat()

    def run(num_iterations: int) -> None:
        model.fit(endless, steps_per_epoch=num_iterations, epochs=1, verbose=0)

    return run


def _features_of(packed: np.ndarray, tempo_us: np.ndarray) -> np.ndarray:
    blocks = [slice(start, start + _FEATURE_ROWS) for start in range(0, len(packed), _FEATURE_ROWS)]
    return np.concatenate(
        [features(tf.constant(packed[block]), tf.constant(tempo_us[block].astype(np.int32))).numpy() for block in blocks]
    )


def _figures(config: RunConfig, keys: range, seconds: dict[str, list[float]]) -> Figures:
    rates = {name: 1 / statistics.median(values) for name, values in seconds.items()}
    predicted_steps = config.training.batch * (config.data.window_steps if config.predicts_every_row else 1)
    return Figures(
        model=config.model.name,
        iterations_per_s=rates,
        stream_over={name: rates["stream"] / rate for name, rate in rates.items() if name != "stream"},
        s_per_2048_steps=2_048 / predicted_steps / rates["stream"],
        batch=config.training.batch,
        units=config.model.units,
        window_steps=config.data.window_steps,
        keys=len(keys),
        threads=config.slurm.cpus_per_task,
    )


def _print_table(figures: Figures) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("variant", "iterations/s", "stream / variant"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for name, rate in figures.iterations_per_s.items():
        table.add_row(name, f"{rate:.1f}", f"{figures.stream_over.get(name, 1):.2f}")
    Console().print(table)
    Console().print(f"{figures.s_per_2048_steps:.3f} s per 2,048 predicted steps, {figures.keys} keys, {figures.threads} threads")


if __name__ == "__main__":
    sys.exit(command.run(main))
