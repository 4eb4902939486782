"""Speed of writing rolls as MIDI: this package against the 2021 report's method, and the gain of a second process.

    python -m benchmarks.decode corpus.h5

The methods convert the same rolls from memory, in turn within each round, and are measured in seconds of CPU time over all
threads. The export to a folder, as `jobs.decode` does it, is measured in seconds of wall time: it reads the store and writes
every MIDI file and plot to disk; with two processes, it includes their start.
"""

import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.programs import report_writer
from jobs.export import midi_files
from jobs.export.conversion import STEPS_PER_PROCESS
from jobs.export.output_folder import OutputFolder
from pianogen import command
from pianogen.errors import PianogenError, UsageError
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.writer import write_midi
from pianogen.roll import Roll
from pianogen.roll_plot import plot_roll
from pianogen.store import Store

_MIDI, _PLOT, _REPORT_MIDI = "MIDI", "plot", "the report's MIDI"
_METHODS: dict[str, Callable[[Roll], bytes]] = {_MIDI: write_midi, _PLOT: plot_roll, _REPORT_MIDI: report_writer.write_midi}


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.decode`."""
    parser = command.Parser(
        prog="python -m benchmarks.decode",
        description="Measure the speed of converting rolls to MIDI with this package and with the 2021 report's method, and the\n"
        "gain of a second process. Check that every roll can be read back from its MIDI file. Print tables and, as\n"
        "the last line, one JSON object.",
        epilog="example:\n  python -m benchmarks.decode corpus.h5",
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="a store of 131,072 steps or more")
    parser.add_argument(
        "--sample", type=command.positive_int, default=8, help="number of rolls for the comparison, of all lengths (default: 8)"
    )
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="number of measurements (default: 5)")
    options = parser.parse(arguments)
    _measure(options.store, options.sample, options.rounds)
    return 0


def _measure(path: Path, num_rolls: int, rounds: int) -> None:
    with Store(path) as store:
        if store.num_steps < 2 * STEPS_PER_PROCESS:
            raise UsageError(
                f"{path} has {store.num_steps:,} steps; two processes need {2 * STEPS_PER_PROCESS:,} or more: pass a larger store"
            )
        by_length = np.argsort(store.pieces.steps, kind="stable")
        quantiles = (2 * np.arange(num_rolls) + 1) * len(by_length) // (2 * num_rolls)
        rolls = [store.roll(int(index)) for index in by_length[quantiles]]
        num_identical = _count_identical(store)
        num_pieces = len(store.pieces)
    method_s = _time_methods(rolls, rounds)
    export_s = _time_export(path, rounds)
    num_steps = sum(map(len, rolls))
    _print_methods(method_s, num_steps)
    _print_export(export_s, num_pieces)
    print(f"{num_identical} of {num_pieces} rolls were read back from their MIDI files and are identical; the others are silent")
    medians_s = {name: statistics.median(values) for name, values in method_s.items()}
    result = {
        "benchmark": "decode",
        "rolls": len(rolls),
        "steps": num_steps,
        "seconds": method_s,
        "faster_than_report_by": medians_s[_REPORT_MIDI] / medians_s[_MIDI],
        "plot_share": medians_s[_PLOT] / (medians_s[_MIDI] + medians_s[_PLOT]),
        "pieces": num_pieces,
        "identical": num_identical,
        "export_seconds": export_s,
        "two_processes_gain": statistics.median(export_s["1"]) / statistics.median(export_s["2"]),
    }
    print(json.dumps(result))


def _count_identical(store: Store) -> int:
    """The number of rolls with notes, after a check that each of them is read back from its MIDI file, tempo included.

    Raises:
        PianogenError: a roll is not read back as it was.
    """
    count = 0
    for index, name in enumerate(store.pieces.name):
        roll = store.roll(index)
        if roll.num_notes:
            options = ReadOptions(keep_rests=True, steps_per_quarter=roll.steps_per_quarter)
            read_back = read_roll(write_midi(roll), f"{name}.mid", options)[0].rows(-len(roll), None)
            if not (np.array_equal(read_back.packed, roll.packed) and np.array_equal(read_back.tempo_us, roll.tempo_us)):
                raise PianogenError(f"{store.path}: {name} differs when it is read back from its MIDI file")
            count += 1
    return count


def _time_methods(rolls: Sequence[Roll], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each method for all rolls, one value per round."""
    functions = {name: partial(_convert_all, method, rolls) for name, method in _METHODS.items()}
    _time_rounds(functions, 1, time.process_time)  # warm-up, not counted
    return _time_rounds(functions, rounds, time.process_time)


def _convert_all(method: Callable[[Roll], bytes], rolls: Sequence[Roll]) -> None:
    for roll in rolls:
        method(roll)


def _time_export(path: Path, rounds: int) -> dict[str, list[float]]:
    """Wall seconds of the export to a folder by number of processes, one value per round."""
    functions = {str(num_processes): partial(_export, path, num_processes) for num_processes in (1, 2)}
    return _time_rounds(functions, rounds, time.perf_counter)


def _export(path: Path, num_processes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="pianogen-decode-") as folder:
        midi_files.write_folder([path], OutputFolder(Path(folder), "benchmark"), num_processes)


def _time_rounds(functions: Mapping[str, Callable[[], None]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            gc.collect()  # so that no function pays for the garbage of another
            begin = clock()
            function()
            seconds[name].append(clock() - begin)
    return seconds


def _print_methods(seconds: Mapping[str, Sequence[float]], num_steps: int) -> None:
    table = Table(title="CPU time of one process", title_justify="left", box=None)
    table.add_column("method")
    for heading in ("ms per 1,000 steps", "steps/s", "relative to MIDI"):
        table.add_column(heading, justify="right")
    midi_s = statistics.median(seconds[_MIDI])
    for name, values in seconds.items():
        median_s = statistics.median(values)
        table.add_row(name, f"{1e6 * median_s / num_steps:,.2f}", f"{num_steps / median_s:,.0f}", f"{median_s / midi_s:,.2f}")
    Console(width=100).print(table)


def _print_export(seconds: Mapping[str, Sequence[float]], num_pieces: int) -> None:
    table = Table(title="wall time of the export", title_justify="left", box=None)
    for heading in ("processes", "s", "pieces/s", "gain"):
        table.add_column(heading, justify="right")
    one_process_s = statistics.median(seconds["1"])
    for name, values in seconds.items():
        median_s = statistics.median(values)
        table.add_row(name, f"{median_s:,.1f}", f"{num_pieces / median_s:,.1f}", f"{one_process_s / median_s:,.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(command.run(main))
