"""The tempos of MusicXML, and its marks for the order of the bars: barlines, and directions with sound, words or signs."""

import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from itertools import dropwhile
from xml.etree.ElementTree import Element

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.jumps import add_jumps, ends_of_words, jumps_of_words
from pianogen.midi.scores.numbers import ending_numbers, fraction, tempo_us_of
from pianogen.midi.scores.score import Bar, Tempo

# Attributes of `sound`.
_JUMPS = ("segno", "coda", "tocoda", "dacapo", "dalsegno", "fine")
_RETURNS = {"dacapo", "dalsegno"}
_TIMED = {"tempo", "forward-repeat"}
_SIGNS = ("segno", "coda")
NOTE_TYPES = {
    "maxima": Fraction(32),
    "long": Fraction(16),
    "breve": Fraction(8),
    "whole": Fraction(4),
    "half": Fraction(2),
    "quarter": Fraction(1),
    "eighth": Fraction(1, 2),
    "16th": Fraction(1, 4),
    "32nd": Fraction(1, 8),
    "64th": Fraction(1, 16),
}


def read_direction(element: Element, time: Fraction, bar: Bar) -> None:
    """Adds the tempo and the marks of a direction, or of a sound outside of one, to the bar in which it stands.

    Args:
        time: from the start of the bar, in quarter notes.

    Raises:
        ScoreError: the sound concerns some repetitions only, or the words are not understood.
    """
    sound = element if element.tag == "sound" else element.find("sound")
    attributes = {} if sound is None else sound.attrib
    tempo_us = _sound_tempo_us(attributes) or _metronome_us(element)
    if tempo_us is not None:
        bar.tempos.append(Tempo(time, tempo_us))
    bar.marks.forward |= attributes.get("forward-repeat") == "yes"  # a repeat sign that is not shown
    jumps = {jump: attributes[jump] for jump in _JUMPS if attributes.get(jump, "no") != "no"}
    if "time-only" in attributes and (jumps or not _TIMED.isdisjoint(attributes)):
        raise ScoreError("a tempo or jump holds in some repetitions only (time-only); write the repetitions out")
    if not _RETURNS.isdisjoint(jumps):
        jumps |= ends_of_words(_text(element, ("words", *_SIGNS)))
    add_jumps(bar.marks, jumps or _jumps_of_words(element) or _jumps_of_signs(element))


def _sound_tempo_us(attributes: Mapping[str, str]) -> int | None:
    tempo = fraction(attributes.get("tempo"))
    return None if tempo is None else tempo_us_of(tempo)


def _metronome_us(direction: Element) -> int | None:
    """The tempo of a metronome mark with a number, as in "quarter = 120" or "quarter = ca. 60-66" (its first number)."""
    metronome = direction.find("direction-type/metronome")
    if metronome is None:
        return None
    beat = _beat(metronome)
    number = re.search(r"\d+(?:[.,]\d+)?", metronome.findtext("per-minute", ""))
    if beat is None or number is None or len(metronome.findall("beat-unit")) > 1:
        return None
    beats_per_minute = fraction(number[0].replace(",", "."))
    return None if beats_per_minute is None else tempo_us_of(beats_per_minute * beat)


def _beat(metronome: Element) -> Fraction | None:
    """The length of the beat of a metronome mark in quarter notes: a note, and the notes that are tied to it."""
    length = Fraction(0)
    for note in (metronome, *metronome.findall("beat-unit-tied")):
        unit = NOTE_TYPES.get(note.findtext("beat-unit", "").strip())
        if unit is None:
            return None
        length += unit * (2 - Fraction(1, 2 ** len(note.findall("beat-unit-dot"))))
    return length


def _jumps_of_words(direction: Element) -> dict[str, str]:
    """The jumps of the words with the signs that follow them, as in "Dal" and a segno, else of the words alone."""
    return jumps_of_words(_text(direction, ("words", *_SIGNS))) or jumps_of_words(_text(direction, ("words",)))


def _text(direction: Element, tags: Collection[str]) -> str:
    """The text of the elements with these tags, from the first words on, with names for signs."""
    elements = [element for element in direction.findall("direction-type/*") if element.tag in tags]
    from_words = dropwhile(lambda element: element.tag != "words", elements)
    return " ".join(element.tag if element.tag in _SIGNS else "".join(element.itertext()) for element in from_words)


def _jumps_of_signs(direction: Element) -> dict[str, str]:
    return {sign: "" for sign in _SIGNS if direction.find(f"direction-type/{sign}") is not None}


def read_barlines(measure: Element, bars: Sequence[Bar], index: int) -> None:
    """Adds the repeats, endings and signs of a measure's barlines to the marks of its bar and the bars beside it.

    Args:
        bars: all bars.
        index: of the measure's bar.

    Raises:
        ScoreError: a repeat sign inside a measure.
    """
    for barline in measure.findall("barline"):
        location = barline.get("location", "right")
        bar_after = index if location == "left" else index + 1
        repeat = barline.find("repeat")
        if repeat is not None and location == "middle":
            raise ScoreError(f"measure {index + 1} has a repeat sign in its middle; split the measure there")
        if bar_after < len(bars):
            marks = bars[bar_after].marks
            marks.forward |= repeat is not None and repeat.get("direction") == "forward"
            marks.segno |= {"" for _ in barline.findall("segno")}
        if repeat is not None and repeat.get("direction") == "backward":
            ending = index if location == "right" else index - 1
            if ending >= 0:
                marks = bars[ending].marks
                marks.plays = max(marks.plays, int(fraction(repeat.get("times")) or 2))
                marks.repeats_after_jump |= repeat.get("after-jump") == "yes"
        for ending_sign in barline.findall("ending"):
            if ending_sign.get("type") == "start":
                shown = ending_numbers(ending_sign.text or "")
                bars[index].marks.start_ending(ending_numbers(ending_sign.get("number", "")) or shown, shown)
            else:
                bars[index].marks.ending_stop = True
        if barline.find("coda") is not None:
            coda = index if _is_place_to_jump_from(bars, index) else bar_after
            if coda < len(bars):
                bars[coda].marks.coda.add("")


def _is_place_to_jump_from(bars: Sequence[Bar], index: int) -> bool:
    """Whether a coda sign at the end of a bar stands for To Coda: at its words, or without them if it is the first coda sign."""
    has_to_coda = [bar.marks.coda_jump is not None for bar in bars]
    return has_to_coda[index] or not (any(has_to_coda) or any(bar.marks.coda for bar in bars[:index]))
