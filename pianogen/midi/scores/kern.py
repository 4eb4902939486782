"""Humdrum **kern to scores: spines are columns that split and join, and a row of tokens is a moment.

Source: https://www.humdrum.org/rep/kern/ and https://www.humdrum.org/guide/ch05/. Pitches are sounding ones. A list of sections
such as `*>[A,A,B]` decides the order of the bars where there is one, otherwise the repeat signs of the bar lines do.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.jumps import add_jumps, jumps_of_words
from pianogen.midi.scores.numbers import fraction, tempo_us_of
from pianogen.midi.scores.score import Bar, Note, Score, Section, Tempo

_PITCH_CLASSES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_DURATION = re.compile(r"(\d{1,6})(?:%(\d{1,6}))?")
_MAX_DOTS = 8
_PITCH = re.compile(r"(([a-gA-G])\2*)(#+|-+)?")
_TEMPO = re.compile(r"\*MM[^\d\[]*(\d+(?:\.\d+)?).*")  # also *MM60-66, by its first number, but no words as in *MM[Allegro]
_SECTION = re.compile(r"\*>([^\[\]]+)")
_SECTION_LIST = re.compile(r"\*>\s*\[(.*)\]")  # *>norep[…] and other variants are not the list that is played
_SILENT = {"*ossia", "*cue"}  # up to *Xossia and *Xcue
_WORDS = re.compile(r"!LO:TX.*?:t=([^:]*)")  # text in a layout comment
_BACKWARD = re.compile(r":[|!]")
_FORWARD = re.compile(r"[|!]:")


@dataclass(slots=True)
class _Spine:
    """A column of tokens.

    Attributes:
        origin: the column of the exclusive interpretation from which it was split.
        voice: unique within the piece.
        is_kern: False for lyrics, dynamics and other columns without notes.
        stop: the time at which its last note or rest ends.
        silenced_by: the interpretations in force that make notes silent.
    """

    origin: int
    voice: str
    is_kern: bool
    stop: Fraction = Fraction(0)
    is_percussion: bool = False
    silenced_by: frozenset[str] = frozenset()
    num_graces: int = 0


def read_kern(text: str) -> list[Score | ScoreError]:
    """The pieces of a file: one begins at each row of exclusive interpretations that follows the end of all spines.

    Raises:
        ScoreError: the file contains no **kern.
    """
    rows = [
        (number, [token.strip() for token in line.rstrip().split("\t")])
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.startswith("!!")
    ]
    starts = [
        index
        for index, (_, tokens) in enumerate(rows)
        if tokens[0].startswith("**") and (index == 0 or set(rows[index - 1][1]) == {"*-"})
    ]
    pieces = [rows[start:stop] for start, stop in zip(starts, [*starts[1:], len(rows)], strict=False)]
    scores = [_read_piece(piece) for piece in pieces if "**kern" in piece[0][1]]
    if not scores:
        raise ScoreError("no **kern spine; Humdrum files are read from their **kern spines")
    return scores


def _read_piece(rows: Sequence[tuple[int, list[str]]]) -> Score | ScoreError:
    piece = _Piece()
    for number, tokens in rows:
        try:
            piece.read_row(tokens)
        except ScoreError as error:
            return ScoreError(f"line {number}: {error}", error.reason)
    try:
        return piece.finish()
    except ScoreError as error:
        return error


@dataclass(slots=True)
class _Piece:
    """The state of a piece while its rows are read.

    Attributes:
        bar_start: the time at which the last bar starts; after a bar line, the latest possible one up to the next row of notes.
        bar: the bar that is being read; it joins the score at its end.
        is_new_bar: no row of notes has been read since the last bar line.
        section_list: the labels of the sections in the order of play.
        section_starts: the first bar of each section.
        ending: the section that is being read, or the one to which it is an ending, and the number of the ending, else 0.
    """

    score: Score = field(default_factory=Score)
    spines: list[_Spine] = field(default_factory=list)
    bar_start: Fraction = Fraction(0)
    bar: Bar = field(default_factory=Bar)
    is_new_bar: bool = False
    section_list: list[str] | None = None
    section_starts: dict[str, int] = field(default_factory=dict)
    ending: tuple[str, int] = ("", 0)

    def read_row(self, tokens: Sequence[str]) -> None:
        """Reads a row of any kind.

        Raises:
            ScoreError: the row does not fit the spines.
        """
        if not self.spines and not tokens[0].startswith("**"):
            raise ScoreError("a row after the end of all spines")
        if not self.spines:
            self.spines = [_Spine(column, str(column), token == "**kern") for column, token in enumerate(tokens)]
            return
        if len(tokens) != len(self.spines):
            raise ScoreError(f"{len(tokens)} columns, expected {len(self.spines)} spines")
        if tokens[0].startswith("*"):
            self._read_interpretations(tokens)
        elif tokens[0].startswith("="):
            self._read_bar_line(tokens)
        elif tokens[0].startswith("!"):
            self._read_words(tokens)
        else:
            self._read_notes(tokens)

    def finish(self) -> Score:
        """The score after the last row.

        Raises:
            ScoreError: the list of sections contains an unknown one.
        """
        self._end_bar()
        if self.score.bars:
            self.score.bars[-1].marks.add_end_of(self.bar.marks)
        if self.section_list is not None:
            self.score.sections = [self._section(label) for label in self.section_list]
        return self.score

    def _section(self, label: str) -> Section:
        if label not in self.section_starts:
            raise ScoreError(f"the list of sections names {label}, and no section has this name")
        begin = self.section_starts[label]
        later = [start for start in self.section_starts.values() if start > begin]
        return Section(begin, min(later, default=len(self.score.bars)), is_expanded=True)

    def _begin_section(self, label: str) -> None:
        start = len(self.score.bars)
        if self.section_starts.setdefault(label, start) != start and self.section_list is not None:
            raise ScoreError(f"the section {label} begins twice; give its second beginning another label")
        self._begin_ending(label)

    def _begin_ending(self, label: str) -> None:
        """Marks the sections A1 and A2 after a section A as its endings, unless repeat signs show that they are no endings."""
        name, number = self.ending
        self.ending = label, 0
        if not self.score.bars:
            return
        last = self.score.bars[-1].marks
        last.ending_stop |= number > 0
        if name and label == f"{name}{number + 1}" and (last.plays > 1) == (number > 0) and not self.bar.marks.forward:
            self.ending = name, number + 1
            self.bar.marks.start_ending({number + 1}, {number + 1})

    def _kern_spines(self) -> list[_Spine]:
        return [spine for spine in self.spines if spine.is_kern]

    def _read_interpretations(self, tokens: Sequence[str]) -> None:
        for token, spine in zip(tokens, self.spines, strict=True):
            if not spine.is_kern:
                continue
            if token.startswith("*clef"):
                spine.is_percussion = token == "*clefX"
            elif token in _SILENT:
                spine.silenced_by |= {token}
            elif token.replace("X", "", 1) in _SILENT:
                spine.silenced_by -= {token.replace("X", "", 1)}
        if sections := _first_match(_SECTION_LIST, tokens):
            labels = [label.strip() for label in sections[1].split(",")]
            # A list after the first section is that of the sections that follow it.
            self.section_list = (self.section_list or []) + labels if self.section_starts else labels
        if section := _first_match(_SECTION, tokens):
            self._end_bar()
            self._begin_section(section[1])
        if tempo := _first_match(_TEMPO, tokens):
            self._add_tempo(fraction(tempo[1]) or Fraction(0))
        if set(tokens) == {"*-"}:
            self._end_bar()  # now, because the spines know where it ends
        self.spines = list(self._next_spines(tokens))

    def _read_words(self, tokens: Sequence[str]) -> None:
        """Reads the words for the order of the bars, which a list of sections replaces."""
        if self.section_list is None:
            for words in filter(None, map(_WORDS.match, tokens)):
                add_jumps(self.bar.marks, jumps_of_words(words[1]))

    def _next_spines(self, tokens: Sequence[str]) -> Iterator[_Spine]:
        """The spines after a row that may split, join, exchange, end or add spines."""
        pairs = list(zip(tokens, self.spines, strict=True))
        exchanged = [index for index, token in enumerate(tokens) if token == "*x"]
        for first, second in zip(exchanged[::2], exchanged[1::2], strict=False):
            pairs[first], pairs[second] = pairs[second], pairs[first]
        for is_joined, group in groupby(pairs, key=lambda pair: pair[0] == "*v"):
            if is_joined:
                yield from _joined([spine for _, spine in group])
                continue
            for token, spine in group:
                if token.startswith("**"):
                    yield replace(spine, is_kern=token == "**kern")
                elif token != "*-":
                    yield spine
                if token == "*^":
                    yield replace(spine, voice=f"{spine.voice}^")
                elif token == "*+":
                    yield _Spine(spine.origin + len(tokens), f"{spine.voice}+", is_kern=False, stop=spine.stop)

    def _add_tempo(self, quarters_per_minute: Fraction) -> None:
        tempo_us = tempo_us_of(quarters_per_minute)
        if tempo_us is not None:
            time = min((spine.stop for spine in self._kern_spines()), default=self.bar_start)
            self.bar.tempos.append(Tempo(max(Fraction(0), time - self.bar_start), tempo_us))

    def _read_bar_line(self, tokens: Sequence[str]) -> None:
        """Ends the bar; a repeat sign in one spine holds for all."""
        self._end_bar()
        if any(map(_BACKWARD.search, tokens)) and self.score.bars:
            self.score.bars[-1].marks.plays = 2
        if any(map(_FORWARD.search, tokens)):
            self.bar.marks.forward = True

    def _end_bar(self) -> None:
        """Ends the bar at the last note or rest; without one, the bar has not begun."""
        stop = max((spine.stop for spine in self._kern_spines()), default=self.bar_start)
        if stop > self.bar_start or self.bar.notes:
            self.bar.length = stop - self.bar_start
            self.score.bars.append(self.bar)
            self.bar, self.bar_start = Bar(), stop
            self.is_new_bar = True

    def _start_bar(self, time: Fraction) -> None:
        """Starts the bar at its first notes: earlier than the last notes end if one of them sounds on across the bar line.

        A spine whose notes end before that lacks rests.
        """
        self.score.bars[-1].length += time - self.bar_start
        self.bar_start = time
        for spine in self.spines:
            spine.stop = max(spine.stop, time)
        self.is_new_bar = False

    def _read_notes(self, tokens: Sequence[str]) -> None:
        row = [(token, spine) for token, spine in zip(tokens, self.spines, strict=True) if spine.is_kern and token != "."]
        if self.is_new_bar and row:
            self._start_bar(max(spine.stop for _, spine in row))
        starts = {spine.stop for token, spine in row if not _is_grace(token)}
        if len(starts) > 1:
            raise ScoreError("the durations before this row differ between its spines")
        for token, spine in row:
            is_grace = _is_grace(token)
            notes = token.split() or [token]
            duration = first_duration = _duration(notes[0])
            for note in notes:
                duration = _duration(note) or duration
                self._add_note(note, spine, Fraction(0) if is_grace else duration, spine.num_graces if is_grace else None)
            spine.num_graces = spine.num_graces + 1 if is_grace else 0
            if not is_grace and first_duration is not None:
                spine.stop += first_duration  # whatever the durations of the other notes of a chord

    def _add_note(self, token: str, spine: _Spine, duration: Fraction | None, grace: int | None) -> None:
        if duration is None:
            raise ScoreError(f"{token} has no duration")
        if "r" in token:
            return
        if spine.silenced_by:
            self.bar.num_silent += 1
            return
        is_unpitched = spine.is_percussion or "R" in token
        key = None if is_unpitched else _key(token)
        if key is None and not is_unpitched:
            self.bar.num_lost += 1
            return
        self.bar.notes.append(
            Note(
                onset=spine.stop - self.bar_start,
                duration=duration,
                key=key,
                voice=spine.voice,
                grace=grace,
                tie_start="[" in token or "_" in token,
                tie_stop="]" in token or "_" in token,
            )
        )


def _joined(spines: Sequence[_Spine]) -> Iterator[_Spine]:
    """The spines after adjacent "*v": one for each origin, but a spine that is alone in its origin joins all of them."""
    groups = [list(group) for _, group in groupby(spines, key=lambda spine: spine.origin)]
    for group in groups if all(len(group) > 1 for group in groups) else [spines]:
        yield replace(group[0], stop=max(spine.stop for spine in group))


def _first_match(pattern: re.Pattern[str], tokens: Sequence[str]) -> re.Match[str] | None:
    """The match of the first token that the pattern matches completely: the spines of a row mean the same."""
    return next(filter(None, map(pattern.fullmatch, tokens)), None)


def _is_grace(token: str) -> bool:
    """Whether the notes of a token are grace notes; in a chord, often only one of them has the letter."""
    return "q" in token or "Q" in token  # Q is a note of a groupetto


def _duration(token: str) -> Fraction | None:
    """The duration in quarter notes: 4 is a quarter note, 0 a breve, 00 a longa, and 3%2 two thirds of a whole note.

    Dots prolong it wherever they stand, as in "8r.".
    """
    match = _DURATION.search(token)
    if match is None:
        return None
    number, numerator = match.groups()
    whole_notes = Fraction(int(numerator or 1), int(number)) if number.strip("0") else Fraction(2 ** len(number))
    return 4 * whole_notes * (2 - Fraction(1, 2 ** min(token.count("."), _MAX_DOTS)))


def _key(token: str) -> int | None:
    match = _PITCH.search(token)
    if match is None:
        return None
    letters, letter, accidentals = match.groups()
    octave = 4 + len(letters) - 1 if letter.islower() else 4 - len(letters)
    alter = 0 if accidentals is None else len(accidentals) if accidentals[0] == "#" else -len(accidentals)
    return 12 * (octave + 1) + _PITCH_CLASSES[letter.lower()] + alter
