"""The order of the bars is the one that the form of a score implies, wherever its marks stand, and it is bounded."""

import re
from fractions import Fraction
from random import Random

import pytest

from pianogen.midi.scores.bar_order import MAX_BARS, order_of_bars, order_of_marks
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.score import Bar, Marks, Note, Score, Section
from tests.support.made_scores import made_form, marks_of, played

_LETTERS = {"|:": "forward", "F": "fine", "DC": "da_capo"}


def marks(*bars: str) -> list[Marks]:
    """The marks of bars: |: :| :|3 [1 [1,2 [ [1=2 (the text is 2) ] % (segno) DS O (coda) TO DC F alfine alcoda."""
    return [_marks(bar.split()) for bar in bars]


def _marks(signs: list[str]) -> Marks:
    result = Marks()
    for sign in signs:
        if sign in _LETTERS:
            setattr(result, _LETTERS[sign], True)
        elif sign.startswith(":|"):
            result.plays = int(sign[2:] or 2)
        elif sign.startswith("["):
            result.start_ending(*(set(map(int, re.findall(r"\d+", numbers))) for numbers in sign.partition("=")[::2]))
        elif sign == "]":
            result.ending_stop = True
        elif sign in ("%", "O"):
            (result.segno if sign == "%" else result.coda).add("")
        elif sign == "DS":
            result.dal_segno = ""
        elif sign == "TO":
            result.to_coda = ""
        elif sign.startswith("al"):
            result.until.add(sign.removeprefix("al"))
    return result


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        pytest.param(["", ":|", "", ":|"], "1 2 1 2 3 4 3 4", id="backward_signs_do_not_nest"),
        pytest.param(["", "|:", ":|", ""], "1 2 3 2 3 4", id="forward_sign"),
        pytest.param(["", "|:", "", "|: :|"], "1 2 3 4 4", id="forward_sign_without_a_backward_sign"),
        pytest.param([":|3", ""], "1 1 1 2", id="three_plays"),
        pytest.param(["|:", "[1 ] :|", "[2 ]", ""], "1 2 1 3 4", id="two_endings"),
        pytest.param(["|:", "[1 :|", "[2 ] :|", ""], "1 2 1 3 4", id="backward_sign_in_the_last_ending"),
        pytest.param(["|:", "[1,2 ] :|", "[3 ]"], "1 2 1 2 1 3", id="two_numbers_in_an_ending"),
        pytest.param(["|:", "[1,2 ] :|", ""], "1 2 1 2 1 3", id="third_ending_without_a_sign"),
        pytest.param(["|:", "[1,2 ] :|"], "1 2 1 2", id="all_plays_in_one_ending"),
        pytest.param(["|:", "", "[1 ] :|", "", ""], "1 2 3 1 2 4 5", id="second_ending_without_a_sign"),
        pytest.param(["|:", "", ":|", "[2 ]", ""], "1 2 3 1 2 4 5", id="first_ending_without_a_sign"),
        pytest.param(["", "[1 ]", "[2 ]"], "1 2 3", id="endings_without_a_backward_sign"),
        pytest.param(["", "[2 :|", "[1 ]"], "1 3 1 2", id="endings_in_another_order"),
        pytest.param(["", "[99 ] :|", "[99 ]"], "1 2 1 3", id="same_number_for_all_endings"),
        pytest.param(["", "[ ] :|", "[ ]"], "1 2 1 3", id="endings_without_numbers"),
        pytest.param(["", "[1 ] :|", "[ ]"], "1 2 1 3", id="second_ending_without_a_number"),
        pytest.param(["", "[1=1 ] :|", "[1=2 ]"], "1 2 1 3", id="text_where_the_numbers_repeat"),
        pytest.param(["", "[1=1,2 ] :|", "[1=3 ]"], "1 2 1 2 1 3", id="text_of_two_numbers"),
        pytest.param(["", "[1=2 ] :|", "[2=1 ]"], "1 2 1 3", id="numbers_before_text"),
        pytest.param(["", "[1 ] :|", "[3 ]"], "1 2 1 3", id="number_left_out"),
        pytest.param(["", "[1 ] :|", "[1 ] :|", "[1 ]"], "1 2 1 3 1 4", id="three_endings_of_one_number"),
        pytest.param(["", "[99 ] :|", ""], "1 2 1 3", id="single_ending_of_a_wrong_number"),
        pytest.param(["", "[ ] :|", ""], "1 2 1 3", id="single_ending_without_a_number"),
        pytest.param(["", f"[{10**9}", ":|"], "1 2 3 1", id="single_ending_of_a_huge_number"),
        pytest.param(["", "", ":|", "[99 ]", ""], "1 2 3 1 2 4 5", id="unmarked_first_ending_before_a_wrong_number"),
        pytest.param(["", "", ":|", "[ ]", ""], "1 2 3 1 2 4 5", id="unmarked_first_ending_before_an_ending_without_a_number"),
        pytest.param(["", "", ":|3", "[3 ]", ""], "1 2 3 1 2 3 1 2 4 5", id="unmarked_ending_of_two_plays"),
        pytest.param(["", "[1 :|", "[2 ]", "", ":|"], "1 2 1 3 4 5 4 5", id="section_after_endings"),
        pytest.param(["", "F", "", "DC"], "1 2 3 4 1 2", id="da_capo_al_fine"),
        pytest.param([":|", "F", "|: :|", "DC"], "1 1 2 3 3 4 1 2", id="no_repeats_after_da_capo"),
        pytest.param(["", "[1 ] :|", "[2 ] F", "DC"], "1 2 1 3 4 1 3", id="last_ending_after_da_capo"),
        pytest.param(["", "%", "DS F"], "1 2 3 2 3", id="fine_at_the_bar_of_the_jump"),
        pytest.param(["", "% TO", "DS", "O"], "1 2 3 2 4", id="dal_segno_al_coda"),
        pytest.param(["", "% O", "DS alcoda", "O", ""], "1 2 3 2 4 5", id="coda_signs_alone"),
        pytest.param(["", "F", "DC alfine"], "1 2 3 1 2", id="words_with_the_end"),
        pytest.param(["", "F", "TO", "DC alcoda", "O", "DC alfine"], "1 2 3 4 1 2 3 5 6 1 2", id="coda_before_fine"),
        pytest.param(["%", "TO", "F", "DS alcoda", "O DS alfine"], "1 2 3 4 1 2 5 1 2 3", id="fine_after_to_coda"),
        pytest.param(["", "TO", "F", "DC alcoda alfine", "O"], "1 2 3 4 1 2 5", id="words_with_both_ends"),
        pytest.param(["", "alcoda", "DC", "O"], "1 2 3 1 2 4", id="words_al_coda_without_a_return"),
        pytest.param(["", "TO", "DC", "O", ":|", ""], "1 2 3 1 2 4 5 4 5 6", id="repeats_in_the_coda"),
        pytest.param(["", "DC", ""], "1 2 1 2 3", id="da_capo_without_fine"),
        pytest.param(["", "DC :|", ""], "1 2 1 2 1 2 3", id="da_capo_after_the_last_play"),
        pytest.param(["", "|:", "DC", ":|"], "1 2 3 4 2 3 1 2 3 4", id="da_capo_inside_a_repeated_section"),
        pytest.param(["%", "DS", "%", "DS"], "1 2 1 2 3 4 3 4", id="two_segnos"),
    ],
)
def test_bars_are_played_in_the_order_that_musicians_expect(bars: list[str], expected: str) -> None:
    assert " ".join(str(bar + 1) for bar in order_of_marks(marks(*bars))) == expected


@pytest.mark.parametrize("thousand", range(4))
def test_order_is_that_of_the_form(thousand: int) -> None:
    for seed in range(1_000 * thousand, 1_000 * (thousand + 1)):
        form = made_form(Random(seed))
        assert order_of_marks(marks_of(form)) == played(form), (seed, form)
        assert set(played(form)) == set(range(form.blocks[-1].end))


def test_listed_sections_decide_and_repeat_signs_inside_expanded_ones_have_no_meaning() -> None:
    bars = [Bar(marks=mark) for mark in marks(":|", "", "")]
    assert order_of_bars(Score(bars, [Section(1, 3, True), Section(0, 1, True)])) == [1, 2, 0]
    assert order_of_bars(Score(bars, [Section(1, 3, False), Section(0, 1, False)])) == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        (["", "DS"], r"bar 2 has a D\.S\., and there is no segno"),
        (["TO", "DC"], "bar 1 has a To Coda, and there is no coda"),
        (["", "", "DC alfine"], "bar 3 returns al Fine, and there is no Fine"),
        (["%", "DS alcoda", "O"], "bar 2 returns al Coda, and there is no To Coda"),
        (["", "[1 F :|", "[2 ]", "DC alfine"], "bar 4 returns al Fine, and there is no Fine in the bars that are then played"),
        (["", "[1 TO :|", "[2 ]", "DC alcoda", "O"], "bar 4 returns al Coda, and there is no To Coda in the bars that are then"),
        (["F", "%", "DS alfine"], "bar 3 returns al Fine, and there is no Fine in the bars that are then played"),
        (["TO", "%", "DS alcoda", "", "O"], "bar 3 returns al Coda, and there is no To Coda in the bars that are then played"),
        (["", "DC alfine", "DC alcoda", "F"], "bar 2 returns al Fine, and there is no Fine in the bars that are then played"),
        (["|:", "TO", ":|", "O"], r"bar 2 has a To Coda, and there is no D\.C\. or D\.S\.; add the words"),
        ([f":|{MAX_BARS + 1}"], "more than 131072 bars"),
        (
            ["", "[1 :|", "[2", "", "[1 :|", "[2 ]"],
            r"the endings from bar 2 to 6 have the numbers 1 \| 2 \| 1 \| 2; expected every",
        ),
        (["", "[1,2 :|", "[2 ]"], r"the endings from bar 2 to 3 have the numbers 1, 2 \| 2; expected every play"),
        (["", "[1,3 :|", "[ ]"], r"the endings from bar 2 to 3 have the numbers 1, 3 \| none; expected every play"),
        (["DC :|1000"] * 1000, "more than 131072 bars"),
    ],
)
def test_order_in_doubt_or_without_bound_is_an_error(bars: list[str], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        order_of_marks(marks(*bars))


def test_notes_that_are_never_played_are_an_error_and_empty_bars_are_not() -> None:
    note = Note(Fraction(0), Fraction(1), 60, "")
    bars = [Bar(notes=[note], marks=mark) for mark in marks("F", "DC", "")]
    with pytest.raises(ScoreError, match="leave out 1 of 3 bars, the first of them bar 3"):
        order_of_bars(Score(bars))
    bars[2].notes.clear()
    assert order_of_bars(Score(bars)) == [0, 1, 0]
