"""A line of ABC music: notes, chords, grace notes, tuplets, bar lines and endings, added to the bars of a score by one voice."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from pianogen.midi.scores.abc_fields import ACCIDENTALS
from pianogen.midi.scores.bar_order import MAX_BARS
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.jumps import add_jumps, jumps_of_words
from pianogen.midi.scores.numbers import ending_numbers
from pianogen.midi.scores.score import Bar, Note

_PITCH_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_LENGTH = r"(?P<{0}num>\d{{0,4}})(?P<{0}slashes>/{{0,8}})(?P<{0}den>\d{{0,4}})"
_NOTE = r"(?P<{0}accidental>\^\^|\^|__|_|=)?(?P<{0}letter>[A-Ga-g])(?P<{0}octave>[',]*)" + _LENGTH
_ENDING = r"\d{1,2}(?:\s*[,-]\s*\d{1,2})*"
_ANNOTATION = r'"(?P<text>[^"]*)"|!(?P<decoration>[^!|\[\]]{1,40})!|\+(?P<old_decoration>[A-Za-z0-9.]{1,40})\+'
_SYMBOL = r"(?P<symbol>[.~H-Wh-w])"
TOKEN = re.compile(
    _ANNOTATION + r"|\[(?P<field>[A-Za-z]):(?P<value>[^\]]*)\]"
    r"|\{/?(?P<graces>[^}]*)\}-?"
    rf"|\[\s*(?P<ending>{_ENDING})"
    r"|(?P<double>\|::\|)"
    rf"|\.?(?P<backward>:*)(?P<line>\[\|\]?|\|+\]?)(?P<forward>:*)(?P<bar_ending>{_ENDING})?"
    rf"|(?P<both>:{{2,}})(?P<both_ending>{_ENDING})?"
    r"|\((?P<tuplet>\d(?!\d)|\d\d(?=:\d))(?::(?P<in_time>\d{0,2}))?(?::(?P<num_notes>\d{0,2}))?"
    rf"|\[(?P<chord>(?:\"[^\"]*\"|[^\"\]|:])*)\]{_LENGTH.format('c')}"
    rf"|{_NOTE.format('')}"
    rf"|[zx]{_LENGTH.format('r')}"
    r"|[ZX](?P<bars>\d{0,3})(?!\w)"
    r"|(?P<overlay>&)(?!\))"
    rf"|{_SYMBOL}"
    r"|y\d*|\.?[()](?!&)|[\s\\`*$!]"
)
_INNER_ANNOTATION = re.compile(f"{_ANNOTATION}|{_SYMBOL}")  # inside chords and grace notes
_PLACEMENT = re.compile(r"[\^_<>@]*(?:(?<=@)[-+]?[\d.]+,[-+]?[\d.]+)?")  # of a text, such as ^ or @10,5
_BASS_CHORD = re.compile(r"\W*[A-G][^\s/]*/[A-Ga-g]b?\W*")  # a chord symbol such as D/C# or (D/C), and no D.C.
_CHORD_NOTE = re.compile(_NOTE.format("") + r"(?P<tie>-?)")
_GRACE_NOTES = re.compile(r"\[(?P<chord>[^\]]*)\]|" + _NOTE.format(""))  # a chord or a note
_GRACE_REMAINDER = re.compile(r"[\s()<>\-/\d]*")
_BETWEEN = r'(?:[)\s]|"[^"]*"|\{[^}]*\})*'  # what may stand between a note and its ">" or "<"
_AFTER_NOTE = re.compile(
    rf"(?:[)\s]*\.?(?P<tie>-))?(?:(?P<between>{_BETWEEN})(?P<broken><{{1,8}}|>{{1,8}}))?(?:\s*(?P<late_tie>-))?"
)
_NOTES = re.compile(r"(?!f+$)(?:\s*[_^=]*[A-Ga-gz][,']*[\d/]*\s*){2,}")  # and no dynamics such as !ff!
_SIGNS = {"S": "segno", "O": "coda"}
# The number of notes of a tuplet to the number in whose time they are played; others take 2, or 3 in compound meters.
_TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}


@dataclass(slots=True)
class Voice:
    """The state of a voice while its music is read. Lengths of fields are in whole notes, times in quarter notes.

    Attributes:
        name: unique in the tune.
        signature: the alteration of each letter by the key.
        unit: the unit note length.
        meter: the length of a bar, None without a meter.
        is_compound: the meter is one of 6/8, 9/8 and their like.
        transpositions: semitones by the property that they come from; the sum of all holds.
        has_percussion_clef: the notes have no pitch.
        is_drum_channel: the same, by a MIDI channel.
        accidental_scope: where an accidental holds up to the end of the bar: "pitch" (in all octaves), "octave" or "not".
        bars: of the score; voices share them by index.
        bar_index: of the bar that is being read, which may not exist yet.
        cursor: the time in the bar.
        bar_length: the largest time in the bar, over its overlays.
        overlay: the number of overlays ("&") in the bar so far.
        accidentals: by letter and octave (None for all octaves), in this bar.
        ties: the keys of the last notes that are tied to the next ones, by overlay, letter and octave.
        num_graces: grace notes since the last other note.
        broken: the factor for the length of the next note, after ">" or "<".
        tuplet: the factor for the lengths of the next notes, and their number.
        lengths: of the bars that the voice has ended, by index.
    """

    name: str
    bars: list[Bar]
    signature: dict[str, int] = field(default_factory=dict)
    unit: Fraction = Fraction(1, 8)
    meter: Fraction | None = Fraction(1)
    is_compound: bool = False
    transpositions: dict[str, int] = field(default_factory=dict)
    has_percussion_clef: bool = False
    is_drum_channel: bool = False
    accidental_scope: str = "pitch"
    bar_index: int = 0
    cursor: Fraction = Fraction(0)
    bar_length: Fraction = Fraction(0)
    overlay: int = 0
    accidentals: dict[tuple[str, int | None], int] = field(default_factory=dict)
    ties: dict[int, dict[tuple[str, int], int]] = field(default_factory=dict)
    num_graces: int = 0
    broken: Fraction = Fraction(1)
    tuplet: tuple[Fraction, int] = (Fraction(1), 0)
    lengths: dict[int, Fraction] = field(default_factory=dict)

    @property
    def bar(self) -> Bar:
        """The bar that is being read; bars before it that no voice has reached are added, too."""
        if self.bar_index > MAX_BARS:
            raise ScoreError(f"more than {MAX_BARS} bars", "too_long")
        while len(self.bars) <= self.bar_index:
            self.bars.append(Bar())
        return self.bars[self.bar_index]

    def end_bar(self) -> None:
        """Ends the bar, unless nothing has been read since the last bar line."""
        length = max(self.bar_length, self.cursor)
        if length > 0:
            self.bar.length = max(self.bar.length, length)
            self.lengths[self.bar_index] = length
            self.ties = {overlay: ties for overlay, ties in self.ties.items() if overlay <= self.overlay}
            self.bar_index += 1
            self.cursor = self.bar_length = Fraction(0)
            self.overlay = 0
        self.accidentals.clear()

    def read_token(self, token: re.Match[str], text: str) -> int:
        """Reads one token of the music, and returns the position after it."""
        end = token.end()
        if token["letter"]:
            return self._read_group(_chord_notes(token.group()), token, text, end)
        if token["chord"] is not None:
            return self._read_group(_chord_notes(self._read_annotations(token["chord"])), token, text, end)
        if token["rnum"] is not None:
            return self._read_group([], token, text, end)
        if token["graces"] is not None:
            self._read_graces(token["graces"])
        elif token["line"] or token["both"] or token["double"]:
            self._read_bar_line(token)
        elif token["ending"]:
            self._end_bar_before_ending()
            self._start_ending(token["ending"])
        elif token["tuplet"]:
            self._read_tuplet(token)
        elif token["bars"] is not None:
            self._read_rest_bars(int(token["bars"] or 1))
        elif token["overlay"]:
            self.bar_length, self.cursor = max(self.bar_length, self.cursor), Fraction(0)
            self.overlay += 1
        else:
            self._read_annotation(token)
        return end

    def _read_group(self, notes: Sequence[re.Match[str]], token: re.Match[str], text: str, end: int) -> int:
        """Reads a note, chord or rest (without notes) with its tie and its ">" or "<"; returns the position after them."""
        after = _AFTER_NOTE.match(text, end)
        unit = 4 * self.unit * self.broken * self._next_tuplet_factor()
        self.broken = Fraction(1)
        if after is not None and after["broken"]:
            short = Fraction(1, 2 ** len(after["broken"]))
            first, self.broken = (2 - short, short) if after["broken"][0] == ">" else (short, 2 - short)
            unit *= first
        is_tied = after is not None and bool(after["tie"] or after["late_tie"])
        outer_length = _length(token, "c")
        pending_ties = self.ties.pop(self.overlay, {})
        durations = [_length(note, "") * outer_length * unit for note in notes] or [_length(token, "r") * unit]
        for note, duration in zip(notes, durations, strict=False):
            self._add_note(note, duration, is_tied or note["tie"] == "-", pending_ties)
        self.cursor += durations[0]
        self.num_graces = 0
        if after is None:
            return end
        for between in TOKEN.finditer(after["between"] or ""):
            self.read_token(between, text)
        return after.end()

    def _next_tuplet_factor(self) -> Fraction:
        factor, num_notes = self.tuplet
        self.tuplet = (factor, num_notes - 1) if num_notes > 1 else (Fraction(1), 0)
        return factor

    def _add_note(self, note: re.Match[str], duration: Fraction, is_tied: bool, pending_ties: dict[tuple[str, int], int]) -> None:
        letter, octave = _letter_and_octave(note)
        key = pending_ties.get((letter, octave)) if note["accidental"] is None else None
        if key is None:
            key = self._key(note)
        self.bar.notes.append(
            Note(
                onset=self.cursor,
                duration=duration,
                key=self._unless_percussion(key),
                voice=f"{self.name}&{self.overlay}",
                tie_start=is_tied,
                tie_stop=key in pending_ties.values(),
            )
        )
        if is_tied:
            self.ties.setdefault(self.overlay, {})[letter, octave] = key

    def _key(self, note: re.Match[str]) -> int:
        """The key of a note by its own accidental, one that holds in the bar, or the key signature."""
        letter, octave = _letter_and_octave(note)
        place = (letter, octave if self.accidental_scope == "octave" else None)
        if note["accidental"] is None:
            alteration = self.accidentals.get(place, self.signature.get(letter, 0))
        else:
            alteration = ACCIDENTALS[note["accidental"]]
            if self.accidental_scope != "not":
                self.accidentals[place] = alteration
        return 12 * (octave + 1) + _PITCH_CLASSES[letter] + alteration + sum(self.transpositions.values())

    def _unless_percussion(self, key: int) -> int | None:
        return None if self.has_percussion_clef or self.is_drum_channel else key

    def _read_graces(self, text: str) -> None:
        text = self._read_annotations(text)
        if not _GRACE_REMAINDER.fullmatch(_GRACE_NOTES.sub("", text)):
            raise ScoreError(f"the grace notes {{{text}}} cannot be read")
        for token in _GRACE_NOTES.finditer(text):
            for note in _chord_notes(token["chord"] or token.group()):
                self.bar.notes.append(
                    Note(
                        onset=self.cursor,
                        duration=Fraction(0),
                        key=self._unless_percussion(self._key(note)),
                        voice=f"{self.name}&{self.overlay}",
                        grace=self.num_graces,
                    )
                )
            self.num_graces += 1

    def _read_bar_line(self, token: re.Match[str]) -> None:
        """Repeat signs, thick and double bar lines, which stop an ending, and the number of an ending directly after the line."""
        self.end_bar()
        is_both = bool(token["both"] or token["double"])
        num_backward = len(token["backward"] or "") or int(is_both)
        if self.bar_index > 0:
            marks = self.bars[self.bar_index - 1].marks
            marks.plays = max(marks.plays, num_backward + 1)
            marks.ending_stop |= token["line"] not in (None, "|")
        if token["forward"] or is_both:
            self.bar.marks.forward = True
        if ending := token["bar_ending"] or token["both_ending"]:
            self._start_ending(ending)

    def _end_bar_before_ending(self) -> None:
        """Ends a bar in which an ending begins; without a bar line, its accidentals hold on."""
        accidentals = dict(self.accidentals)
        self.end_bar()
        self.accidentals.update(accidentals)

    def _start_ending(self, text: str) -> None:
        numbers = ending_numbers(text)
        self.bar.marks.start_ending(numbers, numbers)

    def _read_tuplet(self, token: re.Match[str]) -> None:
        num_played = int(token["tuplet"])
        in_time = int(token["in_time"] or _TUPLETS.get(num_played, 3 if self.is_compound else 2))
        num_notes = int(token["num_notes"] or num_played)
        if 0 in (num_played, in_time, num_notes):
            raise ScoreError(f"the tuplet {token.group()} contains a 0; write (3 or (3:2:3 for three notes in the time of two")
        self.tuplet = Fraction(in_time, num_played), num_notes

    def _read_annotations(self, text: str) -> str:
        """Reads the annotations inside a chord or grace notes, and returns the notes without them."""
        for token in _INNER_ANNOTATION.finditer(text):
            self._read_annotation(token)
        return _INNER_ANNOTATION.sub("", text)

    def _read_annotation(self, token: re.Match[str]) -> None:
        """Reads a text, a decoration or the letter of one; other tokens have no meaning for the sound."""
        if text := token["text"]:
            words = _PLACEMENT.sub("", text, count=1)
            if words != text or _BASS_CHORD.fullmatch(text) is None:
                add_jumps(self.bar.marks, jumps_of_words(words))
        elif name := token["decoration"] or token["old_decoration"] or token["symbol"]:
            self._read_decoration(name)

    def _read_decoration(self, name: str) -> None:
        if _NOTES.fullmatch(name):  # in the ABC of the 1990s +CEG+ is a chord, and "!" ends a line
            raise ScoreError(f"the decoration {name!r} consists of notes; write chords in brackets, and line ends without '!'")
        add_jumps(self.bar.marks, {_SIGNS[name]: ""} if name in _SIGNS else jumps_of_words(name))

    def _read_rest_bars(self, num_bars: int) -> None:
        if self.meter is None:
            raise ScoreError("a rest of whole bars (Z) without a meter")
        self.ties.pop(self.overlay, None)
        for index in range(num_bars):
            if index > 0:
                self.end_bar()
            self.cursor += 4 * self.meter


def check_symbol(definition: str) -> None:
    """Checks that a symbol (U:) neither stands for a mark for the order of the bars, as in `T=!D.C.!`, nor redefines a mark.

    Raises:
        ScoreError: it does.
    """
    symbol, _, meaning = (text.strip() for text in definition.partition("="))
    default = {_SIGNS[symbol]} if symbol in _SIGNS else set()
    if jumps_of_words(_PLACEMENT.sub("", meaning.strip('!+"'), count=1)).keys() != default:
        raise ScoreError(f"the symbol {definition} changes the order of the bars; write the mark itself, such as !D.C.!")


def _chord_notes(text: str) -> list[re.Match[str]]:
    """The notes inside the brackets of a chord.

    Raises:
        ScoreError: the chord contains something else.
    """
    notes = list(_CHORD_NOTE.finditer(text))
    if not notes or _CHORD_NOTE.sub("", text).strip(" \t()"):
        raise ScoreError(f"the chord [{text}] cannot be read")
    return notes


def _letter_and_octave(note: re.Match[str]) -> tuple[str, int]:
    octave = (4 if note["letter"].isupper() else 5) + note["octave"].count("'") - note["octave"].count(",")
    return note["letter"].upper(), octave


def _length(token: re.Match[str], prefix: str) -> Fraction:
    """The length behind a note, chord or rest, as in "2", "3/2", "/" and "//", in units; 1 if there is none.

    Raises:
        ScoreError: the length divides by 0.
    """
    slashes = token[f"{prefix}slashes"] or ""
    numerator, denominator = int(token[f"{prefix}num"] or 1), int(token[f"{prefix}den"] or 2 ** len(slashes))
    if slashes and denominator == 0:
        raise ScoreError(f"the length in {token.group()} divides by 0")
    return Fraction(numerator, denominator if slashes else 1)
