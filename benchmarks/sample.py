"""Speed of drawing samples, compared with Keras predict on a sliding window.

    python -m benchmarks.sample runs/quick/0000-base

The sampler carries the state of the network in one compiled loop; predict reads a complete window for each step, as in the
report. A model that predicts keys jointly has no predict. A step is one step of one sample; a step of the loop is one step of all
samples in it.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.configuration.run_config import RunConfig
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.data.statistics import Statistics, train_statistics
from pianogen.models.network import Network
from pianogen.roll import PACKED_BYTES
from pianogen.sampling.draw import Sampler
from pianogen.training.devices import find_strategy
from pianogen.training.resources import Workers
from pianogen.training.trained_model import load_trained_model

_PREDICTED_STEPS = 30
_PREDICTED_SAMPLES = (1, 64)
_LOOP_SAMPLES = (64, 512)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of one number of samples.

    Attributes:
        speedup: speed of the sampler relative to predict.
    """

    samples: int
    steps_per_s: float
    predict_steps_per_s: float
    speedup: float


@dataclass(frozen=True, slots=True)
class Loop:
    """The figures of a loop.

    Attributes:
        samples: number of samples in the loop.
        ms_per_step: time of a step of the loop.
    """

    samples: int
    ms_per_step: float
    steps_per_s: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Measures a trained network; every time is the median over some rounds.

    Attributes:
        steps: steps of each sample.
        rounds: number of rounds.
    """

    network: Network
    config: RunConfig
    corpus: Statistics
    steps: int
    rounds: int

    def compare(self, num_samples: int) -> Comparison:
        """Compares the sampler with predict."""
        steps_per_s = num_samples * self.steps / self._draw_s(num_samples)
        predict_steps_per_s = num_samples * _PREDICTED_STEPS / self._median_s(lambda: self._predict(num_samples))
        return Comparison(num_samples, steps_per_s, predict_steps_per_s, steps_per_s / predict_steps_per_s)

    def measure_loop(self, num_samples: int) -> Loop:
        """Measures a loop of this number of samples instead of `sampling_batch`."""
        sampling_batch = self.network.sampling_batch
        self.network.sampling_batch = num_samples
        seconds = self._draw_s(num_samples)
        self.network.sampling_batch = sampling_batch
        return Loop(num_samples, 1_000 * seconds / self.steps, num_samples * self.steps / seconds)

    def _draw_s(self, num_samples: int) -> float:
        changes = {"steps": self.steps, "num": num_samples, "best_of": 1, "primer": None, "primer_steps": None}
        settings = self.config.sampling.model_copy(update=changes)
        return self._median_s(Sampler(self.network, settings, self.corpus).draw)

    def _predict(self, num_samples: int) -> None:
        window_steps = self.config.data.window_steps
        packed = np.zeros((num_samples, window_steps, PACKED_BYTES), np.uint8)
        tempo_us = np.full((num_samples, window_steps), 500_000, np.int32)
        for _ in range(_PREDICTED_STEPS):
            self.network.keras.predict([packed, tempo_us], batch_size=num_samples, verbose=0)
            packed, tempo_us = np.roll(packed, -1, axis=1), np.roll(tempo_us, -1, axis=1)

    def _median_s(self, work: Callable[[], object]) -> float:
        work()  # traces and compiles
        seconds = []
        for _ in range(self.rounds):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.sample`."""
    options = _parser().parse(arguments)
    run = Run(options.run)
    config = run.read_config()
    find_strategy(config.devices, Workers())
    with run.open_store() as store:
        corpus = train_statistics(store, config.data)
    network, _ = load_trained_model(config, corpus.keys, run.path, corpus.steps_per_quarter)
    benchmark = Benchmark(network, config, corpus, options.steps, options.rounds)
    comparisons = [] if config.model.is_joint else [benchmark.compare(num_samples) for num_samples in _PREDICTED_SAMPLES]
    loop_samples = options.loop_samples or sorted({network.sampling_batch, *_LOOP_SAMPLES})
    loops = [benchmark.measure_loop(num_samples) for num_samples in loop_samples]
    for figures in (comparisons, loops):
        _print_table([asdict(row) for row in figures])
    values = {"model": config.model.name, "sampling_batch": network.sampling_batch, "steps": options.steps}
    tables = {"predict": [asdict(row) for row in comparisons], "loops": [asdict(row) for row in loops]}
    print(json.dumps({"benchmark": "sample", **values, **tables}))
    return 0


def _parser() -> command.Parser:
    parser = command.Parser(
        prog="python -m benchmarks.sample",
        description="Measure steps per second of the sampler, and of Keras predict on a sliding window unless the model predicts "
        "keys jointly.\nPrints tables; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.sample runs/quick/0000-base",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run")
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--steps", type=command.positive_int, default=512, help="steps of each sample (default: 512)")
    parser.add_argument(
        "--loop-samples",
        type=command.positive_int,
        nargs="+",
        metavar="N",
        help="numbers of samples in the loop (default: that of the model, 64 and 512)",
    )
    return parser


def _print_table(rows: Sequence[dict[str, float]]) -> None:
    if not rows:
        return
    table = Table(box=None, header_style="bold")
    for column in rows[0]:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:,.3f}" if name == "ms_per_step" else f"{value:,.0f}" for name, value in row.items()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(command.run(main))
