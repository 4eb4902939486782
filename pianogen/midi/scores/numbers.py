"""Numbers that scores contain as text, and the keys and tempos that they mean."""

import re
from fractions import Fraction

from pianogen.roll import MAX_TEMPO_US, US_PER_MINUTE

_NUMBER = re.compile(r"\s*([+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}))\s*")
_RANGE = re.compile(r"(\d{1,3})(?:\s*-\s*(\d{1,3}))?")


def fraction(text: str | None) -> Fraction | None:
    """The value of a decimal number, None for anything else."""
    match = _NUMBER.fullmatch(text or "")
    return Fraction(match[1]) if match else None


def ending_numbers(text: str) -> set[int]:
    """The numbers of an ending, as in "1", "1, 2" or "1-3"."""
    numbers: set[int] = set()
    for first, last in _RANGE.findall(text):
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers - {0}


def nearest_key(pitch: Fraction) -> int:
    """The MIDI note number nearest to a pitch in semitones, exact halves up."""
    return (pitch + Fraction(1, 2)).__floor__()


def tempo_us_of(quarters_per_minute: Fraction) -> int | None:
    """Microseconds per quarter note, or None for a tempo that a MIDI file cannot express, such as 0."""
    if quarters_per_minute <= 0:
        return None
    tempo_us = round(US_PER_MINUTE / quarters_per_minute)
    return tempo_us if 1 <= tempo_us <= MAX_TEMPO_US else None
