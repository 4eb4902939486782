"""From MIDI bytes to events and to piano rolls: this code and its rivals, in one run, on one core.

    python -m benchmarks.parse midis/

Everyone gets the same files from memory (converter.parse takes paths, from the page cache), round by round in turn. A round's
ways differ only in who works, so a ratio of medians over the rounds is one of files/s and of notes/s alike. Slow rivals run
over a sample of files spread by size, and the others again beside them. Of converter.parse, at a second or more a file, there
is one round.
"""

import argparse
import io
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from music21 import converter
from rich.console import Console
from rich.table import Table

from pianogen import command
from pianogen.errors import PianogenError, UsageError
from pianogen.midi import reader, smf
from pianogen.midi.rejection import Rejection
from pianogen.roll import STEPS_PER_QUARTER

_RIVALS = ("symusic", "mido", "pretty_midi", "miditok")


@dataclass(frozen=True, slots=True)
class MidiFile:
    """A file to be read, as each way wants it, and its note-ons."""

    path: Path
    data: bytes
    notes: int


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read a file; of `rounds`, None is as many as asked for."""

    name: str
    read: Callable[[MidiFile], object]
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a way took for all the files, in seconds, one number a round."""

    way: str
    files: int
    notes: int
    seconds: list[float]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    def figures(self) -> dict[str, Any]:
        return {
            "files_per_s": self.files / self.median_s,
            "notes_per_s": self.notes / self.median_s,
            "seconds": self.seconds,
        }


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.parse`."""
    options = _parse(arguments)
    missing = [name for name in _RIVALS if find_spec(name) is None]
    if missing:
        raise UsageError(f"not installed: {', '.join(missing)}. Run pip install pianogen[bench], then this command again.")
    files = _files(options.corpus)
    by_size = sorted(files, key=lambda file: len(file.data))
    num_sample = min(options.sample, len(by_size))
    sample = [by_size[(2 * i + 1) * len(by_size) // (2 * num_sample)] for i in range(num_sample)]  # the middle of equal parts
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    on_corpus = _measure([*_ours(), *_symusic()], files, files, options.rounds)
    with warnings.catch_warnings():
        # music21 and pretty_midi warn of nearly every file (unknown instruments; tempo events outside the first track).
        warnings.simplefilter("ignore")
        on_sample = _measure([*_ours(), *_symusic(), *_slow_rivals()], sample, by_size[:1], options.rounds)
    _print_table(f"{len(files)} files", on_corpus)
    _print_table(f"sample of {len(sample)} files", on_sample)
    figures = {
        "benchmark": "parse",
        "corpus": _group(on_corpus),
        "sample": _group(on_sample),
        "versions": {name: version(name) for name in ("numba", "numpy", "music21", *_RIVALS)},
    }
    print(json.dumps(figures))
    return 0


def _ours() -> list[Way]:
    return [
        Way("smf events", lambda file: smf.read(file.data)),
        Way("smf roll", lambda file: reader.read_roll(file.data, file.path.name)),
    ]


def _symusic() -> list[Way]:
    from symusic import Score  # only after main has seen that it is installed

    def roll(file: MidiFile) -> object:
        # As its documentation does it; it has no packed roll and no tempo per step, which ours include.
        score = Score.from_midi(file.data).resample(STEPS_PER_QUARTER, min_dur=1)
        return score.pianoroll(modes=["onset", "frame"], pitch_range=(21, 109))

    return [Way("symusic notes", lambda file: Score.from_midi(file.data)), Way("symusic roll", roll)]


def _slow_rivals() -> list[Way]:
    import mido  # these, too, only after main has seen that they are installed
    import pretty_midi
    from miditok import TSD
    from symusic import Score

    tokenizer = TSD()  # as it comes: notes and rests on a grid of its own, as numbers of a vocabulary

    def pretty_midi_roll(file: MidiFile) -> object:
        midi = pretty_midi.PrettyMIDI(io.BytesIO(file.data))
        end_tick = midi.time_to_tick(midi.get_end_time())
        ticks = np.arange(0, end_tick, midi.resolution / STEPS_PER_QUARTER).astype(int)
        return midi.get_piano_roll(times=np.array([midi.tick_to_time(tick) for tick in ticks]), pedal_threshold=None)

    return [
        Way("music21 events roll", lambda file: reader.read_roll(file.data, file.path.name, parser="music21")),
        Way("mido events", lambda file: mido.MidiFile(file=io.BytesIO(file.data))),
        Way("pretty_midi roll", pretty_midi_roll),
        Way("MidiTok tokens", lambda file: tokenizer.encode(Score.from_midi(file.data))),
        Way("converter.parse", lambda file: converter.parse(file.path, forceSource=True), rounds=1),
    ]


def _files(corpus: Path) -> list[MidiFile]:
    """The files that become a roll; refused ones are counted on stderr."""
    if not corpus.is_dir():
        raise UsageError(f"{corpus} is not a folder; give a folder of MIDI files")
    files: list[MidiFile] = []
    refused = 0
    for path in sorted(path for path in corpus.rglob("*") if path.suffix.lower() in reader.MIDI_SUFFIXES):
        data = path.read_bytes()
        try:
            reader.read_roll(data, path.name)
            files.append(MidiFile(path, data, int(smf.read(data).notes.is_on.sum())))
        except Rejection:
            refused += 1
    if refused:
        print(f"{refused} files left out: they are no MIDI files that become a roll", file=sys.stderr)
    if not files:
        raise UsageError(f"no MIDI file below {corpus} becomes a roll; give another folder")
    return files


def _measure(ways: Sequence[Way], files: Sequence[MidiFile], warm_up: Sequence[MidiFile], rounds: int) -> list[Result]:
    """The time of every way over all files, the ways in turn within each round."""
    seconds: list[list[float]] = [[] for _ in ways]
    for way in ways:
        _pass(way, warm_up)
    for number in range(rounds):
        # Plain lines: a bar would redraw itself while others are timed.
        print(f"{len(files)} files, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for way, taken in zip(ways, seconds, strict=True):
            if way.rounds is None or number < way.rounds:
                taken.append(_pass(way, files))
    notes = sum(file.notes for file in files)
    return [Result(way.name, len(files), notes, taken) for way, taken in zip(ways, seconds, strict=True)]


def _pass(way: Way, files: Sequence[MidiFile]) -> float:
    start = time.perf_counter()
    for file in files:
        try:
            way.read(file)
        except Exception as error:  # what rivals raise over a file they cannot read is not known beforehand
            raise PianogenError(
                f"{way.name} fails on {file.path}: {type(error).__name__}: {error}. Give a folder without this file."
            ) from error
    return time.perf_counter() - start


def _print_table(title: str, results: Sequence[Result]) -> None:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("way")
    for heading in ("rounds", "ms/file", "files/s", "notes/s", "smf roll is faster by"):
        table.add_column(heading, justify="right")
    for result in results:
        figures = result.figures()
        table.add_row(
            result.way,
            str(len(result.seconds)),
            f"{result.median_s / result.files * 1000:,.3f}",
            f"{figures['files_per_s']:,.1f}",
            f"{figures['notes_per_s']:,.0f}",
            f"{_times_faster(results)[result.way]:,.2f}",
        )
    Console(width=100).print(table)


def _group(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "files": results[0].files,
        "notes": results[0].notes,
        "ways": {result.way: result.figures() for result in results},
        "smf_roll_faster_by": _times_faster(results),
    }


def _times_faster(results: Sequence[Result]) -> dict[str, float]:
    """By way, its median time as a multiple of that of `smf roll`."""
    ours = next(result.median_s for result in results if result.way == "smf roll")
    return {result.way: result.median_s / ours for result in results}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.parse",
        description="Measure how fast MIDI becomes events and piano rolls: here, with music21, symusic, mido and pretty_midi.\n"
        "Prints tables; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.parse midis/ --sample 40 --rounds 5",
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="a folder of MIDI files")
    parser.add_argument(
        "--sample", type=command.positive_int, default=40, help="files for the slow rivals, of all sizes (default: 40)"
    )
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="rounds; converter.parse has one (default: 5)")
    return parser.parse(arguments)


if __name__ == "__main__":
    sys.exit(command.run(main))
