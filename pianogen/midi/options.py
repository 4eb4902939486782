"""The options that change how a MIDI file or score becomes a roll."""

from dataclasses import dataclass
from typing import Literal

from pianogen.midi.filters import NO_FILTERS, Filters
from pianogen.roll import STEPS_PER_QUARTER

MidiParser = Literal["smf", "music21"]
STEPS_PER_QUARTER_CHOICES = (4, 6, 8, 12, 16, 24)
NUM_PROGRAMS = 128  # of General MIDI


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The options of reading.

    Attributes:
        parser: reads the events of MIDI files; the roll, or the reason of a rejection, does not depend on it.
        keep_rests: keep leading and trailing silence.
        steps_per_quarter: the number of steps of a quarter note, one of STEPS_PER_QUARTER_CHOICES.
        programs: the General MIDI programs, 0..127, whose notes are kept; None keeps all.
        sustain: hold released keys while the sustain pedal is down.
        filters: limits that exclude pieces.
    """

    parser: MidiParser = "smf"
    keep_rests: bool = False
    steps_per_quarter: int = STEPS_PER_QUARTER
    programs: tuple[int, ...] | None = None
    sustain: bool = False
    filters: Filters = NO_FILTERS


DEFAULT_OPTIONS = ReadOptions()
