"""The parser without the preprocessing program: converts the MIDI files of a folder from memory, repeatedly, in one process.

python -m benchmarks.programs.bare midis/ --seconds 2
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pianogen import command
from pianogen.errors import UsageError
from pianogen.midi import smf
from pianogen.midi.events import ON
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Rejection


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.programs.bare`."""
    parser = command.Parser(
        prog="python -m benchmarks.programs.bare",
        description="Measure the parser without the preprocessing program; prints one JSON object.",
        epilog="example:\n  python -m benchmarks.programs.bare midis/ --seconds 2",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of MIDI files; all of its files are read")
    parser.add_argument("--seconds", type=float, default=2.0, help="passes are repeated until this time is over (default: 2)")
    options = parser.parse(arguments)
    if not options.folder.is_dir():
        raise UsageError(f"{options.folder} is not a folder; give a folder of MIDI files")
    files = [path.read_bytes() for path in sorted(options.folder.rglob("*")) if path.is_file()]
    num_notes, num_steps = _count(files)  # the first file loads the kernels, which is not timed
    num_passes, begin = 0, time.perf_counter()
    while num_passes == 0 or time.perf_counter() - begin < options.seconds:
        _read_all(files)
        num_passes += 1
    pass_s = (time.perf_counter() - begin) / num_passes
    print(json.dumps({"files": len(files), "notes": num_notes, "steps": num_steps, "s": pass_s}))
    return 0


def _count(files: Sequence[bytes]) -> tuple[int, int]:
    """The note-ons and steps of the files that become rolls."""
    num_notes = num_steps = 0
    for data in files:
        try:
            num_steps += len(read_roll(data, "")[0])
            num_notes += int((smf.scan(data).events.notes["kind"] == ON).sum())
        except Rejection:
            continue
    return num_notes, num_steps


def _read_all(files: Sequence[bytes]) -> None:
    for data in files:
        try:
            read_roll(data, "")
        except Rejection:
            continue


if __name__ == "__main__":
    sys.exit(command.run(main))
