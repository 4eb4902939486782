"""Speed and memory of streaming windows from a store, compared with the default data set of Keras.

    python -m benchmarks.input corpus.h5
    python -m benchmarks.input --folder /scratch

Each measurement runs in its own process, and the variants take turns in each round. Speeds are windows delivered to Python,
packed as they leave the stream. Keras `timeseries_dataset_from_array` gets the same rows as float32 features, as it requires,
as many as fit into 1 GB. Memory is what a process uses in addition to its imports while it streams several pools of synthetic
stores; the larger store temporarily takes 5.4 GB on disk.
"""

import argparse
import json
import logging
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.support.new_process import json_output_of
from pianogen import command
from pianogen.errors import UsageError
from pianogen.roll import ROW_BYTES

_MEASUREMENTS = "benchmarks.programs.input_measurements"
_WINDOW_STEPS = (64, 128)
_BATCHES = (64, 256)
_SPEED_STEPS = 2_000_000  # of the synthetic store for the speeds
_MEMORY_STEPS = (20_000_000, 200_000_000)
_MEMORY_MB = 200
_log = logging.getLogger("benchmarks.input")


@dataclass(frozen=True, slots=True)
class Speeds:
    """Windows per second, medians over the rounds.

    Attributes:
        stream: the stream of this package.
        transposed: the stream of this package with transposition.
        keras: the default data set of Keras.
        by_round: windows per second of each variant in each round.
        times_keras: speed of the stream relative to Keras.
        transposed_ratio: speed of the stream with transposition relative to the one without.
    """

    window_steps: int
    batch: int
    stream: float
    transposed: float
    keras: float
    by_round: dict[str, list[float]]
    times_keras: float
    transposed_ratio: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in addition to the imports.

    Attributes:
        steps: number of steps of the store.
        opened_mb: memory with an open store.
        peak_mb: largest memory while streaming.
        resume_s: seconds until the first batch of a resumed stream.
    """

    steps: int
    pools: int
    opened_mb: float
    peak_mb: float
    windows_per_s: float
    resume_s: float


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.input`."""
    options = _parse(arguments)
    sizes = [] if options.no_memory else list(_MEMORY_STEPS)
    _check_free_space(options.folder, max([_SPEED_STEPS, *sizes]))
    with tempfile.TemporaryDirectory(prefix="pianogen-input-", dir=options.folder) as name:
        store = options.store or Path(name) / "speed.h5"
        if options.store is None:
            _make(store, _SPEED_STEPS)
        speeds = [
            _measure_speeds(store, window_steps, batch, options.rounds) for window_steps in _WINDOW_STEPS for batch in _BATCHES
        ]
        memory = [_measure_memory(Path(name) / "memory.h5", num_steps) for num_steps in sizes]
    _print_speeds(speeds)
    _print_memory(memory)
    figures = {"speeds": [asdict(row) for row in speeds], "memory_mb": _MEMORY_MB, "memory": [asdict(row) for row in memory]}
    print(json.dumps({"benchmark": "input", **figures}))
    return 0


def _check_free_space(folder: Path, num_steps: int) -> None:
    if not folder.is_dir():
        raise UsageError(f"--folder {folder} is not a directory; choose one with free space for the synthetic stores")
    required, free = int(1.05 * num_steps * ROW_BYTES), shutil.disk_usage(folder).free
    if free < required:
        raise UsageError(
            f"--folder {folder} has {free / 1e9:.1f} GB free and {required / 1e9:.1f} GB are required; "
            "choose a different --folder, or set --no-memory"
        )


def _make(store: Path, num_steps: int) -> None:
    _log.info("writing a store of %s steps", f"{num_steps:,}")
    json_output_of(_MEASUREMENTS, "make", store, num_steps)


def _measure_speeds(store: Path, window_steps: int, batch: int, rounds: int) -> Speeds:
    _log.info("measuring windows of %d steps in batches of %d", window_steps, batch)
    by_round: dict[str, list[float]] = {"stream": [], "transposed": [], "keras": []}
    for _ in range(rounds):
        for variant, rates in by_round.items():
            rates.append(json_output_of(_MEASUREMENTS, variant, store, window_steps, batch)["windows_per_s"])
    stream, transposed, keras = (statistics.median(rates) for rates in by_round.values())
    return Speeds(window_steps, batch, stream, transposed, keras, by_round, stream / keras, transposed / stream)


def _measure_memory(store: Path, num_steps: int) -> Memory:
    _make(store, num_steps)
    _log.info("measuring the memory of a stream with data.memory_mb %d", _MEMORY_MB)
    memory = Memory(**json_output_of(_MEASUREMENTS, "memory", store, _MEMORY_MB))
    store.unlink()
    return memory


def _print_speeds(speeds: Sequence[Speeds]) -> None:
    table = Table(title="windows/s", title_justify="left", box=None)
    for heading in ("steps", "batch", "stream", "transposed", "keras", "stream / keras", "transposed / stream"):
        table.add_column(heading, justify="right")
    for row in speeds:
        rates = [f"{rate:,.0f}" for rate in (row.stream, row.transposed, row.keras)]
        table.add_row(str(row.window_steps), str(row.batch), *rates, f"{row.times_keras:,.1f}", f"{row.transposed_ratio:.2f}")
    Console(width=100).print(table)


def _print_memory(memory: Sequence[Memory]) -> None:
    table = Table(title=f"MB in addition to the imports, data.memory_mb {_MEMORY_MB}", title_justify="left", box=None)
    for heading in ("steps", "open store", "peak", "pools", "windows/s", "s to resume"):
        table.add_column(heading, justify="right")
    for row in memory:
        figures = [f"{figure:,.0f}" for figure in (row.opened_mb, row.peak_mb, row.pools, row.windows_per_s)]
        table.add_row(f"{row.steps:,}", *figures, f"{row.resume_s:.2f}")
    Console(width=100).print(table)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.input",
        description="Measure the speed and the memory of streaming windows from a store.\n"
        "Prints tables; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.input corpus.h5 --rounds 5 --folder /scratch",
    )
    parser.add_argument("store", type=Path, nargs="?", metavar="STORE", help="a store for the speeds (default: a synthetic one)")
    parser.add_argument("--rounds", type=command.positive_int, default=3, help="number of rounds of the speeds (default: 3)")
    parser.add_argument("--no-memory", action="store_true", help="measure only speeds; no large store is written")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where synthetic stores are written (default: %(default)s)",
    )
    return parser.parse(arguments)


if __name__ == "__main__":
    sys.exit(command.run(main))
