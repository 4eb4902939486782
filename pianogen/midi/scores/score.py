"""A parsed score: bars that all parts share, each with its notes, tempos, and the marks that decide the order of the bars."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple


class Note(NamedTuple):
    """A note of the score, at sounding pitch. All times are in quarter notes.

    Attributes:
        onset: from the start of its bar. A grace note has the onset of the note that follows it.
        duration: 0 for a grace note.
        key: the MIDI note number, or None for unpitched percussion.
        voice: the voice, unique within the score; grace notes are played after the previous note of their voice.
        grace: the position in a run of grace notes, from 0; None for other notes.
        tie_start: a tie connects the note with a later one.
        tie_stop: a tie connects the note with an earlier one.
    """

    onset: Fraction
    duration: Fraction
    key: int | None
    voice: str
    grace: int | None = None
    tie_start: bool = False
    tie_stop: bool = False


class Tempo(NamedTuple):
    """A tempo in microseconds per quarter note, and its onset in quarter notes from the start of its bar."""

    onset: Fraction
    tempo_us: int


@dataclass(slots=True)
class Marks:
    """The signs for the order of the bars in the bars of all parts with one index.

    Attributes:
        forward: a forward repeat sign stands at the start of the bar.
        plays: a backward repeat sign at the end of the bar asks for this many plays of its section; 1 without a sign.
        repeats_after_jump: the backward repeat sign is obeyed after D.C. and D.S. too.
        ending_start: the numbers of the ending that starts with the bar, empty without numbers; None if no ending starts.
        ending_text: the numbers that are shown at this ending.
        ending_stop: an ending stops with the bar.
        segno: the labels of the segnos at the start of the bar.
        coda: the labels of the codas at the start of the bar.
        to_coda: the label of the coda to which "To Coda" at the end of the bar jumps; None without this mark.
        da_capo: "D.C." stands at the end of the bar.
        dal_segno: the label of the segno to which "D.S." at the end of the bar jumps; None without this mark.
        fine: "Fine" stands at the end of the bar.
        until: "fine" and "coda" for the words "al Fine" and "al Coda" at the end of the bar.
    """

    forward: bool = False
    plays: int = 1
    repeats_after_jump: bool = False
    ending_start: set[int] | None = None
    ending_text: set[int] = field(default_factory=set)
    ending_stop: bool = False
    segno: set[str] = field(default_factory=set)
    coda: set[str] = field(default_factory=set)
    to_coda: str | None = None
    da_capo: bool = False
    dal_segno: str | None = None
    fine: bool = False
    until: set[str] = field(default_factory=set)

    @property
    def is_return(self) -> bool:
        """Whether "D.C." or "D.S." stands at the end of the bar."""
        return self.da_capo or self.dal_segno is not None

    @property
    def coda_jump(self) -> str | None:
        """As `to_coda`: "al Coda" means "To Coda" in a bar without a return."""
        return "" if self.to_coda is None and "coda" in self.until and not self.is_return else self.to_coda

    def start_ending(self, numbers: set[int], text: set[int]) -> None:
        """Adds an ending that starts with the bar, in one of the parts."""
        self.ending_start = (self.ending_start or set()) | numbers
        self.ending_text |= text

    def add_end_of(self, next_bar: "Marks") -> None:
        """Adds the jumps at the end of an empty bar that follows, such as those after the last bar line."""
        self.da_capo |= next_bar.da_capo
        self.fine |= next_bar.fine
        self.until |= next_bar.until
        self.dal_segno = next_bar.dal_segno if self.dal_segno is None else self.dal_segno
        self.to_coda = next_bar.to_coda if self.to_coda is None else self.to_coda


@dataclass(slots=True)
class Bar:
    """The bars of all parts with one index, which start together.

    Attributes:
        length: in quarter notes; the next bar starts after it.
        notes: the notes of all parts.
        num_lost: notes of the source without a pitch or a duration that can be read.
        num_silent: notes of the source that are not played, such as cue notes.
    """

    length: Fraction = Fraction(0)
    notes: list[Note] = field(default_factory=list)
    tempos: list[Tempo] = field(default_factory=list)
    marks: Marks = field(default_factory=Marks)
    num_lost: int = 0
    num_silent: int = 0


class Section(NamedTuple):
    """Bars from `begin` up to but not including `end`, in a score that lists the order of its sections.

    Attributes:
        is_expanded: the list of sections contains the repeats already, so that the repeat signs have no meaning.
    """

    begin: int
    end: int
    is_expanded: bool


@dataclass(slots=True)
class Score:
    """One piece.

    Attributes:
        bars: in the order of the page.
        sections: the order in which sections are played; None if only the marks of the bars decide.
    """

    bars: list[Bar] = field(default_factory=list)
    sections: list[Section] | None = None
