"""MusicXML: sounding pitch, voices, ties, grace notes, tempos, signs, and scores in doubt."""

import pytest

from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.score_reader import read_score
from pianogen.midi.scores.bar_order import order_of_bars
from pianogen.midi.scores.musicxml import read_musicxml
from tests.support.musicxml import BACKWARD, C4, backup, container, encoded_by, note, part, score, shown, zipped
from tests.support.score_events import events_of, notes_of, steps_of


def transpose(chromatic: int, octaves: int = 0, staff: str = "") -> str:
    return f"<transpose{staff}><chromatic>{chromatic}</chromatic><octave-change>{octaves}</octave-change></transpose>"


TIE_START, TIE_STOP = '<tie type="start"/>', '<tie type="stop"/>'
STAFF_2 = "<staff>2</staff>"
ENDING = '<barline location="left"><ending number=" " type="start">{}</ending></barline>'
NUMBERED = '<barline location="left"><ending number="{}" type="start">{}</ending></barline>'
REPEATED = '<attributes><measure-style><measure-repeat type="start">1</measure-repeat></measure-style></attributes>'


@pytest.mark.parametrize(
    ("measures", "attributes", "expected"),
    [
        pytest.param([C4 + note("E4", 4, "<chord/>") + note("G4")], "", "0:60+4 0:64+4 4:67+4", id="chord"),
        pytest.param([note("C4", 8) + backup(8) + note("E4")], "", "0:60+8 0:64+4", id="backup"),
        pytest.param(
            ["<attributes><divisions>480</divisions></attributes>" + note("C4", 470) + backup(480) + note("E4", 480)],
            "",
            "0:60+47/12 0:64+4",
            id="backup_over_rounded_durations",
        ),
        pytest.param(["<forward><duration>2</duration></forward>" + C4], "", "2:60+4", id="forward"),
        pytest.param([C4], transpose(-2, 1).replace("octave-change", "octave-shift"), "0:70+4", id="octave_shift_of_music21"),
        pytest.param([C4, C4], transpose(-2, 1), "0:70+4 4:70+4", id="transposing_instrument"),
        pytest.param(
            [C4 + f"<attributes>{transpose(0)}</attributes>" + C4], transpose(-3), "0:57+4 4:60+4", id="change_of_instrument"
        ),
        pytest.param(
            [C4 + note("C4", 4, STAFF_2)], transpose(2) + transpose(0, -1, ' number="2"'), "0:62+4 4:48+4", id="staff_transposed"
        ),
        pytest.param([note("C4", 4, "<cue/>") + C4], "", "4:60+4", id="cue_note"),
        pytest.param([note("C4", attributes=' dynamics="0"') + C4], "", "4:60+4", id="silent_note"),
        pytest.param([note("C4", attributes=' print-object="no"')], "", "0:60+4", id="invisible_note"),
        pytest.param([note("x") + C4], "", "0:drum+4 4:60+4", id="unpitched"),
        pytest.param([C4], "<clef><sign>percussion</sign></clef>", "0:drum+4", id="percussion_clef"),
        pytest.param(["<harmony><root><root-step>C</root-step></root></harmony>" + C4], "", "0:60+4", id="chord_symbol"),
        pytest.param([note("C4", 4, TIE_START), note("C4", 4, TIE_STOP) + C4], "", "0:60+8 8:60+4", id="tie_across_the_bar"),
        pytest.param(
            [note("C4", 4, TIE_START, "<voice>1</voice>") + note("C4", 4, TIE_STOP, "<voice>5</voice>", STAFF_2)],
            "",
            "0:60+8",
            id="tie_into_another_voice_and_staff",
        ),
        pytest.param([note("C4", 4, TIE_START) + note("r") + note("C4", 4, TIE_STOP)], "", "0:60+4 8:60+4", id="tie_over_a_rest"),
        pytest.param([note("C4", 4, TIE_START) + note("C4")], "", "0:60+4 4:60+4", id="tie_without_an_end"),
        pytest.param(
            [
                note("C4", 4, '<notations><tied type="start"/></notations>')
                + note("C4", 4, '<notations><tied type="stop"/></notations>')
            ],
            "",
            "0:60+8",
            id="tie_as_a_sign_only",
        ),
        pytest.param(
            [note("C4", 4, TIE_START) + note("C4", 4, '<notations><tied type="continue"/></notations>'), note("C4", 4, TIE_STOP)],
            "",
            "0:60+12",
            id="tie_that_continues",
        ),
        pytest.param(
            [C4 + "".join(note(pitch, 0, "<grace/>") for pitch in ("D4", "E4")) + note("F4")],
            "",
            "0:60+4 2:62+1 3:64+1 4:65+4",
            id="graces",
        ),
        pytest.param(
            [C4 + note("D4", 0, "<grace/>") + note("F4", 0, "<grace/>", "<chord/>") + note("E4")],
            "",
            "0:60+4 3:62+1 3:65+1 4:64+4",
            id="grace_chord",
        ),
        pytest.param(
            [note("C4", 1) + note("D4", 0, "<grace/>") + note("E4", 1)], "", "0:60+1 1/2:62+1/2 1:64+1", id="grace_in_haste"
        ),
        pytest.param(
            [C4 + note("E4", 0, "<grace/>", TIE_START) + note("E4", 4, TIE_STOP)],
            "",
            "0:60+4 3:64+5",
            id="grace_tied_to_its_note",
        ),
        pytest.param([C4 + note("D4", 0, "<grace/>"), C4], "", "0:60+4 3:62+1 4:60+4", id="grace_at_the_end_of_a_bar"),
    ],
)
def test_notes_of_a_part(measures: list[str], attributes: str, expected: str) -> None:
    assert shown(score(part(*measures, attributes=attributes))) == expected


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
    assert " ".join(str(note.key) for note in notes_of(events_of(score(part(*measures)), ".musicxml"))) == expected


def test_repeated_measures_with_their_notes_are_read() -> None:
    assert shown(score(part(C4, REPEATED + C4))) == "0:60+4 4:60+4"


def test_part_that_lacks_measures_in_time_wise_music_stays_in_place() -> None:
    divisions = "<attributes><divisions>4</divisions></attributes>"
    first = f'<measure><part id="A">{divisions}{C4}</part></measure>'
    second = f'<measure><part id="A">{C4}</part><part id="B">{divisions}{note("E4")}</part></measure>'
    assert shown(f"<score-timewise>{first}{second}</score-timewise>") == "0:60+4 4:60+4 4:64+4"


def test_namespaces_do_not_matter() -> None:
    assert shown(score(part(C4)).replace("<score-partwise>", '<score-partwise xmlns="urn:x">')) == "0:60+4"


@pytest.mark.parametrize(
    ("direction", "tempo_us"),
    [
        ('<sound tempo="90"/>', [666_667]),
        ('<direction><sound tempo="90.5"/></direction>', [662_983]),
        ("<metronome><beat-unit>half</beat-unit><per-minute>60</per-minute></metronome>", [500_000]),
        ("<metronome><beat-unit>quarter</beat-unit><beat-unit-dot/><per-minute>c. 80</per-minute></metronome>", [500_000]),
        ("<metronome><beat-unit>quarter</beat-unit><beat-unit>half</beat-unit></metronome>", []),
        ('<sound tempo="0"/>', []),
        ('<sound tempo="x"/>', []),
        ('<sound tempo="1"/>', []),
    ],
)
def test_tempo_of_a_mark_in_any_part(direction: str, tempo_us: list[int]) -> None:
    if direction.startswith("<metronome"):
        direction = f"<direction><direction-type>{direction}</direction-type></direction>"
    events = events_of(score(part(C4), part(C4 + direction + C4)), ".musicxml")
    assert events.tempos["tempo_us"].tolist() == tempo_us
    assert steps_of(events.tempos["tick"], events) == [4] * len(tempo_us)


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
        ("<direction><direction-type><words>D.C. al Fine</words></direction-type></direction>", [60, 62, 64, 60]),
        ("<direction><direction-type><words>Da</words><words>Capo</words></direction-type></direction>", [60, 62, 64, 60]),
        ('<direction><sound dacapo="yes"/></direction>', [60, 62, 64, 60]),
        ('<sound dacapo="no"/>', [60, 62, 64]),
        ('<barline location="right"><repeat direction="backward" times="3"/></barline>', [60, 62, 64] * 3),
    ],
)
def test_signs_and_words_for_the_order_of_bars(last_measure: str, expected: list[int]) -> None:
    fine = "<direction><direction-type><words>Fine</words></direction-type></direction>"
    notes = notes_of(events_of(score(part(C4 + fine, note("D4"), note("E4") + last_measure)), ".musicxml"))
    assert [note.key for note in notes] == expected


def rejection_of(data: str | bytes) -> Rejection:
    """Why a score cannot be read."""
    try:
        (rejection,) = read_score(data.encode() if isinstance(data, str) else data, ".musicxml")
    except Rejection as error:
        return error
    assert isinstance(rejection, Rejection)
    return rejection


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("<opus/>", "the root element is <opus>, expected <score-partwise> or <score-timewise>"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "the encoding klingon is unknown; convert the file to UTF-8"),
        (zipped(a_xml="<a/>", b_xml="<b/>"), "2 scores and no META-INF/container.xml that names one of them; expected one score"),
        (
            zipped(**{"META-INF__container_xml": container('full-path="x.xml"')}),
            "META-INF/container.xml names x.xml, which is not in",
        ),
        (zipped(**{"META-INF__container_xml": container()}), "META-INF/container.xml names no file"),
        (score(part(C4, attributes="<transpose><chromatic>0</chromatic><double/></transpose>")), "a part doubled at the octave"),
        (
            score(part(C4 + '<barline location="middle"><repeat direction="backward"/></barline>')),
            "measure 1 has a repeat sign in its",
        ),
        (score(f"<measure>{C4}</measure>"), "measure 1: a duration without <divisions>"),
        (score(part(C4, C4 + backup(6) + C4)), "measure 2: a backup of 3/2 quarter notes at 1, before the start of the measure"),
        (score(part(C4, REPEATED + note("r"))), "measure 2: a sign repeats music whose notes are not written"),
        (
            score(part(C4, REPEATED.replace("measure-repeat", "beat-repeat"))),
            "measure 2: a sign repeats music whose notes are not written",
        ),
        (score(part(note("C4", attributes=' time-only="1"'))), "measure 1: a note is played in some of its repetitions only"),
        (
            score(part(C4 + "<direction><direction-type><words>D.C. al Fine</words></direction-type></direction>")),
            "bar 1 returns al Fine, and there is no Fine",
        ),
        (score(part(C4 + '<sound dalsegno="x"/>')), "bar 1 has a D.S., and there is no segno"),
        (score(part(C4 + "<direction><direction-type><words>Menuet D.C.</words></direction-type></direction>")), "'Menuet D.C.'"),
    ],
)
def test_score_in_doubt_is_rejected(data: str | bytes, message: str) -> None:
    rejection = rejection_of(data)
    assert rejection.reason is Reason.BAD_SCORE
    assert message in str(rejection)


def test_compressed_score_that_expands_to_gigabytes_is_too_large() -> None:
    assert rejection_of(zipped(score_xml=b"<a>" + bytes(20_000_000))).reason is Reason.TOO_LARGE


def test_repeats_without_bound_are_too_long() -> None:
    repeat = '<barline location="right"><repeat direction="backward" times="{}"/></barline>'
    assert rejection_of(score(part(C4 + repeat.format(999_999_999)))).reason is Reason.TOO_LONG
    assert rejection_of(score(part(C4 * 2_000 + repeat.format(9_999)))).reason is Reason.TOO_LONG


def test_grace_notes_of_a_voice_keep_their_order_across_other_voices_and_bar_lines() -> None:
    voices = [f"<voice>{number}</voice>" for number in (1, 2)]
    graces = [note(pitch, 0, voices[0], "<grace/>") for pitch in ("D4", "E4", "F4")]
    first = note("C4", 8, voices[0]) + graces[0] + graces[1] + backup(8) + note("C3", 8, voices[1])
    assert shown(score(part(first, graces[2] + note("G4", 4, voices[0])))) == "0:48+8 0:60+8 5:62+1 6:64+1 7:65+1 8:67+4"


def test_silent_notes_are_counted_once_for_each_play() -> None:
    cue = note("r", 4, "<cue/>") + note("D4", 4, "<cue/>") + note("E4", 4, "<cue/>", "<grace/>")
    data = score(part(C4 + cue + note("C4", attributes=' dynamics="0"') + '<barline><repeat direction="backward"/></barline>'))
    events = events_of(data, ".musicxml")
    assert (events.notes_silent, events.notes_lost) == (6, 0)


@pytest.mark.parametrize(
    ("duration", "note_type", "expected"),
    [
        (6, "<type>quarter</type><dot/>", "0:60+6"),
        (
            2,
            "<type>eighth</type>"
            + "<time-modification><actual-notes>3</actual-notes><normal-notes>2</normal-notes></time-modification>",
            "0:60+4/3",
        ),
        (480, "<type>half</type>", "0:60+8"),
    ],
)
def test_type_of_a_note_gives_the_divisions_where_the_part_does_not(duration: int, note_type: str, expected: str) -> None:
    assert shown(score(f"<measure>{note('C4', duration, note_type)}</measure>")) == expected


@pytest.mark.parametrize(
    ("programs", "is_silent"),
    [
        (["MuseScore 2.3.2"], False),
        (["Finale v25 for Mac", "MuseScore 3.6.2"], False),
        (["MuseScore 4.0.2"], True),
        (["MuseScore Studio 4.4.3"], True),
        (["Finale 2014 for Windows", "Dolet Light for Finale 2014"], True),
        ([], True),
    ],
)
def test_notes_that_old_versions_of_musescore_mark_as_cue_notes_sound(programs: list[str], is_silent: bool) -> None:
    """These versions mark small notes, such as those of a cadenza, and only the first note of a chord."""
    small = note("D4", 4, "<cue/>") + note("F4", 4, "<chord/>")
    data = encoded_by(score(part(C4 + small)), *programs)
    assert shown(data) == ("0:60+4 4:65+4" if is_silent else "0:60+4 4:62+4 4:65+4")
    assert events_of(data, ".musicxml").notes_silent == is_silent


@pytest.mark.parametrize("kind", ["ossia", "cue", "alternate"])
def test_staves_with_an_alternative_or_cue_notes_are_silent_up_to_a_change_of_their_type(kind: str) -> None:
    def of_type(name: str) -> str:
        return f'<attributes><staff-details number="2"><staff-type>{name}</staff-type></staff-details></attributes>'

    data = score(part(of_type(kind) + C4 + note("E4", 4, STAFF_2), of_type("regular") + note("E4", 4, STAFF_2)))
    assert shown(data) == "0:60+4 8:64+4"
    assert events_of(data, ".musicxml").notes_silent == 1


def test_repeats_are_played_after_a_jump_where_the_sign_says_so() -> None:
    repeat = '<barline><repeat direction="backward"{}/></barline>'
    jump = '<sound dacapo="yes"/>'
    for attribute, expected in (("", [0, 0, 1, 0, 1]), (' after-jump="yes"', [0, 0, 1, 0, 0, 1])):
        parsed = read_musicxml(score(part(C4 + repeat.format(attribute), C4 + jump)).encode())
        assert order_of_bars(parsed) == expected


def test_notes_without_pitch_or_duration_are_counted_once_for_each_play() -> None:
    broken = "<note><pitch><step>C</step></pitch><duration>4</duration></note>"
    broken += "<note><pitch><step>C</step><octave>4</octave></pitch></note>"
    data = score(part(C4 + broken + '<barline><repeat direction="backward"/></barline>'))
    assert events_of(data, ".musicxml").notes_lost == 4
    assert shown(data) == "0:60+4 8:60+4"
