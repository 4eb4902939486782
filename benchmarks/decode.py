"""From rolls to MIDI: this code against the report's way, and whole decoding in one process and in two.

    python -m benchmarks.decode corpus.h5

Both ways get the same rolls from memory, round by round in turn, and are measured in seconds of CPU time, that of all threads
together. Whole decoding is that of `jobs.decode`, in seconds on the clock: it reads the store and writes every MIDI file and
picture to disk; two processes have to be started first.
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

from benchmarks.programs import report_decode_way
from jobs.export import midi_files
from pianogen import command
from pianogen.errors import PianogenError, UsageError
from pianogen.midi.reader import read_roll
from pianogen.midi.writer import write_midi
from pianogen.roll import Roll
from pianogen.roll_plot import plot_roll
from pianogen.store import Store

_WAYS: dict[str, Callable[[Roll], bytes]] = {
    "MIDI": write_midi,
    "picture": plot_roll,
    "the report's MIDI": report_decode_way.write_midi,
}


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.decode`."""
    parser = command.Parser(
        prog="python -m benchmarks.decode",
        description="Measure how fast rolls become MIDI, here and in the report's way, and the gain of two processes.\n"
        "Every roll is read back from its MIDI. Prints tables; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.decode corpus.h5",
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="any store, of 150,000 steps or more")
    parser.add_argument(
        "--sample", type=command.positive_int, default=8, help="rolls for the report's way, of all lengths (default: 8)"
    )
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="(default: 5)")
    options = parser.parse(arguments)
    with Store(options.store) as store:
        if store.num_steps < 2 * midi_files.STEPS_PER_PROCESS:
            raise UsageError(f"{options.store} has {store.num_steps:,} steps; two processes want 150,000: give a larger store")
        by_length = np.argsort(store.pieces.steps, kind="stable")
        middles = (2 * np.arange(options.sample) + 1) * len(by_length) // (2 * options.sample)
        sample = [store.roll(int(index)) for index in by_length[middles]]
        num_identical = _count_identical(store)
        num_pieces = len(store.pieces)
    ways = _measure_ways(sample, options.rounds)
    whole = _measure_whole(options.store, options.rounds)
    _print_tables(ways, whole, sum(map(len, sample)), num_pieces)
    print(f"{num_identical} of {num_pieces} rolls were read back from their MIDI, and all were identical; the others are silent")
    print(
        json.dumps(
            {
                "benchmark": "decode",
                "rolls": len(sample),
                "steps": sum(map(len, sample)),
                "seconds": ways,
                "faster_than_report_by": _median(ways, "the report's MIDI") / _median(ways, "MIDI"),
                "picture_share": _median(ways, "picture") / (_median(ways, "MIDI") + _median(ways, "picture")),
                "pieces": num_pieces,
                "identical": num_identical,
                "whole_seconds": whole,
                "two_processes_gain": _median(whole, "1") / _median(whole, "2"),
            }
        )
    )
    return 0


def _count_identical(store: Store) -> int:
    """How many rolls have notes; each of them is read back from its MIDI, tempo included."""
    count = 0
    for index, name in enumerate(store.pieces.name):
        roll = store.roll(index)
        if roll.num_notes:
            again, _ = read_roll(write_midi(roll), f"{name}.mid", keep_rests=True)
            if not (np.array_equal(again.packed, roll.packed) and np.array_equal(again.tempo_us, roll.tempo_us)):
                raise PianogenError(f"{store.path}: {name} is another roll when it is read back from its MIDI")
            count += 1
    return count


def _measure_ways(rolls: Sequence[Roll], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each way for all rolls, one number a round."""
    works = {name: partial(_pass, way, rolls) for name, way in _WAYS.items()}
    _rounds(works, 1, time.process_time)  # what is built on first use is not timed
    return _rounds(works, rounds, time.process_time)


def _pass(way: Callable[[Roll], bytes], rolls: Sequence[Roll]) -> None:
    for roll in rolls:
        way(roll)


def _measure_whole(path: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of decoding a store to disk, by number of processes, one number a round."""
    return _rounds({str(processes): partial(_decode, path, processes) for processes in (1, 2)}, rounds, time.perf_counter)


def _decode(path: Path, processes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="pianogen-decode-") as folder:
        midi_files.write_folder([path], Path(folder), processes)


def _rounds(works: Mapping[str, Callable[[], None]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            gc.collect()  # what others have left is not to be cleared away in this one's time
            begin = clock()
            work()
            seconds[name].append(clock() - begin)
    return seconds


def _median(seconds: dict[str, list[float]], name: str) -> float:
    return statistics.median(seconds[name])


def _print_tables(ways: dict[str, list[float]], whole: dict[str, list[float]], num_steps: int, num_pieces: int) -> None:
    table = Table(title="CPU time of one process, from a roll in memory", title_justify="left", box=None)
    table.add_column("way")
    for heading in ("ms per 1,000 steps", "steps/s", "times that of MIDI"):
        table.add_column(heading, justify="right")
    for name in ways:
        taken_s = _median(ways, name)
        times = taken_s / _median(ways, "MIDI")
        table.add_row(name, f"{1e6 * taken_s / num_steps:,.2f}", f"{num_steps / taken_s:,.0f}", f"{times:,.2f}")
    Console(width=100).print(table)
    table = Table(title="whole decoding, from a store to files", title_justify="left", box=None)
    for heading in ("processes", "s", "pieces/s", "gain"):
        table.add_column(heading, justify="right")
    for name in whole:
        taken_s = _median(whole, name)
        table.add_row(name, f"{taken_s:,.1f}", f"{num_pieces / taken_s:,.1f}", f"{_median(whole, '1') / taken_s:,.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(command.run(main))
