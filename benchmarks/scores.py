"""How many scores this package, music21, verovio and partitura read alike, and how fast.

python -m benchmarks.scores --every 4

The first table compares all readers with the known notes of tests/data/scores, the second with this package, on piano and
four-part music that is bundled with music21: the onsets of every key, with all repeats. Where readers have the same notes at
other times, it is mostly the place of grace notes. Readers run in processes of their own, because verovio aborts on some files.
"""

import argparse
import base64
import csv
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import music21
import numpy as np
from music21 import converter
from music21.midi.translate import streamToMidiFile
from rich.console import Console
from rich.table import Table

from pianogen import command
from pianogen.errors import UsageError
from pianogen.midi import smf
from pianogen.midi.events import DRUM_CHANNEL, ON, Events
from pianogen.midi.rejection import Rejection
from pianogen.midi.score_reader import read_score

_CASES = Path(__file__).parents[1] / "tests" / "data" / "scores"
_CORPUS = Path(music21.__file__).parent / "corpus"
_FOLDERS = (
    *("bach", "beach", "beethoven", "chopin", "corelli", "cpebach", "handel", "haydn", "johnson_j_r", "joplin", "liliuokalani"),
    *("monteverdi", "mozart", "schubert", "schumann_clara", "schumann_robert", "verdi", "weber"),
)
_OTHER_PACKAGES = ("partitura", "verovio")
_OWN = "pianogen"
_GRID = 48  # onsets are compared to 1/48 of a quarter note, because other programs round

Onsets = Counter[tuple[int, int]]  # by time and key


class Reading(NamedTuple):
    """The onsets that a reader finds, None if it fails or finds none, and the seconds that it takes."""

    onsets: Onsets | None
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.scores`."""
    options = _parse(arguments)
    if missing := [name for name in _OTHER_PACKAGES if find_spec(name) is None]:
        raise UsageError(f"not installed: {', '.join(missing)}. Run pip install pianogen[bench], then this command again.")
    cases = _expected_onsets()
    bundled = [path for folder in options.folders or _FOLDERS for path in _scores_of(folder)[:: options.every]]
    readings = {reader: _read_all(reader, [*cases, *bundled]) for reader in _READERS}
    own = {path: onsets for path in bundled if (onsets := readings[_OWN][path].onsets) is not None}
    tables = {"cases": _compare(readings, cases), "bundled": _compare(readings, own)}
    for title, table in tables.items():
        _print_table(title, table)
    print(f"{len(bundled) - len(own)} of {len(bundled)} bundled scores are rejected by {_OWN} and not compared")
    figures = {"benchmark": "scores", "rejected": len(bundled) - len(own), **tables}
    print(json.dumps(figures | {"versions": {name: version(name) for name in ("music21", *_OTHER_PACKAGES)}}))
    return 0


def _expected_onsets() -> dict[Path, Onsets]:
    """The known onsets of the cases that are not rejected; of a file with several tunes, those of the first."""
    with (_CASES / "expected.csv").open(newline="") as file:
        rows = {_CASES / row["file"].removesuffix("#1"): row for row in csv.DictReader(file) if not row["rejected"]}
    return {
        path: Counter(_cell(note) for note in row["notes"].split() if "drum" not in note)
        for path, row in rows.items()
        if path.exists()
    }


def _cell(note: str) -> tuple[int, int]:
    start, _, key = note.partition("+")[0].partition(":")
    return round(Fraction(start) / 4 * _GRID), int(key)


def _scores_of(folder: str) -> list[Path]:
    if not (_CORPUS / folder).is_dir():
        raise UsageError(
            f"music21 has no corpus {folder!r}; valid names: {', '.join(sorted(p.name for p in _CORPUS.iterdir() if p.is_dir()))}"
        )
    return sorted(path for path in (_CORPUS / folder).rglob("*") if path.suffix in (".mxl", ".musicxml", ".xml", ".krn"))


def _read_all(reader: str, paths: Sequence[Path]) -> dict[Path, Reading]:
    """Readings in a process that is replaced after it has died."""
    readings: dict[Path, Reading] = {}
    pool = ProcessPoolExecutor(1)
    for number, path in enumerate(paths, 1):
        print(f"{reader}: {number} of {len(paths)}, {path.name}", file=sys.stderr, flush=True)
        try:
            readings[path] = pool.submit(_read, reader, path).result()
        except BrokenProcessPool:
            readings[path] = Reading(None, 0.0)
            pool = ProcessPoolExecutor(1)
    pool.shutdown()
    return readings


def _read(reader: str, path: Path) -> Reading:
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            onsets = _READERS[reader](path)
    except Exception:  # other packages raise errors of many types for files that they cannot read
        if reader == _OWN:
            raise
        onsets = Counter()
    return Reading(onsets or None, time.perf_counter() - start)


def _onsets(events: Events) -> Onsets:
    notes = events.notes
    onsets = notes[(notes["kind"] == ON) & (notes["channel"] != DRUM_CHANNEL)]
    times = np.rint(onsets["tick"] * _GRID / events.ticks_per_quarter).astype(int)
    return Counter(zip(times.tolist(), onsets["key"].tolist(), strict=True))


def _read_own(path: Path) -> Onsets:
    try:
        events = read_score(path.read_bytes(), path.suffix)[0]
    except Rejection:
        return Counter()
    return Counter() if isinstance(events, Rejection) else _onsets(events)


def _read_with_music21(path: Path) -> Onsets:
    """music21's rendering of its stream to MIDI."""
    score = converter.parse(path, forceSource=True, storePickle=False)
    return _onsets(smf.scan(streamToMidiFile(score, addEndDelay=False).writestr()).events)


def _read_with_verovio(path: Path) -> Onsets:
    import verovio  # imported after main has checked that it is installed

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions({"expandAlways": True, "breaks": "none"})
    if not toolkit.loadFile(str(path)):
        return Counter()
    return _onsets(smf.scan(base64.b64decode(toolkit.renderToMIDI())).events)


def _read_with_partitura(path: Path) -> Onsets:
    import partitura  # imported after main has checked that it is installed

    onsets: Onsets = Counter()
    for part in partitura.load_score(str(path)).parts:
        notes = partitura.score.unfold_part_maximal(part).note_array()
        first_quarter = notes["onset_quarter"].min()
        times = np.rint((notes["onset_quarter"] - min(0, first_quarter)) * _GRID).astype(int)
        onsets.update(zip(times.tolist(), notes["pitch"].tolist(), strict=True))
    return onsets


_READERS = {_OWN: _read_own, "music21": _read_with_music21, "verovio": _read_with_verovio, "partitura": _read_with_partitura}


def _compare(readings: dict[str, dict[Path, Reading]], expected: dict[Path, Onsets]) -> dict[str, dict[str, float]]:
    """The number of scores by agreement for each reader, and its seconds."""
    table: dict[str, dict[str, float]] = {}
    for reader, by_path in readings.items():
        verdicts = Counter(_verdict(by_path[path].onsets, onsets) for path, onsets in expected.items())
        table[reader] = {verdict: verdicts[verdict] for verdict in ("equal", "other times", "other notes", "failed")}
        table[reader]["seconds"] = sum(by_path[path].seconds for path in expected)
    return table


def _verdict(found: Onsets | None, expected: Onsets) -> str:
    if found is None:
        return "failed"
    if found == expected:
        return "equal"
    return (
        "other times"
        if Counter(key for _, key in found.elements()) == Counter(key for _, key in expected.elements())
        else "other notes"
    )


def _print_table(title: str, figures: dict[str, dict[str, float]]) -> None:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("reader")
    for heading in next(iter(figures.values())):
        table.add_column(heading, justify="right")
    for reader, row in figures.items():
        table.add_row(reader, *(f"{value:,.1f}" if heading == "seconds" else f"{value:,.0f}" for heading, value in row.items()))
    Console(width=100).print(table)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.scores",
        description="Compare how this package, music21, verovio and partitura read scores.\n"
        "Prints tables; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.scores mozart joplin --every 1",
    )
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="folders of music21's corpus (default: piano and four parts)"
    )
    parser.add_argument("--every", type=command.positive_int, default=4, help="read every N-th score of a folder (default: 4)")
    return parser.parse(arguments)


if __name__ == "__main__":
    sys.exit(command.run(main))
