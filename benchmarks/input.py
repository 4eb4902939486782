"""How fast and in how much memory windows reach a network: this stream and Keras's own, in one run.

    python -m benchmarks.input corpus.h5
    python -m benchmarks.input --folder /scratch

Everything is measured in a process of its own, round by round in turn. Speeds are of windows delivered to Python, packed as
they leave the stream; Keras's default, `timeseries_dataset_from_array`, gets the same rows unpacked to float32, as it needs
them, as many as fit into 1 GB. Memory is what a process has over its imports, streaming across several pools of synthetic
stores, the larger of which takes 5.2 GB of disk for a while.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.support.fresh import answer_of
from pianogen import command
from pianogen.errors import UsageError

_WAYS = "benchmarks.programs.input_ways"
_WINDOW_STEPS = (64, 128)
_BATCHES = (64, 256)
_SPEED_STEPS = 2_000_000  # of the store that is made if none is named
_MEMORY_STEPS = (20_000_000, 200_000_000)
_MEMORY_MB = 200
_BYTES_PER_STEP = 26


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.input`."""
    options = _parse(arguments)
    sizes = [] if options.no_memory else list(_MEMORY_STEPS)
    _check_room(options.folder, max([_SPEED_STEPS, *sizes]))
    with tempfile.TemporaryDirectory(prefix="pianogen-input-", dir=options.folder) as name:
        store = options.store or Path(name) / "speed.h5"
        if options.store is None:
            _make(store, _SPEED_STEPS)
        speeds = _speeds(store, options.rounds)
        memory = [_memory(Path(name) / "memory.h5", num_steps) for num_steps in sizes]
    _print_tables(speeds, memory)
    print(json.dumps({"benchmark": "input", "speeds": speeds, "memory_mb": _MEMORY_MB, "memory": memory}))
    return 0


def _check_room(folder: Path, num_steps: int) -> None:
    if not folder.is_dir():
        raise UsageError(f"--folder {folder} is not a folder; name one with room for the stores that are made")
    need, free = int(1.05 * num_steps * _BYTES_PER_STEP), shutil.disk_usage(folder).free
    if free < need:
        raise UsageError(
            f"{folder} has {free / 1e9:.1f} GB free and {need / 1e9:.1f} GB are needed; name another --folder, or --no-memory"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _make(store: Path, num_steps: int) -> None:
    _say(f"making a store of {num_steps:,} steps")
    answer_of(_WAYS, "make", store, num_steps)


def _speeds(store: Path, rounds: int) -> list[dict[str, Any]]:
    speeds = []
    for window_steps in _WINDOW_STEPS:
        for batch in _BATCHES:
            _say(f"windows of {window_steps} in batches of {batch}")
            measured: dict[str, list[float]] = {"stream": [], "transposed": [], "keras": []}
            for _ in range(rounds):
                for way, found in measured.items():
                    found.append(answer_of(_WAYS, way, store, window_steps, batch)["windows_per_s"])
            medians = {way: statistics.median(found) for way, found in measured.items()}
            speeds.append(
                {"window_steps": window_steps, "batch": batch, **medians, "by_round": measured}
                | {"times_keras": medians["stream"] / medians["keras"]}
            )
    return speeds


def _memory(store: Path, num_steps: int) -> dict[str, Any]:
    _make(store, num_steps)
    _say(f"streaming it in {_MEMORY_MB} MB")
    answer = answer_of(_WAYS, "memory", store, _MEMORY_MB)
    store.unlink()
    return answer


def _print_tables(speeds: Sequence[dict[str, Any]], memory: Sequence[dict[str, Any]]) -> None:
    table = Table(title="windows/s", title_justify="left", box=None)
    for heading in ("steps", "batch", "stream", "transposed", "keras", "stream is faster by"):
        table.add_column(heading, justify="right")
    for each in speeds:
        figures = [f"{each[way]:,.0f}" for way in ("stream", "transposed", "keras")]
        table.add_row(str(each["window_steps"]), str(each["batch"]), *figures, f"{each['times_keras']:,.1f}")
    Console(width=100).print(table)
    table = Table(title=f"MB over the imports, data.memory_mb {_MEMORY_MB}", title_justify="left", box=None)
    for heading in ("steps", "store opened", "at most", "pools", "windows/s", "s to resume"):
        table.add_column(heading, justify="right")
    for each in memory:
        figures = [f"{each[key]:,.0f}" for key in ("opened_mb", "peak_mb", "pools", "windows_per_s")]
        table.add_row(f"{each['steps']:,}", *figures, f"{each['resume_s']:.2f}")
    Console(width=100).print(table)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.input",
        description="Measure how fast windows stream from a store, and in how much memory.\n"
        "Prints tables; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.input corpus.h5 --rounds 5 --folder /scratch",
    )
    parser.add_argument("store", type=Path, nargs="?", metavar="STORE", help="a store for the speeds; made if none is named")
    parser.add_argument("--rounds", type=command.positive_int, default=3, help="rounds of each speed (default: 3)")
    parser.add_argument("--no-memory", action="store_true", help="speeds alone; no large store is made")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where stores are made and removed again"
    )
    return parser.parse(arguments)


if __name__ == "__main__":
    sys.exit(command.run(main))
