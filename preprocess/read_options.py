"""The command line's options of reading, and their record in the provenance of a store."""

import argparse
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, get_args

from pianogen.command import positive_int
from pianogen.errors import UsageError
from pianogen.midi.filters import Filters
from pianogen.midi.options import NUM_PROGRAMS, STEPS_PER_QUARTER_CHOICES, MidiParser, ReadOptions
from pianogen.roll import NUM_KEYS, STEPS_PER_QUARTER


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a command line."""
    group = parser.add_argument_group("reading")
    group.add_argument("--parser", choices=get_args(MidiParser), default="smf", help="the reader of MIDI events (default: smf)")
    group.add_argument("--keep-rests", action="store_true", help="keep the silence before the first and after the last note")
    group.add_argument(
        "--steps-per-quarter",
        type=positive_int,
        choices=STEPS_PER_QUARTER_CHOICES,
        default=STEPS_PER_QUARTER,
        help=f"steps of a quarter note; 6, 12 and 24 also represent triplets (default: {STEPS_PER_QUARTER})",
    )
    group.add_argument(
        "--programs",
        type=_programs,
        metavar="0-7,…",
        help="keep only notes of these General MIDI programs, counted from 0; 0-7 are pianos",
    )
    group.add_argument("--sustain", action="store_true", help="hold released keys while the sustain pedal is down")
    filters = parser.add_argument_group("filters", "pieces outside these limits are rejected as filtered")
    filters.add_argument("--min-steps", type=positive_int, metavar="N", help="smallest length of a piece in steps")
    filters.add_argument("--max-steps", type=positive_int, metavar="N", help="largest length of a piece in steps")
    filters.add_argument(
        "--min-onsets-per-bar", type=_positive_number, metavar="X", help="smallest mean number of onsets per bar"
    )
    filters.add_argument(
        "--max-polyphony", type=_up_to(NUM_KEYS), metavar="N", help="largest number of keys that sound at one step"
    )
    filters.add_argument("--min-keys", type=_up_to(NUM_KEYS), metavar="N", help="smallest number of different keys")


def read_options(values: argparse.Namespace) -> ReadOptions:
    """The options of a parsed command line.

    Raises:
        UsageError: limits contradict each other.
    """
    filters = Filters(**{name: getattr(values, name) for name in Filters.__dataclass_fields__})
    if filters.min_steps and filters.max_steps and filters.min_steps > filters.max_steps:
        raise UsageError(
            f"--min-steps {filters.min_steps} is larger than --max-steps {filters.max_steps}, which would reject every piece; "
            "correct one of them"
        )
    return ReadOptions(values.parser, values.keep_rests, values.steps_per_quarter, values.programs, values.sustain, filters)


def provenance_of(options: ReadOptions) -> dict[str, Any]:
    """The options as JSON values; limits only where there are any."""
    values = asdict(options)
    limits = {name: limit for name, limit in values.pop("filters").items() if limit is not None}
    return {**values, **limits}


def _programs(text: str) -> tuple[int, ...]:
    """The programs of a list of numbers and ranges."""
    programs: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < NUM_PROGRAMS:
            raise argparse.ArgumentTypeError(f"{part!r} is not a program or a range of programs from 0 to {NUM_PROGRAMS - 1}")
        programs.update(range(first, last + 1))
    return tuple(sorted(programs))


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _up_to(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if (value := positive_int(text)) > most:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 1 to {most}")
        return value

    return parse
