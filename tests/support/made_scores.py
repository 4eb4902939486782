"""Random scores that are built from blocks, so that the order of their bars is known without reading a repeat sign.

`played` and `joined_notes` are the slow, independent reference implementations of the tests.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from pianogen.midi.scores.score import Marks

BAR_TICKS = 48
DIVISIONS = 12


@dataclass(slots=True)
class Block:
    """Bars that are played once or repeated: a body, and endings with the plays in which each is played.

    Attributes:
        begin: its first bar.
        num_plays: of the body.
        endings: the plays and the number of bars of each.
        has_forward: its first bar has a forward sign.
    """

    begin: int
    num_body_bars: int
    num_plays: int = 1
    endings: list[tuple[list[int], int]] = field(default_factory=list)
    has_forward: bool = False

    @property
    def end(self) -> int:
        return self.begin + self.num_body_bars + sum(num_bars for _, num_bars in self.endings)

    def play(self, play: int) -> list[int]:
        """The bars of one play, counted from 1."""
        bars = list(range(self.begin, self.begin + self.num_body_bars))
        begin = self.begin + self.num_body_bars
        for numbers, num_bars in self.endings:
            bars += range(begin, begin + num_bars) if play in numbers else []
            begin += num_bars
        return bars


@dataclass(slots=True)
class Form:
    """The blocks of a score and the jumps between them, by the index of the block.

    Attributes:
        jump: the block after which D.C. or D.S. stands, None without a jump.
        target: the block with the segno; None for D.C.
        fine: the block after which Fine stands.
        to_coda, coda: the block after which To Coda stands, and the block that begins with the coda.
    """

    blocks: list[Block]
    jump: int | None = None
    target: int | None = None
    fine: int | None = None
    to_coda: int | None = None
    coda: int | None = None


def made_form(source: Random) -> Form:
    """A random form."""
    blocks: list[Block] = []
    begin = 0
    for index in range(source.randint(1, 5)):
        block = Block(begin, source.randint(1, 3))
        kind = source.choice(["plain", "repeat", "endings"])
        if kind == "repeat":
            block.num_plays = source.choice([2, 2, 3])
        elif kind == "endings":
            block.endings = source.choice([[([1], 1), ([2], 2)], [([1], 2), ([2], 1), ([3], 1)], [([1, 2], 1), ([3], 1)]])
            block.num_plays = block.endings[-1][0][-1]
        starts_by_itself = index == 0 or blocks[-1].num_plays > 1
        block.has_forward = block.num_plays > 1 and (not starts_by_itself or source.random() < 0.5)
        blocks.append(block)
        begin = block.end
    form = Form(blocks)
    if source.random() < 0.6:
        form.jump = source.randrange(len(blocks))
        form.target = source.choice([None, source.randint(0, form.jump)])
        if source.random() < 0.4:
            form.jump = len(blocks) - 1
            form.fine = source.randint(form.target or 0, form.jump)
        elif form.jump + 1 < len(blocks) and source.random() < 0.6:
            form.to_coda = source.randint(form.target or 0, form.jump)
            form.coda = form.jump + 1
    return form


def played(form: Form) -> list[int]:
    """The bars of a form in the order of play."""
    blocks = form.blocks
    if form.jump is None:
        return _in_full(blocks)
    order, target = _in_full(blocks[: form.jump + 1]), form.target or 0
    if form.fine is not None:
        return order + _once(blocks[target : form.fine + 1])
    if form.to_coda is not None:
        return order + _once(blocks[target : form.to_coda + 1]) + _in_full(blocks[form.coda :])
    return order + _once(blocks[target : form.jump + 1]) + _in_full(blocks[form.jump + 1 :])


def _in_full(blocks: Sequence[Block]) -> list[int]:
    return [bar for block in blocks for play in range(1, block.num_plays + 1) for bar in block.play(play)]


def _once(blocks: Sequence[Block]) -> list[int]:
    return [bar for block in blocks for bar in block.play(block.num_plays)]


def marks_of(form: Form) -> list[Marks]:
    """The marks of the bars."""
    blocks = form.blocks
    marks = [Marks() for _ in range(blocks[-1].end)]
    for block in blocks:
        marks[block.begin].forward = block.has_forward
        if not block.endings:
            marks[block.end - 1].plays = block.num_plays
        begin = block.begin + block.num_body_bars
        for numbers, num_bars in block.endings:
            marks[begin].ending_start = set(numbers)
            begin += num_bars
            marks[begin - 1].ending_stop = True
            marks[begin - 1].plays = 1 if numbers[-1] == block.num_plays else 2
    if form.jump is not None:
        last = marks[blocks[form.jump].end - 1]
        last.da_capo, last.dal_segno = form.target is None, None if form.target is None else "s"
    if form.target is not None:
        marks[blocks[form.target].begin].segno = {"s"}
    if form.fine is not None:
        marks[blocks[form.fine].end - 1].fine = True
    if form.to_coda is not None and form.coda is not None:
        marks[blocks[form.to_coda].end - 1].to_coda = "c"
        marks[blocks[form.coda].begin].coda = {"c"}
    return marks


@dataclass(slots=True)
class MadeNote:
    """A note at a tick from the start of its bar.

    Attributes:
        part, voice: where it is written.
        tie_start, tie_stop: its ties.
    """

    part: int
    voice: int
    start: int
    duration: int
    key: int
    tie_start: bool = False
    tie_stop: bool = False


def made_bars(source: Random, num_bars: int, num_parts: int) -> list[list[MadeNote]]:
    """Random notes in every bar, in two voices per part, with ties between notes of any voices that meet."""
    bars: list[list[MadeNote]] = []
    for _ in range(num_bars):
        notes: list[MadeNote] = []
        for part in range(num_parts):
            for voice in (1, 2):
                start = 0
                while start < BAR_TICKS:
                    duration = min(source.choice([3, 4, 6, 12, 18, 24, 48]), BAR_TICKS - start)
                    keys = source.sample(range(60, 63), source.choice([0, 1, 1, 2]))
                    notes += [MadeNote(part, voice, start, duration, key) for key in keys]
                    start += duration
        bars.append(notes)
    timed = [(BAR_TICKS * bar, note) for bar, notes in enumerate(bars) for note in notes]
    starting: defaultdict[tuple[int, int], list[MadeNote]] = defaultdict(list)
    for bar_start, note in timed:
        starting[bar_start + note.start, note.key].append(note)
    for bar_start, first in timed:
        for second in starting[bar_start + first.start + first.duration, first.key]:
            if not first.tie_start and not second.tie_stop and source.random() < 0.4:
                first.tie_start = second.tie_stop = True
    return bars


def joined_notes(bars: Sequence[Sequence[MadeNote]], order: Sequence[int]) -> list[tuple[int, int, int]]:
    """Start, stop and key of the notes in this order of bars; the notes of a tie are joined pair by pair."""
    notes = [
        [place * BAR_TICKS + note.start, place * BAR_TICKS + note.start + note.duration, note.key, note.tie_start, note.tie_stop]
        for place, bar in enumerate(order)
        for note in bars[bar]
    ]
    is_joined = True
    while is_joined:
        is_joined = False
        for first in notes:
            second = next(
                (n for n in notes if first[3] and n[4] and n[0] == first[1] and n[2] == first[2] and n is not first), None
            )
            if second is not None:
                first[1], first[3] = second[1], second[3]
                notes.remove(second)
                is_joined = True
                break
    return sorted((start, stop, key) for start, stop, key, _, _ in notes)


def musicxml_of(bars: Sequence[Sequence[MadeNote]], marks: Sequence[Marks], num_parts: int, source: Random) -> str:
    """The score as MusicXML; each mark stands in one random part."""
    text = ["<score-partwise><part-list/>"]
    mark_parts = [[source.randrange(num_parts) for _ in range(8)] for _ in marks]
    for part in range(num_parts):
        text.append(f'<part id="P{part}">')
        for index, notes in enumerate(bars):
            shown = _marks_in_part(marks[index], mark_parts[index], part)
            text.append(f'<measure number="{index + 1}">')
            text.append(f"<attributes><divisions>{DIVISIONS}</divisions></attributes>" if index == 0 else "")
            text.append(_start_of(shown))
            for voice in (1, 2):
                own = [note for note in notes if note.part == part and note.voice == voice]
                text.append(_voice_of(own, voice) + (f"<backup><duration>{BAR_TICKS}</duration></backup>" if voice == 1 else ""))
            text.append(_end_of(shown) + "</measure>")
        text.append("</part>")
    return "".join([*text, "</score-partwise>"])


def _marks_in_part(marks: Marks, parts: Sequence[int], part: int) -> Marks:
    return Marks(
        forward=marks.forward and parts[0] == part,
        plays=marks.plays if parts[1] == part else 1,
        ending_start=marks.ending_start if parts[2] == part else None,
        ending_stop=marks.ending_stop and parts[2] == part,
        segno=marks.segno if parts[3] == part else set(),
        coda=marks.coda if parts[4] == part else set(),
        to_coda=marks.to_coda if parts[5] == part else None,
        da_capo=marks.da_capo and parts[6] == part,
        dal_segno=marks.dal_segno if parts[6] == part else None,
        fine=marks.fine and parts[7] == part,
    )


def _start_of(marks: Marks) -> str:
    signs = '<repeat direction="forward"/>' if marks.forward else ""
    if marks.ending_start:
        numbers = ", ".join(str(number) for number in sorted(marks.ending_start))
        signs = f'<ending number="{numbers}" type="start"/>' + signs
    sounds = {"segno": min(marks.segno, default=None), "coda": min(marks.coda, default=None)}
    return (f'<barline location="left">{signs}</barline>' if signs else "") + _sounds(sounds)


def _end_of(marks: Marks) -> str:
    yes = {True: "yes", False: None}
    sounds = {"tocoda": marks.to_coda, "dalsegno": marks.dal_segno, "dacapo": yes[marks.da_capo], "fine": yes[marks.fine]}
    signs = '<ending number="1" type="stop"/>' if marks.ending_stop else ""
    signs += f'<repeat direction="backward" times="{marks.plays}"/>' if marks.plays > 1 else ""
    return _sounds(sounds) + (f'<barline location="right">{signs}</barline>' if signs else "")


def _sounds(sounds: dict[str, str | None]) -> str:
    return "".join(f'<sound {name}="{value}"/>' for name, value in sounds.items() if value is not None)


def _voice_of(notes: Sequence[MadeNote], voice: int) -> str:
    """The notes of a voice in a bar: chords by their start, and forwards for its rests."""
    text, cursor, onset = [], 0, -1
    for note in sorted(notes, key=lambda note: (note.start, note.key)):
        if note.start > cursor and note.start != onset:
            text.append(f"<forward><duration>{note.start - cursor}</duration></forward>")
        ties = '<tie type="stop"/>' * note.tie_stop + '<tie type="start"/>' * note.tie_start
        pitch = {60: "<step>C</step>", 61: "<step>D</step><alter>-1</alter>", 62: "<step>D</step>"}[note.key]
        chord = "<chord/>" * (note.start == onset)
        text.append(
            f"<note>{chord}<pitch>{pitch}<octave>4</octave></pitch>"
            f"<duration>{note.duration}</duration>{ties}<voice>{voice}</voice></note>"
        )
        cursor, onset = note.start + note.duration, note.start
    if cursor < BAR_TICKS:
        text.append(f"<forward><duration>{BAR_TICKS - cursor}</duration></forward>")
    return "".join(text)
