"""Drawing samples, the state carried in one compiled loop, against Keras' predict on a window that slides along.

    python -m benchmarks.sample runs/quick/0000-base

Both make the rows of samples one after the other, from what they have made before. Predict is given a window for each row, as
the report did. A step is one row of one sample.
"""

import json
import statistics as figures_of
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.records.run_directory import Run
from pianogen import command
from pianogen.data.statistics import gather_statistics
from pianogen.data.windows import find_windows
from pianogen.models.network import Network
from pianogen.roll import PACKED_BYTES
from pianogen.sampling.draw import BATCH, compile_drawing
from pianogen.store import Split
from pianogen.training import devices, loop
from pianogen.training.resources import Workers

_PREDICTED_STEPS = 30


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.sample`."""
    parser = command.Parser(
        prog="python -m benchmarks.sample",
        description="Measure steps a second of drawing, and of predict on a sliding window.\n"
        "Prints a table; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.sample runs/quick/0000-base",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run")
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="(default: 5)")
    parser.add_argument("--steps", type=command.positive_int, default=2_048, help="of each sample (default: 2048)")
    options = parser.parse(arguments)
    run = Run(options.run)
    config = run.read_config()
    devices.find_strategy(config.devices, Workers())
    network, _ = loop.restore(config, run.path)
    window_steps = config.data.window_steps
    with run.open_store() as store:
        statistics = gather_statistics(find_windows(store, Split.TRAIN, config.data))
    settings = config.sampling.model_copy(update={"steps": options.steps})
    draw_batch = compile_drawing(network, settings, statistics, window_steps)
    rows = []
    for batch in (1, 64):
        drawing, sliding = partial(_draw, draw_batch, batch), partial(_slide, network, batch, window_steps)
        ours = _steps_per_s(drawing, batch * options.steps, options.rounds)
        predict = _steps_per_s(sliding, batch * _PREDICTED_STEPS, options.rounds)
        rows.append({"batch": batch, "steps_per_s": ours, "predict_steps_per_s": predict, "times": ours / predict})
    table = Table(box=None, header_style="bold")
    for column in rows[0]:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:,.0f}" for value in row.values()))
    Console().print(table)
    print(json.dumps({"benchmark": "sample", "model": config.model.name, "padded_batch": BATCH, "batches": rows}))
    return 0


def _draw(draw_batch: Callable[[int], object], number: int) -> None:
    for first in range(0, number, BATCH):
        draw_batch(first)


def _slide(network: Network, number: int, window_steps: int) -> None:
    packed = np.zeros((number, window_steps, PACKED_BYTES), np.uint8)
    tempo_us = np.full((number, window_steps), 500_000, np.int32)
    for _ in range(_PREDICTED_STEPS):
        network.keras.predict([packed, tempo_us], batch_size=number, verbose=0)
        packed, tempo_us = np.roll(packed, -1, axis=1), np.roll(tempo_us, -1, axis=1)


def _steps_per_s(work: Callable[[], None], num_steps: int, rounds: int) -> float:
    work()  # traces and compiles
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return num_steps / figures_of.median(seconds)


if __name__ == "__main__":
    sys.exit(command.run(main))
