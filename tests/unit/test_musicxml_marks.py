"""The marks of MusicXML: tempos, and the words, signs and bar lines that decide the order of the bars."""

import pytest

from pianogen.midi.scores.bar_order import order_of_bars
from pianogen.midi.scores.musicxml import read_musicxml
from tests.support.musicxml import BACKWARD, C4, note, part, score
from tests.support.score_events import events_of, notes_of, steps_of

TIED_16TH = "<beat-unit-tied><beat-unit>16th</beat-unit></beat-unit-tied>"
SEGNO, CODA = "<segno/>", "<coda/>"
CODA_BAR_LINE = f'<barline location="right">{CODA}</barline>'
ENDING = '<barline location="left"><ending number=" " type="start">{}</ending></barline>'
NUMBERED = '<barline location="left"><ending number="{}" type="start">{}</ending></barline>'


def direction(*types: str) -> str:
    """A direction of words and signs."""
    shown_types = (text if text.startswith("<") else f"<words>{text}</words>" for text in types)
    return "<direction>" + "".join(f"<direction-type>{text}</direction-type>" for text in shown_types) + "</direction>"


def keys_of(*measures: str) -> str:
    """The keys of the notes in the order of play."""
    return " ".join(str(note.key) for note in notes_of(events_of(score(part(*measures)), ".musicxml")))


@pytest.mark.parametrize(
    ("mark", "tempo_us"),
    [
        ('<sound tempo="90"/>', [666_667]),
        ('<direction><sound tempo="90.5"/></direction>', [662_983]),
        ("<metronome><beat-unit>half</beat-unit><per-minute>60</per-minute></metronome>", [500_000]),
        ("<metronome><beat-unit>quarter</beat-unit><beat-unit-dot/><per-minute>c. 80</per-minute></metronome>", [500_000]),
        ("<metronome><beat-unit>quarter</beat-unit><per-minute>92,5</per-minute></metronome>", [648_649]),
        (f"<metronome><beat-unit>quarter</beat-unit>{TIED_16TH}<per-minute>60</per-minute></metronome>", [800_000]),
        (f"<metronome><beat-unit>quarter</beat-unit>{TIED_16TH * 2}<per-minute>60</per-minute></metronome>", [666_667]),
        ("<metronome><beat-unit>quarter</beat-unit><beat-unit>half</beat-unit></metronome>", []),
        ('<sound tempo="+60"/>', [1_000_000]),
        ('<sound tempo="0"/>', []),
        ('<sound tempo="x"/>', []),
        ('<sound tempo="1"/>', []),
    ],
)
def test_tempo_of_a_mark_in_any_part(mark: str, tempo_us: list[int]) -> None:
    if mark.startswith("<metronome"):
        mark = direction(mark)
    events = events_of(score(part(C4), part(C4 + mark + C4)), ".musicxml")
    assert events.tempos["tempo_us"].tolist() == tempo_us
    assert steps_of(events.tempos["tick"], events) == [4] * len(tempo_us)


@pytest.mark.parametrize(
    ("sound_offset", "offset", "step"),
    [
        ("", "", 0),
        ("<offset>4</offset>", "", 4),
        ("", "<offset>4</offset>", 0),
        ("", '<offset sound="yes">4</offset>', 4),
        ("<offset>4</offset>", '<offset sound="yes">8</offset>', 4),
    ],
)
def test_offset_of_the_sound_counts_before_that_of_the_direction(sound_offset: str, offset: str, step: int) -> None:
    mark = f'<direction>{offset}<sound tempo="60">{sound_offset}</sound></direction>'
    events = events_of(score(part(mark + note("C4", 16))), ".musicxml")
    assert steps_of(events.tempos["tick"], events) == [step]


def test_tempo_after_a_rest_that_exceeds_its_bar_is_that_of_the_next_bar() -> None:
    time = "<time><beats>3</beats><beat-type>4</beat-type></time>"
    events = events_of(score(part(note("r", 16) + '<sound tempo="60"/>', C4, attributes=time)), ".musicxml")
    assert steps_of(events.tempos["tick"], events) == [12]


def test_tempo_after_a_jump_is_that_of_the_page() -> None:
    fast, slow = '<sound tempo="120"/>', '<sound tempo="60"/>'
    events = events_of(score(part(fast + C4, C4 + '<sound fine="yes"/>', slow + C4 + '<sound dacapo="yes"/>')), ".xml")
    assert events.tempos["tempo_us"].tolist() == [500_000, 1_000_000, 500_000]
    assert steps_of(events.tempos["tick"], events) == [0, 8, 12]
    events = events_of(score(part(C4, slow + C4, '<barline><repeat direction="backward"/></barline>')), ".xml")
    assert events.tempos["tempo_us"].tolist() == [1_000_000, 500_000, 1_000_000]


@pytest.mark.parametrize(
    ("last_measure", "expected"),
    [
        (direction("D.C. al Fine"), "60 62 64 60"),
        (direction("<words>Da</words><words>Capo</words>"), "60 62 64 60"),
        (direction("D.C.") + direction("al Fine"), "60 62 64 60"),
        ('<direction><sound dacapo="yes"/></direction>', "60 62 64 60"),
        ('<sound dacapo="no"/>', "60 62 64"),
        ('<barline location="right"><repeat direction="backward" times="3"/></barline>', "60 62 64 60 62 64 60 62 64"),
    ],
)
def test_signs_and_words_for_the_order_of_bars(last_measure: str, expected: str) -> None:
    assert keys_of(C4 + direction("Fine"), note("D4"), note("E4") + last_measure) == expected


@pytest.mark.parametrize(
    ("to_coda", "dal_segno", "coda"),
    [
        pytest.param(direction("To Coda"), direction("D.S. al Coda"), direction("Coda"), id="words"),
        pytest.param(direction("To", CODA), direction("Dal", SEGNO, "al", CODA), direction(CODA), id="signs_for_words"),
        pytest.param(direction(CODA, "To Coda"), direction(SEGNO, "D.S."), direction(CODA, "Coda"), id="signs_before_words"),
        pytest.param(direction("al Coda"), direction("D.", SEGNO, "al Coda"), direction(CODA), id="al_coda_for_to_coda"),
        pytest.param(direction(CODA), direction("D.S.") + direction("al Coda"), direction(CODA), id="two_directions"),
        pytest.param(direction("To Coda"), direction("D.S. al Coda") + CODA_BAR_LINE, "", id="bar_line_before_the_coda"),
        pytest.param(CODA_BAR_LINE, direction("D.S.") + CODA_BAR_LINE, "", id="bar_lines_with_signs_alone"),
        pytest.param(direction("To Coda") + CODA_BAR_LINE, direction("D.S."), direction(CODA), id="bar_line_at_to_coda"),
    ],
)
def test_words_and_signs_of_a_jump_to_the_coda(to_coda: str, dal_segno: str, coda: str) -> None:
    segno = direction(SEGNO) + note("D4")
    assert keys_of(C4, segno + to_coda, note("E4") + dal_segno, coda + note("F4")) == "60 62 64 62 65"


def test_words_name_the_end_of_a_return_that_the_sound_states() -> None:
    def sounding(words: str, attribute: str) -> str:
        return f"<direction><direction-type><words>{words}</words></direction-type><sound {attribute}/></direction>"

    to_coda, fine = sounding("To Coda", 'tocoda="c"'), sounding("Fine", 'fine="yes"')
    first, second = sounding("D.S. al Coda", 'dalsegno="s"'), sounding("D.S. al Fine", 'dalsegno="s"')
    segno, coda = '<sound segno="s"/>' + C4, '<sound coda="c"/>' + note("G4")
    measures = [segno, note("D4") + to_coda, note("E4") + fine, note("F4") + first, coda + second]
    assert keys_of(*measures) == "60 62 64 65 60 62 67 60 62 64"


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ([C4, '<direction><sound forward-repeat="yes"/></direction>' + note("D4"), BACKWARD + note("E4")], "60 62 62 64"),
        ([C4 + '<barline location="right"><segno/></barline>', note("D4") + '<sound dalsegno=""/>'], "60 62 62"),
        ([C4, ENDING.format("1.") + note("D4"), BACKWARD + ENDING.format("2.") + note("E4")], "60 62 60 64"),
        ([C4, ENDING.format("") + note("D4"), BACKWARD + ENDING.format("") + note("E4")], "60 62 60 64"),
        ([C4, NUMBERED.format("1", "1.") + note("D4"), BACKWARD + NUMBERED.format("1", "2.") + note("E4")], "60 62 60 64"),
        (
            [C4, NUMBERED.format("1", "1.2.") + note("D4"), BACKWARD + NUMBERED.format("1", "3.") + note("E4")],
            "60 62 60 62 60 64",
        ),
        ([C4, NUMBERED.format("99", "") + note("D4"), BACKWARD + NUMBERED.format("99", "") + note("E4")], "60 62 60 64"),
    ],
)
def test_repeats_and_signs_at_bar_lines(measures: list[str], expected: str) -> None:
    assert keys_of(*measures) == expected


def test_repeats_are_played_after_a_jump_where_the_sign_says_so() -> None:
    repeat = '<barline><repeat direction="backward"{}/></barline>'
    jump = '<sound dacapo="yes"/>'
    for attribute, expected in (("", [0, 0, 1, 0, 1]), (' after-jump="yes"', [0, 0, 1, 0, 0, 1])):
        parsed = read_musicxml(score(part(C4 + repeat.format(attribute), C4 + jump)).encode())
        assert order_of_bars(parsed) == expected
