"""The speed of reading MIDI files to events and piano rolls: this package, music21, symusic, mido, pretty_midi and MidiTok.

python -m benchmarks.parse midis/

All parsers read the same files from memory (converter.parse needs paths, and reads from the page cache), in turn within each
round, so the ratio of two median times is the ratio of files/s and of notes/s alike. Slow parsers read a sample of files of all
sizes, and the fast ones read the same sample again for comparison. converter.parse takes a second or more per file and runs for
one round.
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
from pianogen.midi import smf
from pianogen.midi.events import ON
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import MIDI_SUFFIXES, read_roll
from pianogen.midi.rejection import Rejection
from pianogen.roll import STEPS_PER_QUARTER

_OTHER_PACKAGES = ("symusic", "mido", "pretty_midi", "miditok")


@dataclass(frozen=True, slots=True)
class MidiFile:
    """A file, in memory and on disk, and the number of its note-ons."""

    path: Path
    data: bytes
    num_notes: int


@dataclass(frozen=True, slots=True)
class Reader:
    """A function that reads a file; `max_rounds` limits the number of rounds of a slow one."""

    name: str
    read: Callable[[MidiFile], object]
    max_rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The seconds that a reader took for all files, one number per round."""

    reader: str
    num_files: int
    num_notes: int
    seconds: list[float]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def files_per_s(self) -> float:
        return self.num_files / self.median_s

    @property
    def notes_per_s(self) -> float:
        return self.num_notes / self.median_s


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.parse`."""
    options = _parse(arguments)
    missing = [name for name in _OTHER_PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f"not installed: {', '.join(missing)}. Run pip install pianogen[bench], then this command again.")
    files = _files(options.corpus)
    by_size = sorted(files, key=lambda file: len(file.data))
    num_sample = min(options.sample, len(by_size))
    sample = [
        by_size[(2 * i + 1) * len(by_size) // (2 * num_sample)] for i in range(num_sample)
    ]  # the middle file of equal parts
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    on_corpus = _measure([*_own(), *_symusic()], files, files, options.rounds)
    with warnings.catch_warnings():
        # music21 and pretty_midi warn about nearly every file (unknown instruments; tempo events outside the first track).
        warnings.simplefilter("ignore")
        on_sample = _measure([*_own(), *_symusic(), *_slow_readers()], sample, by_size[:1], options.rounds)
    _print_table(f"{len(files)} files", on_corpus)
    _print_table(f"sample of {len(sample)} files", on_sample)
    figures = {
        "benchmark": "parse",
        "corpus": _group(on_corpus),
        "sample": _group(on_sample),
        "versions": {name: version(name) for name in ("numba", "numpy", "music21", *_OTHER_PACKAGES)},
    }
    print(json.dumps(figures))
    return 0


def _own() -> list[Reader]:
    return [
        Reader("smf events", lambda file: smf.scan(file.data)),
        Reader("smf roll", lambda file: read_roll(file.data, file.path.name)),
    ]


def _symusic() -> list[Reader]:
    from symusic import Score  # imported after main has checked that it is installed

    def roll(file: MidiFile) -> object:
        # As in its documentation. Unlike the roll of this package, the result is not packed and has no tempo per step.
        score = Score.from_midi(file.data).resample(STEPS_PER_QUARTER, min_dur=1)
        return score.pianoroll(modes=["onset", "frame"], pitch_range=(21, 109))

    return [Reader("symusic notes", lambda file: Score.from_midi(file.data)), Reader("symusic roll", roll)]


def _slow_readers() -> list[Reader]:
    import mido  # imported after main has checked that the packages are installed
    import pretty_midi
    from miditok import TSD
    from symusic import Score

    tokenizer = TSD()  # the default configuration: tokens of notes and rests on its own grid

    def pretty_midi_roll(file: MidiFile) -> object:
        midi = pretty_midi.PrettyMIDI(io.BytesIO(file.data))
        end_tick = midi.time_to_tick(midi.get_end_time())
        ticks = np.arange(0, end_tick, midi.resolution / STEPS_PER_QUARTER).astype(int)
        return midi.get_piano_roll(times=np.array([midi.tick_to_time(tick) for tick in ticks]), pedal_threshold=None)

    return [
        Reader("music21 events roll", lambda file: read_roll(file.data, file.path.name, ReadOptions("music21"))),
        Reader("mido events", lambda file: mido.MidiFile(file=io.BytesIO(file.data))),
        Reader("pretty_midi roll", pretty_midi_roll),
        Reader("MidiTok tokens", lambda file: tokenizer.encode(Score.from_midi(file.data))),
        Reader("converter.parse", lambda file: converter.parse(file.path, forceSource=True), max_rounds=1),
    ]


def _files(corpus: Path) -> list[MidiFile]:
    """The MIDI files that become rolls; the number of rejected files is printed to standard error."""
    if not corpus.is_dir():
        raise UsageError(f"{corpus} is not a folder; give a folder of MIDI files")
    files: list[MidiFile] = []
    num_rejected = 0
    for path in sorted(path for path in corpus.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES):
        data = path.read_bytes()
        try:
            read_roll(data, path.name)
            files.append(MidiFile(path, data, int((smf.scan(data).events.notes["kind"] == ON).sum())))
        except Rejection:
            num_rejected += 1
    if num_rejected:
        print(f"{num_rejected} files are skipped because they cannot become rolls", file=sys.stderr)
    if not files:
        raise UsageError(f"{corpus} contains no MIDI file that becomes a roll; give another folder")
    return files


def _measure(readers: Sequence[Reader], files: Sequence[MidiFile], warm_up: Sequence[MidiFile], num_rounds: int) -> list[Result]:
    """Times every reader over all files, the readers in turn within each round."""
    seconds: list[list[float]] = [[] for _ in readers]
    for reader in readers:
        _time(reader, warm_up)
    for number in range(num_rounds):
        # Plain lines, because a progress bar would update itself during the measurement.
        print(f"{len(files)} files, round {number + 1} of {num_rounds}", file=sys.stderr, flush=True)
        for reader, reader_seconds in zip(readers, seconds, strict=True):
            if reader.max_rounds is None or number < reader.max_rounds:
                reader_seconds.append(_time(reader, files))
    num_notes = sum(file.num_notes for file in files)
    return [
        Result(reader.name, len(files), num_notes, reader_seconds)
        for reader, reader_seconds in zip(readers, seconds, strict=True)
    ]


def _time(reader: Reader, files: Sequence[MidiFile]) -> float:
    """The seconds that a reader takes for all files."""
    start = time.perf_counter()
    for file in files:
        try:
            reader.read(file)
        except Exception as error:  # other packages raise errors of many types for files that they cannot read
            raise PianogenError(
                f"{reader.name} fails on {file.path}: {type(error).__name__}: {error}. Give a folder without this file."
            ) from error
    return time.perf_counter() - start


def _print_table(title: str, results: Sequence[Result]) -> None:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("reader")
    for heading in ("rounds", "ms/file", "files/s", "notes/s", "smf roll is faster by"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            result.reader,
            str(len(result.seconds)),
            f"{result.median_s / result.num_files * 1000:,.3f}",
            f"{result.files_per_s:,.1f}",
            f"{result.notes_per_s:,.0f}",
            f"{_times_faster(results)[result.reader]:,.2f}",
        )
    Console(width=100).print(table)


def _group(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "files": results[0].num_files,
        "notes": results[0].num_notes,
        "ways": {
            result.reader: {
                "files_per_s": result.files_per_s,
                "notes_per_s": result.notes_per_s,
                "seconds": result.seconds,
            }
            for result in results
        },
        "smf_roll_faster_by": _times_faster(results),
    }


def _times_faster(results: Sequence[Result]) -> dict[str, float]:
    """The median time of each reader as a multiple of that of `smf roll`."""
    own_s = next(result.median_s for result in results if result.reader == "smf roll")
    return {result.reader: result.median_s / own_s for result in results}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.parse",
        description="Measure how fast this package, music21, symusic, mido, pretty_midi and MidiTok read MIDI files.\n"
        "Prints tables; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.parse midis/ --sample 40 --rounds 5",
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="a folder of MIDI files")
    parser.add_argument(
        "--sample",
        type=command.positive_int,
        default=40,
        help="number of files, of all sizes, for the slow readers (default: 40)",
    )
    parser.add_argument(
        "--rounds", type=command.positive_int, default=5, help="number of rounds; converter.parse runs for one (default: 5)"
    )
    return parser.parse(arguments)


if __name__ == "__main__":
    sys.exit(command.run(main))
