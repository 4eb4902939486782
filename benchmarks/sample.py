"""Speed of drawing samples, compared with Keras predict on a sliding window.

    python -m benchmarks.sample runs/quick/0000-base

The sampler carries the recurrent state in one compiled loop; predict reads a whole window for each step, as in the report. A step
is one step of one sample.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.records.run_directory import Run
from pianogen import command
from pianogen.data.statistics import compute_statistics
from pianogen.data.windows import find_windows
from pianogen.models.network import Network
from pianogen.roll import PACKED_BYTES
from pianogen.sampling.draw import BATCH, Sampler
from pianogen.store import Split
from pianogen.training.devices import find_strategy
from pianogen.training.resources import Workers
from pianogen.training.trained_model import load_trained_model

_PREDICTED_STEPS = 30
_BATCHES = (1, 64)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one number of samples.

    Attributes:
        batch: number of samples.
        times: speed of the sampler relative to predict.
    """

    batch: int
    steps_per_s: float
    predict_steps_per_s: float
    times: float


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.sample`."""
    parser = command.Parser(
        prog="python -m benchmarks.sample",
        description="Measure steps per second of the sampler, and of Keras predict on a sliding window.\n"
        "Prints a table; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.sample runs/quick/0000-base",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run")
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--steps", type=command.positive_int, default=2_048, help="steps of each sample (default: 2048)")
    options = parser.parse(arguments)
    run = Run(options.run)
    config = run.read_config()
    find_strategy(config.devices, Workers())
    network, _ = load_trained_model(config, run.path)
    window_steps = config.data.window_steps
    with run.open_store() as store:
        corpus = compute_statistics(find_windows(store, Split.TRAIN, config.data))
    rows = []
    for batch in _BATCHES:
        settings = config.sampling.model_copy(update={"steps": options.steps, "num": batch})
        sampler = Sampler(network, settings, corpus, window_steps)
        predict = partial(_predict_sliding, network, batch, window_steps)
        steps_per_s = _steps_per_s(sampler.draw, batch * options.steps, options.rounds)
        predict_steps_per_s = _steps_per_s(predict, batch * _PREDICTED_STEPS, options.rounds)
        rows.append(Figures(batch, steps_per_s, predict_steps_per_s, steps_per_s / predict_steps_per_s))
    _print_table(rows)
    batches = [asdict(row) for row in rows]
    print(json.dumps({"benchmark": "sample", "model": config.model.name, "padded_batch": BATCH, "batches": batches}))
    return 0


def _predict_sliding(network: Network, num_samples: int, window_steps: int) -> None:
    packed = np.zeros((num_samples, window_steps, PACKED_BYTES), np.uint8)
    tempo_us = np.full((num_samples, window_steps), 500_000, np.int32)
    for _ in range(_PREDICTED_STEPS):
        network.keras.predict([packed, tempo_us], batch_size=num_samples, verbose=0)
        packed, tempo_us = np.roll(packed, -1, axis=1), np.roll(tempo_us, -1, axis=1)


def _steps_per_s(work: Callable[[], object], num_steps: int, rounds: int) -> float:
    work()  # traces and compiles
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return num_steps / statistics.median(seconds)


def _print_table(rows: Sequence[Figures]) -> None:
    table = Table(box=None, header_style="bold")
    for column in asdict(rows[0]):
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:,.0f}" for value in asdict(row).values()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(command.run(main))
