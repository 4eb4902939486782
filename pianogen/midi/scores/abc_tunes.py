"""ABC to scores: the fields of a tune, and the voices that share their bars.

Sources: the ABC standard 2.1, https://abcnotation.com/wiki/abc:standard:v2.1, and for %%MIDI the guide of abc2midi,
https://github.com/sshlien/abcmidi/blob/master/doc/abcguide.txt. A field or a character that has a meaning for the sound and is
not understood rejects its tune.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from pianogen.midi.scores import abc_fields
from pianogen.midi.scores.abc_lines import FIELD, split_tunes
from pianogen.midi.scores.abc_music import TOKEN, Voice, check_symbol
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.numbers import tempo_us_of
from pianogen.midi.scores.score import Score, Section, Tempo

_DIRECTIVE = re.compile(r"(?:%%|I:)\s*([^%]*)")
_MIDI = re.compile(r"\s*\bMIDI\b[\s=]*", re.IGNORECASE)  # I: may have several commands: "MIDI program 1 MIDI= transpose 2"
_COMMENT = re.compile(r"(?<!\\)%.*")
# Fields about the music and not part of it: titles, lyrics, sources, groups and the like. Y: and E: occur in old collections.
_SILENT_FIELDS = set("ABCDEFGHNORSTWXYZdrw+")


def read_abc(text: str) -> list[Score | ScoreError]:
    """The tunes of a file.

    Raises:
        ScoreError: the file contains no tune.
    """
    tunes = [_read_tune(lines) for lines in split_tunes(text)]
    if not tunes:
        raise ScoreError("no tune: no line starts with a field such as X: or K:")
    return tunes


def _read_tune(lines: Sequence[tuple[int, str]]) -> Score | ScoreError:
    tune = _Tune()
    for number, line in lines:
        try:
            tune.read_line(line)
        except ScoreError as error:
            return ScoreError(f"line {number}: {error}", error.reason)
    try:
        return tune.finish()
    except ScoreError as error:
        return error


@dataclass(slots=True)
class _Tune:
    """The state of a tune while its lines are read.

    Attributes:
        model: the voice of the header's fields, of which new voices are copies.
        has_unit: the header has L:, so that the unit note length does not follow from the meter.
        voices: the voices, keyed by their names.
        voice: the voice that is being read, None before the first music and the first V: of the body.
        voice_fields: the V: fields of the header, keyed by the names of the voices.
        tempo: Q: of the header.
        is_body: the header has ended, with K: or the first music.
        part_order: P: of the header.
        part_starts: the first bar of each part, by P: in the body.
    """

    score: Score = field(default_factory=Score)
    model: Voice = field(init=False)
    has_unit: bool = False
    voices: dict[str, Voice] = field(default_factory=dict)
    voice: Voice | None = None
    voice_fields: dict[str, str] = field(default_factory=dict)
    tempo: str = ""
    is_body: bool = False
    part_order: list[str] = field(default_factory=list)
    part_starts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = Voice("", self.score.bars)

    def read_line(self, line: str) -> None:
        """Reads a line of any kind.

        Raises:
            ScoreError: the line has a meaning for the sound that is not understood.
        """
        if directive := _DIRECTIVE.match(line):
            self._read_directive(directive[1].rstrip())
            return
        line = _COMMENT.sub("", line)
        if match := FIELD.match(line):
            self._read_field(match[1], match[2].strip())
        elif line.strip():
            self._begin_body()
            self._read_music(line)

    def finish(self) -> Score:
        """The score after the last line.

        Raises:
            ScoreError: the voices or the parts do not fit together.
        """
        for voice in self.voices.values():
            voice.end_bar()
        self._check_lengths()
        self._trim()
        for bar in self.score.bars:
            bar.tempos.sort(key=lambda tempo: tempo.onset)
        if self.part_order:
            self.score.sections = [self._section(part) for part in self.part_order]
        return self.score

    def _read_music(self, line: str) -> None:
        position = 0
        while position < len(line):
            token = TOKEN.match(line, position)
            if token is None:
                raise ScoreError(f"{line[position : position + 20]!r} cannot be read as music")
            if token["field"]:
                self._read_field(token["field"], token["value"].strip())
                position = token.end()
            else:
                position = self._voice_of_music().read_token(token, line)

    def _voice_of_music(self) -> Voice:
        if self.voice is None:
            self.voice = self._voice_named(next(iter(self.voice_fields), ""))
        return self.voice

    def _voice_of_fields(self) -> Voice:
        """The voice that fields concern: before the first voice, the model of all voices."""
        return self.voice or self.model

    def _voice_named(self, name: str) -> Voice:
        if name not in self.voices:
            transpositions = dict(self.model.transpositions)
            self.voices[name] = replace(self.model, name=name, transpositions=transpositions, accidentals={}, ties={}, lengths={})
            self._set_properties(self.voices[name], self.voice_fields.get(name, ""))
        return self.voices[name]

    def _read_field(self, letter: str, value: str) -> None:
        voice = self._voice_of_fields()
        if (letter in "KQV" or (letter == "P" and self.is_body)) and abc_fields.has_music(value):
            raise ScoreError(f"music follows the field {letter}: on its line; write the music on a line of its own")
        if letter == "K":
            signature = abc_fields.key_signature(value)
            voice.signature = voice.signature if signature is None else signature
            self._set_properties(voice, value)
            self._begin_body()
        elif letter == "M":
            voice.meter, voice.is_compound = abc_fields.meter(value)
        elif letter == "L":
            voice.unit = abc_fields.unit_length(value)
            self.has_unit = True
        elif letter == "Q":
            self._read_tempo(value)
        elif letter == "V":
            self._read_voice_field(value)
        elif letter == "P":
            self._read_part_field(value)
        elif letter == "I":
            self._read_directive(value)
        elif letter == "U":
            check_symbol(value)
        elif letter not in _SILENT_FIELDS:
            raise ScoreError(f"the field {letter}: is not supported")

    def _begin_body(self) -> None:
        """Ends the header: without L: the unit note length follows from the meter."""
        if self.is_body:
            return
        self.is_body = True
        if not self.has_unit and self.model.meter is not None and self.model.meter < Fraction(3, 4):
            self.model.unit = Fraction(1, 16)
        if self.tempo:
            self._read_tempo(self.tempo)

    def _set_properties(self, voice: Voice, value: str) -> None:
        properties = abc_fields.voice_properties(value)
        voice.transpositions |= properties.transpositions
        if properties.is_percussion is not None:
            voice.has_percussion_clef = properties.is_percussion

    def _read_tempo(self, value: str) -> None:
        if not self.is_body:
            self.tempo = value
            return
        voice = self._voice_of_fields()
        quarters_per_minute = abc_fields.quarters_per_minute(value, voice.unit)
        tempo_us = None if quarters_per_minute is None else tempo_us_of(quarters_per_minute)
        if tempo_us is not None:
            voice.bar.tempos.append(Tempo(voice.cursor, tempo_us))

    def _read_voice_field(self, value: str) -> None:
        name, properties = (*value.split(maxsplit=1), "", "")[:2]
        if not self.is_body or (name not in self.voices and name not in self.voice_fields):
            self.voice_fields[name] = properties
        elif properties:
            self._set_properties(self._voice_named(name), properties)
        if self.is_body:
            self.voice = self._voice_named(name)

    def _read_part_field(self, value: str) -> None:
        if not self.is_body:
            self.part_order = abc_fields.order_of_parts(value)
        elif value:
            voice = self._voice_of_fields()
            if self.part_order:
                voice.end_bar()  # a part may begin without a bar line
            start = voice.bar_index
            if self.part_starts.setdefault(value[0], start) != start and self.part_order:
                raise ScoreError(f"the part {value[0]} begins twice; give its second beginning another letter")

    def _read_directive(self, directive: str) -> None:
        """Directives that change pitches; all others concern the look of the page."""
        if _MIDI.match(directive):
            for command in _MIDI.split(directive)[1:]:
                self._read_midi_command(command)
            return
        match re.split(r"[\s=]+", directive):
            case ["propagate-accidentals", ("pitch" | "octave" | "not") as scope, *_]:
                self._set_accidental_scope(scope)
            case ["propagate-accidentals" | "abc-include" | "transpose" | "octave", *_]:
                raise ScoreError(f"the directive %%{directive} is not supported")

    def _read_midi_command(self, command: str) -> None:
        """Commands that change pitches; all others concern how the notes are played, or accompaniments."""
        match command.split():
            case ["transpose", semitones, *_]:
                self._voice_of_fields().transpositions["MIDI"] = abc_fields.integer(semitones)
            case ["channel", channel, *_]:
                self._voice_of_fields().is_drum_channel = channel == "10"
            case ["nobarlines", *_]:
                self._set_accidental_scope("not")
            case ["barlines", *_]:
                self._set_accidental_scope("pitch")
            case ["rtranspose" | "c" | "C", *_]:
                raise ScoreError(f"the directive %%MIDI {command} is not supported")

    def _set_accidental_scope(self, scope: str) -> None:
        for voice in (self.model, *self.voices.values()):
            voice.accidental_scope = scope

    def _section(self, part: str) -> Section:
        if part not in self.part_starts:
            raise ScoreError(f"P: in the header names the part {part}, and no P:{part} follows")
        parts = sorted(self.part_starts, key=self.part_starts.__getitem__)
        starts = [self.part_starts[part] for part in parts] + [len(self.score.bars)]
        index = parts.index(part)  # a part without music starts and ends where the next one starts
        return Section(starts[index], starts[index + 1], is_expanded=False)

    def _check_lengths(self) -> None:
        """Bars with one index must have one length in all voices, because the voices are aligned by their bar lines."""
        for index in range(len(self.score.bars)):
            lengths = {voice.lengths[index] for voice in self.voices.values() if index in voice.lengths}
            if len(lengths) > 1:
                raise ScoreError(
                    f"bar {index + 1} lasts {' and '.join(sorted(map(str, lengths)))} quarter notes in different voices",
                )

    def _trim(self) -> None:
        """Removes empty bars at the end; a jump after the last bar line belongs to the bar before the line."""
        bars = self.score.bars
        while bars and bars[-1].length == 0 and not bars[-1].notes:
            marks = bars.pop().marks
            if bars:
                bars[-1].marks.add_end_of(marks)
