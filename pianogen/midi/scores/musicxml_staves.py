"""The attributes of the staves of a MusicXML part: transposition, percussion, silence, and signs that repeat earlier notes.

Attributes hold from their time on in all voices, also in a voice that is written after them and starts before them.
Times are in quarter notes from the start of the part.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeVar
from xml.etree.ElementTree import Element

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.numbers import fraction

_SILENT_STAVES = {"ossia", "cue", "alternate"}  # types of staves

_Value = TypeVar("_Value")


class Changes(Generic[_Value]):
    """The values of an attribute of staves, which change at times."""

    def __init__(self, initial: _Value) -> None:
        self._changes: defaultdict[str | None, list[tuple[Fraction, _Value]]] = defaultdict(list)
        self.add(None, Fraction(0), initial)

    def add(self, staff: str | None, time: Fraction, value: _Value) -> None:
        """Adds the value of a staff, or of all staves (None), from a time on."""
        insort(self._changes[staff], (time, value), key=_time_of)

    def at(self, staff: str, time: Fraction) -> _Value:
        """The last value up to a time; of two values at one time, that of the staff, not that of all staves."""
        latest = []
        for changes in (self._changes[staff], self._changes[None]):
            if index := bisect_right(changes, time, key=_time_of):
                latest.append(changes[index - 1])
        return max(latest, key=_time_of)[1]


def _time_of(change: tuple[Fraction, _Value]) -> Fraction:
    return change[0]


@dataclass(slots=True)
class Staves:
    """The attributes of the staves.

    Attributes:
        transposition: semitones from written to sounding pitch.
        is_percussion: whether the staff has a percussion clef.
        is_silent: whether the staff has an alternative to the notes of another staff, or cue notes.
        has_slashes: whether the staff shows rhythms as slashes.
    """

    transposition: Changes[Fraction] = field(default_factory=lambda: Changes(Fraction(0)))
    is_percussion: Changes[bool] = field(default_factory=lambda: Changes(False))
    is_silent: Changes[bool] = field(default_factory=lambda: Changes(False))
    has_slashes: Changes[bool] = field(default_factory=lambda: Changes(False))

    def read_attributes(self, attributes: Element, time: Fraction) -> None:
        """Adds the changes of `attributes` at a time.

        Raises:
            ScoreError: a part is doubled at the octave.
        """
        for clef in attributes.findall("clef"):
            self.is_percussion.add(clef.get("number", "1"), time, clef.findtext("sign", "").strip() == "percussion")
        for details in attributes.findall("staff-details"):
            if (staff_type := details.findtext("staff-type")) is not None:
                self.is_silent.add(details.get("number", "1"), time, staff_type.strip() in _SILENT_STAVES)
        for style in attributes.findall("measure-style"):
            if (slash := style.find("slash")) is not None:
                self.has_slashes.add(style.get("number"), time, slash.get("type") == "start")
        for transpose in attributes.findall("transpose"):
            if transpose.find("double") is not None:
                raise ScoreError("a part doubled at the octave (<double/> in <transpose>); write its notes out")
            chromatic = fraction(transpose.findtext("chromatic")) or Fraction(0)
            # Old versions of music21 write the other name.
            octaves = fraction(transpose.findtext("octave-change") or transpose.findtext("octave-shift")) or Fraction(0)
            self.transposition.add(transpose.get("number"), time, chromatic + 12 * octaves)


@dataclass(slots=True)
class RepeatSigns:
    """Signs that repeat earlier measures or beats. Programs write them with or without the repeated notes.

    Attributes:
        starts: the times of the signs in force, by staff; None stands for all staves.
        stretches: staff, start and end of the signs that ended in the measure.
        notes: staff and onset of the notes of the measure.
    """

    starts: dict[str | None, Fraction] = field(default_factory=dict)
    stretches: list[tuple[str | None, Fraction, Fraction]] = field(default_factory=list)
    notes: list[tuple[str, Fraction]] = field(default_factory=list)

    def read_attributes(self, attributes: Element, time: Fraction) -> None:
        """Adds the starts and stops of signs at a time."""
        for style in attributes.findall("measure-style"):
            staff = style.get("number")
            for sign in (*style.findall("measure-repeat"), *style.findall("beat-repeat")):
                if sign.get("type") == "start":
                    self.starts.setdefault(staff, time)
                    continue
                for stopped in [other for other in self.starts if staff is None or other in (staff, None)]:
                    self.stretches.append((stopped, self.starts.pop(stopped), time))

    def end_measure(self, end: Fraction) -> None:
        """Checks that notes are written where signs were in force in the measure that ends.

        Raises:
            ScoreError: no notes are written there.
        """
        self.stretches += [(staff, start, end) for staff, start in self.starts.items()]
        for staff, start, stop in self.stretches:
            if start < stop and not any(staff in (None, other) and start <= onset < stop for other, onset in self.notes):
                raise ScoreError(
                    "a sign repeats music whose notes are not written (<measure-repeat>, <beat-repeat>); write them out"
                )
        self.starts = dict.fromkeys(self.starts, end)
        self.stretches.clear()
        self.notes.clear()
