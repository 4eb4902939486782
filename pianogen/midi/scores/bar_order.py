"""The order in which the bars of a score are played: one order for all parts, because the marks of all parts decide it.

A backward repeat sign returns to the start of its section: the bar of the last forward sign, else the bar after the previous
repeated section, else the first bar. Sections do not nest. A section ends with its backward sign or with its last ending.

D.C. and D.S. are obeyed once each, after the last play of their bar. After such a return, the bars that were played before are
played without repeats (unless a sign asks for them) and with their last ending. Fine then ends the piece, or To Coda jumps to
the coda, after the last play of the bar: the one that the return names ("al Fine"), else the first one. Every bar is played.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.score import Bar, Marks, Score

MAX_BARS = 131_072
_END_MARKS = {"fine": "Fine", "coda": "To Coda"}


class _Ending(NamedTuple):
    """The bars of an ending, from `begin` up to but not including `end`.

    Attributes:
        numbers: the plays in which it is played.
        text: the numbers that are shown.
    """

    begin: int
    end: int
    numbers: set[int]
    text: set[int]


class _Section(NamedTuple):
    """Bars from `begin` up to but not including `end`: those before `body_end` are in every play, then the endings follow."""

    begin: int
    body_end: int
    end: int
    num_plays: int
    endings: list[_Ending]
    repeats_after_jump: bool = False


def order_of_bars(score: Score) -> list[int]:
    """The indices of the bars of a score in the order of play.

    Raises:
        ScoreError: a sign without the sign to which it refers, bars with notes that are never played, or more than 131,072 bars.
    """
    marks = [bar.marks for bar in score.bars]
    if score.sections is None:
        order = order_of_marks(marks)
        _check_all_played(
            order, score.bars, "D.C., D.S., Fine and Coda leave", "correct these signs, or split the file into its movements"
        )
        return order
    order = []
    for begin, end, is_expanded in score.sections:
        bars = range(end - begin) if is_expanded else order_of_marks(marks[begin:end])
        order += [begin + bar for bar in bars]
        _check_length(order)
    _check_all_played(order, score.bars, "the order of sections leaves", "add the missing sections to it")
    return order


def order_of_marks(marks: Sequence[Marks]) -> list[int]:
    """The indices of bars with these marks in the order of play.

    Raises:
        ScoreError: as `order_of_bars`, except for bars that are never played.
    """
    section_of = [section for section in _sections(marks) for _ in range(section.begin, section.end)]
    to_coda = _to_coda(marks)
    order: list[int] = []
    obeyed: set[int] = set()  # the bars whose D.C. or D.S. was obeyed
    num_heard = 0  # the bars before this one were played before the last return
    last_return: int | None = None  # the bar of the last return, None before it and after its To Coda
    bar = 0
    while bar < len(marks):
        plays = _plays(section_of[bar], bar, num_heard)
        bar = section_of[bar].end
        for played, is_last_play in plays:
            order.append(played)
            _check_length(order)
            if not is_last_play:
                continue
            ends = _ends(marks, last_return)
            if "fine" in ends and marks[played].fine:
                return order
            if "coda" in ends and played in to_coda:
                bar, last_return = _coda(marks, to_coda[played], played), None
                break
            if marks[played].is_return and played not in obeyed:
                _check_end(marks, last_return)
                obeyed.add(played)
                num_heard = max(order) + 1
                bar, last_return = _target(marks, played), played
                break
    _check_end(marks, last_return)
    return order


def _ends(marks: Sequence[Marks], last_return: int | None) -> set[str]:
    """The marks that end a return: those that its words name, else both; none without a return."""
    return set() if last_return is None else marks[last_return].until or set(_END_MARKS)


def _check_end(marks: Sequence[Marks], last_return: int | None) -> None:
    """Raises an error if a return names its end and does not reach it: the order of the bars is in doubt."""
    if last_return is not None and (until := marks[last_return].until):
        end = max(until)
        raise ScoreError(
            f"bar {last_return + 1} returns al {end.capitalize()}, and there is no {_END_MARKS[end]} in the bars that are then"
            " played; add it to one of them"
        )


def _plays(section: _Section, start: int, num_heard: int) -> Iterator[tuple[int, bool]]:
    """The bars of a section from `start` on in the order of play, and whether each is played for the last time here.

    A section that was heard before, or that is entered in its middle, is played once, as in its last play.
    """
    is_repeated = start == section.begin and (start >= num_heard or section.repeats_after_jump)
    for play in range(1 if is_repeated else section.num_plays, section.num_plays + 1):
        for bar in range(start, section.body_end):
            yield bar, play == section.num_plays
        for ending in section.endings:
            if play in ending.numbers:
                for bar in range(max(start, ending.begin), ending.end):
                    yield bar, play == max(ending.numbers)


def _sections(marks: Sequence[Marks]) -> list[_Section]:
    """The sections of a score, which cover all bars without overlap."""
    endings = {ending.begin: ending for ending in _endings(marks)}
    sections: list[_Section] = []
    begin = bar = 0
    while bar < len(marks):
        if marks[bar].forward and bar > begin:
            sections.append(_Section(begin, bar, bar, 1, []))
            begin = bar
        if bar > begin and bar not in endings and (numbers := _numbers_of_unmarked_ending(marks, bar, endings)):
            endings[bar] = _Ending(bar, bar + 1, numbers, numbers)
        if bar in endings:
            group = [endings[bar]]
            while (end := group[-1].end) in endings and not marks[end].forward:
                group.append(endings[end])
            if any(marks[ending.end - 1].plays > 1 for ending in group):
                sections.append(_section_with_endings(marks, begin, group))
                begin = end
            bar = end
            continue
        # A return ends a section that no forward sign has begun: no backward sign reaches back across it.
        is_end = marks[bar].plays > 1 or (marks[bar].is_return and not marks[begin].forward)
        bar += 1
        if is_end:
            sections.append(_Section(begin, bar, bar, marks[bar - 1].plays, [], marks[bar - 1].repeats_after_jump))
            begin = bar
    if begin < len(marks):
        sections.append(_Section(begin, len(marks), len(marks), 1, []))
    return sections


def _section_with_endings(marks: Sequence[Marks], begin: int, group: Sequence[_Ending]) -> _Section:
    endings = _with_plays(group)
    end = endings[-1].end
    repeats_after_jump = any(marks[ending.end - 1].repeats_after_jump for ending in endings)
    return _Section(begin, endings[0].begin, end, _num_plays(endings, end == len(marks)), endings, repeats_after_jump)


def _endings(marks: Sequence[Marks]) -> list[_Ending]:
    """The endings; one that is never stopped ends with its backward sign, and before another ending or a forward sign."""
    endings: list[_Ending] = []
    bar = 0
    while bar < len(marks):
        begin, numbers = bar, marks[bar].ending_start
        bar += 1
        if numbers is None:
            continue
        while (
            bar < len(marks)
            and not (marks[bar - 1].ending_stop or marks[bar - 1].plays > 1)
            and not (marks[bar].ending_start is not None or marks[bar].forward)
        ):
            bar += 1
        endings.append(_Ending(begin, bar, numbers, marks[begin].ending_text))
    return endings


def _numbers_of_unmarked_ending(marks: Sequence[Marks], bar: int, endings: Mapping[int, _Ending]) -> set[int]:
    """The numbers of the ending that a bar is although it has no sign: it has a backward sign, and the second ending follows."""
    if marks[bar].plays == 1 or bar + 1 not in endings or marks[bar + 1].forward:
        return set()
    return set(range(1, min({marks[bar].plays} | endings[bar + 1].numbers)))


def _with_plays(endings: Sequence[_Ending]) -> list[_Ending]:
    """The endings of a section with the plays in which they are played.

    The numbers decide if they name every play once, else those that are shown, else, for endings with one number or none, their
    places: programs write the same number for all endings, or none, or leave numbers out.

    Raises:
        ScoreError: the numbers have another order, such as those of two sections, or are several for one ending.
    """
    for plays in ([ending.numbers for ending in endings], [ending.text for ending in endings]):
        named = sorted(play for numbers in plays for play in numbers)
        if all(plays) and named == list(range(1, len(named) + 1)):
            return [ending._replace(numbers=numbers) for ending, numbers in zip(endings, plays, strict=True)]
    named = [play for ending in endings for play in ending.numbers]
    if any(len(ending.numbers) > 1 for ending in endings) or (len(set(named)) > 1 and named != sorted(set(named))):
        numbers = " | ".join(", ".join(map(str, sorted(ending.numbers))) or "none" for ending in endings)
        raise ScoreError(
            f"the endings from bar {endings[0].begin + 1} to {endings[-1].end} have the numbers {numbers}; expected every play in"
            " one ending; correct the numbers, or mark where the endings stop"
        )
    return [ending._replace(numbers={play}) for play, ending in enumerate(endings, 1)]


def _num_plays(endings: Sequence[_Ending], is_last: bool) -> int:
    """The plays of a section with these endings.

    A single ending is followed by an unmarked one, which is one more play, unless the piece ends with it.
    """
    num_plays = max(max(ending.numbers) for ending in endings)
    if len(endings) == 1 and 1 in endings[0].numbers:
        return max(2, num_plays if is_last else num_plays + 1)
    return num_plays


def _to_coda(marks: Sequence[Marks]) -> dict[int, str]:
    """The bars after which a return jumps to the coda, and the label of the coda.

    Where only coda signs are drawn, the first of several is the one to jump from.

    Raises:
        ScoreError: there is no return.
    """
    to_coda = {bar: label for bar, mark in enumerate(marks) if (label := mark.coda_jump) is not None}
    if to_coda and not any(mark.is_return for mark in marks):
        raise ScoreError(f"bar {min(to_coda) + 1} has a To Coda, and there is no D.C. or D.S.; add the words to the score")
    codas = [bar for bar, mark in enumerate(marks) if mark.coda]
    if not to_coda and len(codas) > 1:
        return {codas[0]: min(marks[codas[-1]].coda)}
    return to_coda


def _coda(marks: Sequence[Marks], label: str, bar: int) -> int:
    """The bar of the coda with this label, else of the first coda after the bar with To Coda."""
    codas = [index for index, mark in enumerate(marks) if mark.coda]
    later = [index for index in codas if index > bar]
    candidates = [index for index in later if label in marks[index].coda] + later
    if not candidates:
        raise ScoreError(f"bar {bar + 1} has a To Coda, and there is no coda; add the sign to the score")
    return candidates[0]


def _target(marks: Sequence[Marks], bar: int) -> int:
    """The bar to which the D.C. or D.S. of a bar returns: the segno with its label, else the last segno before it."""
    label = marks[bar].dal_segno
    if label is None:
        return 0
    segnos = [index for index, mark in enumerate(marks) if mark.segno]
    if not segnos:
        raise ScoreError(f"bar {bar + 1} has a D.S., and there is no segno; add the sign to the score")
    # A segno in the bar of the D.S. belongs to its words, as in "Dal 𝄋", if there is an earlier one.
    return min(segnos, key=lambda index: (label not in marks[index].segno, index >= bar, abs(bar - index)))


def _check_all_played(order: Sequence[int], bars: Sequence[Bar], subject: str, action: str) -> None:
    missing = sorted({index for index, bar in enumerate(bars) if bar.notes}.difference(order))
    if missing:
        first = missing[0] + 1
        raise ScoreError(f"{subject} out {len(missing)} of {len(bars)} bars, the first of them bar {first}; {action}")


def _check_length(order: Sequence[int]) -> None:
    if len(order) > MAX_BARS:
        raise ScoreError(f"more than {MAX_BARS} bars with all repeats", "too_long")
