"""MusicXML to a score, straight from the tree: a cursor that notes, backups and forwards move through each measure of each part.

Source: https://www.w3.org/2021/06/musicxml40/. Pitches are written ones that `transpose` makes sounding. Chord symbols, slashes,
cue notes and notes with dynamics="0" are silent; unpitched notes are percussion.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from xml.etree.ElementTree import Element

from pianogen.midi.scores import musicxml_marks
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.musicxml_staves import RepeatSigns, Staves
from pianogen.midi.scores.numbers import fraction, nearest_key
from pianogen.midi.scores.score import Bar, Note, Score
from pianogen.midi.scores.xml_tree import read_tree

# Up to version 3, MuseScore marks small notes that it plays as cue notes, in a chord only the first one.
_MARKS_SMALL_NOTES = re.compile(r"MuseScore [0-3]\b")
_MAX_ROUNDING = Fraction(1, 8)  # quarter notes that the rounded durations of a measure may lack together
_MAX_EXCESS = Fraction(1, 4)  # quarter notes, a sixteenth: a bar that is less than this too long has rounded durations
_HARMONIC = "notations/technical/harmonic"
_PITCH_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def read_musicxml(data: bytes) -> Score:
    """The score of a MusicXML file, plain or compressed, part-wise or time-wise.

    Raises:
        ScoreError: the file is damaged, is not a score, or has a sign without a clear meaning.
    """
    score = Score()
    lengths: list[_Lengths] = []
    root = read_tree(data)
    parts = _parts(root)
    programs = [software.text or "" for software in root.findall("identification/encoding/software")]
    has_cues = not any(map(_MARKS_SMALL_NOTES.match, programs))
    has_exact_rests = any(program.startswith("MuseScore") for program in programs)
    _check_numbers(parts)
    for index, measures in enumerate(parts):
        part = _Part(str(index), has_cues, has_exact_rests)
        for number, measure in enumerate(measures):
            if number == len(score.bars):
                score.bars.append(Bar())
                lengths.append(_Lengths())
            try:
                part.read_measure(measure, score.bars[number], lengths[number])
            except ScoreError as error:
                raise ScoreError(f"measure {number + 1}: {error}", error.reason) from error
    for measures in parts:
        for number, measure in enumerate(measures):
            musicxml_marks.read_barlines(measure, score.bars, number)
    for bar, bar_lengths in zip(score.bars, lengths, strict=True):
        bar.length = bar_lengths.of_bar()
        tempos = [tempo._replace(onset=min(tempo.onset, bar.length)) for tempo in bar.tempos]  # a rest may exceed the bar
        bar.tempos = sorted(tempos, key=lambda tempo: tempo.onset)
    return score


def _parts(root: Element) -> list[list[Element]]:
    """The measures of each part."""
    if root.tag == "score-partwise":
        return [part.findall("measure") for part in root.findall("part")]
    if root.tag == "score-timewise":
        names = dict.fromkeys(part.get("id") for part in root.findall("measure/part"))
        return [[_measure_of(name, measure) for measure in root.findall("measure")] for name in names]
    raise ScoreError(f"the root element is <{root.tag}>, expected <score-partwise> or <score-timewise>")


def _check_numbers(parts: Sequence[Sequence[Element]]) -> None:
    """Raises an error if measures of one index have different numbers, such as those of a part that lacks the pickup."""
    for index, measures in enumerate(zip_longest(*parts)):
        numbers = {measure.get("number", "") for measure in measures if measure is not None} - {""}
        if len(numbers) > 1:
            shown = " and ".join(sorted(numbers))
            raise ScoreError(f"measure {index + 1} has the numbers {shown} in different parts; give all parts the same measures")


def _measure_of(name: str | None, measure: Element) -> Element:
    """The measure of the part with this name, without content if the part lacks the measure.

    Args:
        measure: of all parts.
    """
    result = Element("measure", measure.attrib)
    for part in measure.findall("part"):
        if part.get("id") == name:
            result.extend(part)
    return result


@dataclass(slots=True)
class _Lengths:
    """What decides the length of a bar, over all parts.

    Attributes:
        nominal: by the time signature.
        written: of the notes and rests.
        filling: of what fills incomplete measures up, such as pickups, up to the time signature.
    """

    nominal: Fraction = Fraction(0)
    written: Fraction = Fraction(0)
    filling: Fraction = Fraction(0)

    def of_bar(self) -> Fraction:
        """The length of the bar: without notes and rests, that of the filling or of the time signature."""
        length = self.written or self.filling or self.nominal
        return self.nominal if self.nominal < length < self.nominal + _MAX_EXCESS else length


@dataclass(slots=True)
class _Part:
    """The state of a part while its measures are read.

    Attributes:
        name: unique in the score.
        has_cues: whether `cue` marks silent notes.
        has_exact_rests: whether a rest of a complete measure has the duration of the measure, also of an irregular one.
        divisions: the durations of the file are multiples of 1 / divisions quarter notes; None before they are known.
        nominal_length: of a measure by the last time signature, for measures without content.
        is_measured: whether a time signature is in force; not in unmeasured music (`senza-misura`).
        staves: the attributes of the staves.
        repeat_signs: signs that repeat earlier measures or beats.
        start: the time of the measure in the part.
        cursor: the time in the measure.
        onset: of the last note that is not a further note of a chord.
        num_graces: grace notes since the last other note, by voice.
    """

    name: str
    has_cues: bool
    has_exact_rests: bool
    divisions: Fraction | None = None
    nominal_length: Fraction = Fraction(4)
    is_measured: bool = True
    staves: Staves = field(default_factory=Staves)
    repeat_signs: RepeatSigns = field(default_factory=RepeatSigns)
    start: Fraction = Fraction(0)
    cursor: Fraction = Fraction(0)
    onset: Fraction = Fraction(0)
    num_graces: Counter[str] = field(default_factory=Counter)

    def read_measure(self, measure: Element, bar: Bar, lengths: _Lengths) -> None:
        """Adds the content of a measure to the bar that has its index, and to the lengths of this bar."""
        if measure.get("non-controlling") == "yes":
            raise ScoreError("the measures of the parts do not coincide (non-controlling); give all parts the same bar lines")
        self.cursor = self.onset = length = Fraction(0)
        is_incomplete = measure.get("implicit") == "yes"  # such as a pickup, which some parts fill up with invisible rests
        unheard = _unheard_notes(measure)
        for element in measure:
            if element.tag == "note":
                self._read_note(element, bar, is_heard=element not in unheard)
            elif element.tag == "backup":
                self._back_up(self._duration(element))
            elif element.tag == "forward":
                self.cursor += self._duration(element)
            elif element.tag == "attributes":
                self._read_attributes(element)
            elif element.tag in ("direction", "sound"):
                musicxml_marks.read_direction(element, self._sounding_time(element), bar)
            length = max(length, self.cursor)
            end = min(self.cursor, self.nominal_length) if self._ends_with_the_meter(element) else self.cursor
            if is_incomplete and _is_filling(element):
                lengths.filling = max(lengths.filling, end)
            else:
                lengths.written = max(lengths.written, end)
        lengths.nominal = max(lengths.nominal, self.nominal_length)
        self.start += length or self.nominal_length
        self.repeat_signs.end_measure(self.start)

    def _ends_with_the_meter(self, element: Element) -> bool:
        """Whether the end of an element counts at most up to the end of the measure by its time signature.

        This holds for elements without a note or a visible rest, and for rests of the complete measure, which some programs
        write with the duration of a whole note in every meter. Rests of unmeasured music count with their full length.
        """
        rest = element.find("rest")
        if rest is None:
            return element.tag != "note"
        if not self.is_measured:
            return False
        is_complete = rest.get("measure") == "yes" or self.onset == 0
        return element.get("print-object") == "no" or (is_complete and not self.has_exact_rests)

    def _back_up(self, duration: Fraction) -> None:
        """Moves the cursor back, to the start of the measure if rounded durations lack up to an eighth of a quarter note."""
        if duration > self.cursor + max(_MAX_ROUNDING, self._quarters(Fraction(1))):
            raise ScoreError(f"a backup of {duration} quarter notes at {self.cursor}, before the start of the measure")
        self.cursor = max(Fraction(0), self.cursor - duration)

    def _duration(self, element: Element) -> Fraction:
        """The duration of a note, rest, backup or forward, by its type if it is missing; 0 for a note without both.

        Raises:
            ScoreError: a backup, a forward or a rest has neither, so that all later times of the measure are in doubt.
        """
        duration = fraction(element.findtext("duration"))
        if duration is not None and duration >= 0:
            return self._quarters(duration)
        length = _length_of_type(element)
        rest = element.find("rest")
        moves_time = element.tag != "note" or (rest is not None and rest.get("measure") != "yes")
        if length is None and moves_time:
            raise ScoreError(f"a {element.tag if rest is None else 'rest'} without a duration; add <duration> to it")
        return length or Fraction(0)

    def _quarters(self, divisions: Fraction) -> Fraction:
        """A number of divisions in quarter notes."""
        if divisions and self.divisions is None:
            raise ScoreError("a duration without <divisions>, the unit of durations; add them to the attributes of the part")
        return divisions / (self.divisions or 1)

    def _read_attributes(self, attributes: Element) -> None:
        divisions = fraction(attributes.findtext("divisions"))
        if divisions is not None and divisions > 0:
            self.divisions = divisions
        for time in attributes.findall("time"):
            self.is_measured = time.find("senza-misura") is None
            self.nominal_length = _measure_length(time) or self.nominal_length
        self.staves.read_attributes(attributes, self.start + self.cursor)
        self.repeat_signs.read_attributes(attributes, self.start + self.cursor)

    def _read_note(self, note: Element, bar: Bar, *, is_heard: bool) -> None:
        is_grace = note.find("grace") is not None
        is_chord = note.find("chord") is not None
        self.divisions = self.divisions or _divisions(note)
        duration = Fraction(0) if is_grace else self._duration(note)
        voice = note.findtext("voice", "").strip()
        if not is_chord:
            self.onset = self.cursor
            self.cursor += duration
            self.num_graces[voice] = self.num_graces[voice] + 1 if is_grace else 0
        if note.find("rest") is not None:
            return
        staff = note.findtext("staff", "").strip() or "1"
        time = self.start + self.onset
        self.repeat_signs.notes.append((staff, time))
        is_cue = self.has_cues and note.find("cue") is not None
        is_slash = note.findtext("notehead", "").strip() == "slash" or self.staves.has_slashes.at(staff, time)
        is_silent = is_slash or fraction(note.get("dynamics")) == 0 or self.staves.is_silent.at(staff, time)
        if is_cue or is_silent or not is_heard:
            bar.num_silent += 1
            return
        if note.get("time-only") is not None:
            raise ScoreError("a note is played in some of its repetitions only (time-only); write the repetitions out")
        is_unpitched = note.find("unpitched") is not None or self.staves.is_percussion.at(staff, time)
        key = None if is_unpitched else _key(note, self.staves.transposition.at(staff, time))
        if (key is None and not is_unpitched) or (duration == 0 and not is_grace):
            bar.num_lost += 1
            return
        ties = _ties(note)
        bar.notes.append(
            Note(
                onset=self.onset,
                duration=duration,
                key=key,
                voice=f"{self.name}/{voice}",
                grace=max(0, self.num_graces[voice] - 1) if is_grace else None,
                tie_start=not ties.isdisjoint(("start", "continue")),
                tie_stop=not ties.isdisjoint(("stop", "continue")),
            )
        )

    def _sounding_time(self, direction: Element) -> Fraction:
        """The time of a direction or sound: the cursor, moved by the offset of the sound, else by one that concerns the sound."""
        own = direction.findall("offset" if direction.tag == "sound" else "sound/offset")
        offsets = own or direction.findall("offset[@sound='yes']")
        moved = self._quarters(sum((fraction(offset.text) or Fraction(0) for offset in offsets), Fraction(0)))
        return max(Fraction(0), self.cursor + moved)


def _unheard_notes(measure: Element) -> set[Element]:
    """The notes that show where the string of a harmonic is stopped and touched, in chords that have its sounding pitch."""
    chords: list[list[Element]] = []
    for note in measure.findall("note"):
        if note.find("chord") is None or not chords:
            chords.append([])
        chords[-1].append(note)
    return {
        note
        for chord in chords
        if any(note.find(f"{_HARMONIC}/sounding-pitch") is not None for note in chord)
        for note in chord
        if note.find(f"{_HARMONIC}/base-pitch") is not None or note.find(f"{_HARMONIC}/touching-pitch") is not None
    }


def _key(note: Element, transposition: Fraction) -> int | None:
    """The key of the sounding pitch, None if the pitch cannot be read."""
    pitch_class = _PITCH_CLASSES.get(note.findtext("pitch/step", "").strip().upper())
    octave = fraction(note.findtext("pitch/octave"))
    alter = fraction(note.findtext("pitch/alter", "").strip() or "0")
    if pitch_class is None or octave is None or alter is None:
        return None
    return nearest_key(12 * (octave + 1) + pitch_class + alter + transposition)


def _divisions(note: Element) -> Fraction | None:
    """The divisions of a part that does not state them, by the duration and type of a note; None if one of them is missing."""
    duration, length = fraction(note.findtext("duration")), _length_of_type(note)
    return duration / length if duration and length else None


def _length_of_type(note: Element) -> Fraction | None:
    """The length of a note or rest by its type, dots and tuplet in quarter notes, None without a type."""
    unit = musicxml_marks.NOTE_TYPES.get(note.findtext("type", "").strip())
    if unit is None:
        return None
    length = unit * (2 - Fraction(1, 2 ** len(note.findall("dot"))))
    actual = fraction(note.findtext("time-modification/actual-notes"))
    normal = fraction(note.findtext("time-modification/normal-notes"))
    return length * normal / actual if actual and normal else length


def _is_filling(element: Element) -> bool:
    """Whether an element fills a measure up without a note or a visible rest."""
    rest = element.find("rest")
    return element.tag != "note" or (rest is not None and rest.get("measure") == "yes")


def _ties(note: Element) -> set[str | None]:
    """The types of the ties, which some programs write only as signs (`tied`)."""
    return {tie.get("type") for tie in (*note.findall("tie"), *note.findall("notations/tied"))}


def _measure_length(time: Element) -> Fraction | None:
    """The length of a measure in quarter notes, None without a number (senza misura)."""
    length = Fraction(0)
    for beats, beat_type in zip(time.findall("beats"), time.findall("beat-type"), strict=False):
        num_beats = [fraction(beat) for beat in (beats.text or "").split("+")]
        unit = fraction(beat_type.text)
        if unit is None or unit <= 0 or None in num_beats:
            return None
        length += sum((beat for beat in num_beats if beat is not None), Fraction(0)) * 4 / unit
    return length or None
