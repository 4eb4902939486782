"""Humdrum **kern: spines that split, join and come late, sections, percussion, and damaged rows."""

import re

import pytest

from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.score_reader import read_score
from pianogen.midi.scores.bar_order import order_of_bars
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.kern import read_kern
from tests.support.score_events import events_of, notes_of, steps_of


def kern(*rows: str) -> str:
    """A file with these rows; spines are separated by spaces, and ~ is a space inside a token."""
    return "".join("\t".join(row.split(" ")).replace("~", " ") + "\n" for row in rows)


def shown(text: str) -> str:
    """The notes as start:key+length, in sixteenth notes."""
    notes = notes_of(events_of(text, ".krn"))
    return " ".join(f"{start}:{'drum' if key is None else key}+{length}" for start, key, length in notes)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("4c", "0:60+4"),
        ("8.ccL", "0:72+3"),
        ("2..C#", "0:49+14"),
        ("0BB-", "0:46+32"),
        ("00c", "0:60+64"),
        ("3%2c", "0:60+32/3"),
        ("12c", "0:60+4/3"),
        ("4c~4e~4g", "0:60+4 0:64+4 0:67+4"),
        ("4c~e", "0:60+4 0:64+4"),
        ("4c~~4e", "0:60+4 0:64+4"),
        ("~4c~", "0:60+4"),
        ("8cc.", "0:72+3"),
        ("4R", "0:drum+4"),
        ("4c##", "0:62+4"),
        ("4Bn", "0:59+4"),
    ],
)
def test_token_gives_its_notes(token: str, expected: str) -> None:
    events = events_of(kern("**kern", token, "*-"), ".krn")
    assert shown(kern("**kern", token, "*-")) == expected
    assert events.notes_lost == 0


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(["**kern **kern", "4c 2e", "4d .", "*- *-"], "0:60+4 0:64+8 4:62+4", id="null_token"),
        pytest.param(["**kern~ **kern", "4c~ 2e", "4d .~", "*-~ *-"], "0:60+4 0:64+8 4:62+4", id="spaces_after_tokens"),
        pytest.param(["**kern **text", "4c la", "4d .", "*- *-"], "0:60+4 4:62+4", id="text_spine"),
        pytest.param(["**kern", "*^", "4c 2e", "4d .", "*v *v", "4f", "*-"], "0:60+4 0:64+8 4:62+4 8:65+4", id="split_and_join"),
        pytest.param(
            ["**kern **kern", "*^ *^", "4c 4e 4g 4b", "* *v *v *", "4c 4e 4g", "*v *v *", "4d 4f", "*- *-"],
            "0:60+4 0:64+4 0:67+4 0:71+4 4:60+4 4:64+4 4:67+4 8:62+4 8:65+4",
            id="spines_of_two_staves_join",
        ),
        pytest.param(["**kern", "4c", "*+", "* **kern", "4d 4e", "*- *-"], "0:60+4 4:62+4 4:64+4", id="added_spine"),
        pytest.param(["**kern **kern", "4c 4e", "*x *x", "2d 4f", "*- *-"], "0:60+4 0:64+4 4:62+8 4:65+4", id="exchanged_spines"),
        pytest.param(["**kern", "[4c", "=", "4c_", "4c]", "4c", "*-"], "0:60+12 12:60+4", id="tie"),
        pytest.param(["**kern **kern", "[4c 4e", "4r 4c]", "*- *-"], "0:60+8 0:64+4", id="tie_into_another_spine"),
        pytest.param(["**kern", "4c", "8qd", "8qe", "4f", "*-"], "0:60+4 2:62+1 3:64+1 4:65+4", id="graces"),
        pytest.param(["**kern", "4c", "16Qd", "4f", "*-"], "0:60+4 3:62+1 4:65+4", id="groupetto"),
        pytest.param(
            ["**kern", "4c", "8qd~f", "8e~8qg", "4a", "*-"], "0:60+4 2:62+1 2:65+1 3:64+1 3:67+1 4:69+4", id="grace_chords"
        ),
        pytest.param(["**kern **kern", "4c 16r.", ". 32d", ". 8e", "*- *-"], "0:60+4 3/2:62+1/2 2:64+2", id="dot_of_a_rest"),
        pytest.param(
            ["**kern **kern", "4e-~4.A- 2c", "4d .", "*- *-"], "0:56+6 0:60+8 0:63+4 4:62+4", id="first_note_of_a_chord_decides"
        ),
        pytest.param(
            ["**kern **kern", "2.c 2.e", "1c 4f", "= =", ". 4g", ". 2f", "*- *-"],
            "0:60+12 0:64+12 12:60+16 12:65+4 16:67+4 20:65+8",
            id="note_across_a_bar_line",
        ),
        pytest.param(["**kern **kern", "2c 4e", "= =", "4d 4f", "*- *-"], "0:60+8 0:64+4 8:62+4 8:65+4", id="missing_rest"),
        pytest.param(["**kern", "*clefX", "4c", "*-"], "0:drum+4", id="percussion_clef"),
        pytest.param(["**kern **kern", "*ossia *", "4c 4e", "*Xossia *", "4d 4f", "*- *-"], "0:64+4 4:62+4 4:65+4", id="ossia"),
    ],
)
def test_rows_are_read(rows: list[str], expected: str) -> None:
    assert shown(kern(*rows)) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["4c", "=:|!", "4d", "==:|"], [0, 0, 1, 1]),
        (["*^", "4c 4e", "= =:|!", "4d 4f", "*v *v"], [0, 0, 1]),
        (["*^", "* *>[A,A]", "* *>A", "4d 4f", "*v *v"], [0, 0]),
        (["4c", "=!|:", "4d", "=:|!"], [0, 1, 1]),
        (["4c", "=:|!|:", "4d", "=:||:", "4e"], [0, 0, 1, 1, 2]),
        (["*>[A,A,B]", "*>norep[A,B]", "*>A", "4c", "=:|!", "*>B", "4d"], [0, 0, 1]),
        (["*>[B,A]", "*>A", "4c", "*>B", "4d"], [1, 0]),
        (["*>~[B,A]", "*>A", "4c", "*>B", "4d"], [1, 0]),
        (["*>[A,A]", "*>A", "4c", "*>[B,C,B]", "*>B", "4d", "*>C", "4e"], [0, 0, 1, 2, 1]),
        (["*>A", "4c", "=", "*>A1", "4d", "=:|!", "*>A2", "4e", "=", "4f", "=", "*>B", "4g"], [0, 1, 0, 2, 3, 4]),
        (["*>A", "4c", "=", "*>A1", "4d", "=:|!", "*>A2", "4e", "=:|!", "*>B", "4g"], [0, 1, 0, 2, 3]),
        (["*>A", "4c", "=:|!", "*>A1", "4d", "=:|!", "*>A2", "4e", "=:|!"], [0, 0, 1, 1, 2, 2]),
        (["*>A", "4c", "=!|:", "*>A1", "4d", "=:|!", "*>A2", "4e"], [0, 1, 1, 2]),
        (["*>[B,~A]", "*>A", "4c", "*>B", "4d"], [1, 0]),
        (["*^", "*>[A,A] *", "*>A *MM60", "4d 4f", "*v *v"], [0, 0]),
        (["4c", "!LO:TX:a:t=Fine:i", "=", "4d", "!LO:TX:t=D.C.~al~Fine", "=="], [0, 1, 0]),
        (["4c", "=", "!LO:TX:t=𝄋", "4d", "==", "!LO:TX:t=D.S."], [0, 1, 1]),
        (["4c", "=", "!LO:TX:t=𝄋", "4d", "=", "!LO:TX:t=Dal~Segno", "4e", "!LO:TX:t=𝄋", "=="], [0, 1, 2, 1, 2]),
        (["*>[A,B]", "*>A", "4c", "*>B", "!LO:TX:t=Menuetto~D.C.", "4d", "=="], [0, 1]),
    ],
)
def test_order_of_bars_is_that_of_the_signs_or_of_the_list_of_sections(rows: list[str], expected: list[int]) -> None:
    (score,) = read_kern(kern("**kern", *rows, "*-"))
    assert not isinstance(score, ScoreError)
    assert order_of_bars(score) == expected


def test_last_bar_has_its_length_without_a_bar_line() -> None:
    assert shown(kern("**kern", "*>[A,A]", "*>A", "4c", "*-")) == "0:60+4 4:60+4"


def test_bar_line_before_the_end_of_a_note_starts_a_bar() -> None:
    events = events_of(
        kern("**kern **kern", "1c 4e", "= =", ". 4f", "= =", ". 4g", "8qd .", "*MM60 *MM60", ". 4a", "*- *-"), ".krn"
    )
    assert steps_of(events.meters["tick"], events) == [0, 4, 8]
    assert steps_of(events.tempos["tick"], events) == [12]


def test_cue_notes_are_silent_beside_an_ossia() -> None:
    rows = ["**kern **kern", "*cue *ossia", "4c 4e", "*Xcue *cue", "4d 4f", "* *Xossia", "4e 4g", "* *Xcue", "4f 4a", "*- *-"]
    assert shown(kern(*rows)) == "4:62+4 8:64+4 12:65+4 12:69+4"


def test_ossia_is_counted_as_silent_once_for_each_play() -> None:
    events = events_of(kern("**kern **kern", "*ossia *", "4c~4d 4e", "4r 4e", "=:|! =:|!", "*- *-"), ".krn")
    assert (events.notes_silent, events.notes_lost) == (4, 0)


@pytest.mark.parametrize(
    ("tempo", "tempos_us"), [("*MM60", [1_000_000]), ("*MM60-66", [1_000_000]), ("*MM92.5", [648_649]), ("*MM[Andante~1]", [])]
)
def test_tempo_of_any_spine_counts(tempo: str, tempos_us: list[int]) -> None:
    events = events_of(kern("**kern **kern", f"* {tempo}", "4c 4e", "*- *-"), ".krn")
    assert events.tempos["tempo_us"].tolist() == tempos_us


def test_control_characters_in_a_comment_end_no_line() -> None:
    assert shown("!!!OTL: a\x85b\x0cc\n" + kern("**kern", "4c", "*-")) == "0:60+4"


def test_pieces_of_one_file_are_separate_and_a_bad_one_does_not_lose_the_others() -> None:
    text = kern("**kern", "4c", "*-", "!!!OTL: two", "**kern", "c", "*-", "**kern", "4e", "*-")
    tunes = read_score(text.encode(), ".krn")
    assert [isinstance(events, Rejection) for events in tunes] == [False, True, False]
    assert str(tunes[1]) == "line 6: c has no duration"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["**text", "la", "*-"], r"no \*\*kern spine"),
        (["**kern", "4c 4d", "*-"], "line 2: 2 columns, expected 1 spines"),
        (["**kern **kern", "4c 2d", "4e 4f", "*- *-"], "line 3: the durations before this row differ between its spines"),
        (["**kern", "*>[A,B]", "*>A", "4c", "*-"], "the list of sections names B, and no section has this name"),
        (
            ["**kern", "*>[A]", "*>A", "4c", "=", "*>B", "4d", "*-"],
            "the order of sections leaves out 1 of 2 bars, the first .* bar 2",
        ),
        (["**kern", "*>[A]", "4c", "=", "*>A", "4d", "*-"], "the order of sections leaves out 1 of 2 bars, the first .* bar 1"),
        (["**kern", "*>[A,B]", "*>A", "4c", "*>B", "4d", "*>A", "4e", "*-"], "line 7: the section A begins twice"),
        (["**kern", "4c", "!LO:TX:t=Menuetto~D.C.", "==", "*-"], "line 3: the words 'Menuetto D.C.' return to a place"),
        (["**kern", "4c", "*-", "4d"], "line 4: a row after the end of all spines"),
    ],
)
def test_damaged_file_is_rejected(rows: list[str], message: str) -> None:
    try:
        (rejection,) = read_score(kern(*rows).encode(), ".krn")
    except Rejection as error:
        rejection = error
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.BAD_SCORE
    assert re.search(message, str(rejection))


def test_note_without_a_pitch_is_counted_once_for_each_play() -> None:
    assert events_of(kern("**kern", "4c", "4", "=:|!", "*-"), ".krn").notes_lost == 2
