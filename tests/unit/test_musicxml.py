"""MusicXML: sounding pitch, voices, ties, grace notes, silent notes, and scores in doubt."""

import pytest

from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.score_reader import read_score
from tests.support.musicxml import C4, backup, container, encoded_by, note, part, score, shown, zipped
from tests.support.score_events import events_of


def transpose(chromatic: int, octaves: int = 0, staff: str = "") -> str:
    return f"<transpose{staff}><chromatic>{chromatic}</chromatic><octave-change>{octaves}</octave-change></transpose>"


def direction(*types: str) -> str:
    """A direction of words and signs."""
    shown_types = (text if text.startswith("<") else f"<words>{text}</words>" for text in types)
    return "<direction>" + "".join(f"<direction-type>{text}</direction-type>" for text in shown_types) + "</direction>"


TIE_START, TIE_STOP = '<tie type="start"/>', '<tie type="stop"/>'
DA_CAPO = '<sound dacapo="yes"/>'
STAFF_2 = "<staff>2</staff>"
PERCUSSION_2 = '<attributes><clef number="2"><sign>percussion</sign></clef></attributes>'
ALTERED = C4.replace("</step>", "</step><alter>{}</alter>")
REPEATED = '<attributes><measure-style{}><measure-repeat type="{}">1</measure-repeat></measure-style></attributes>'
FROM_HERE, UP_TO_HERE = REPEATED.format("", "start"), REPEATED.format("", "stop")


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
        pytest.param(
            [C4, f"<attributes>{transpose(0)}</attributes>" + C4],
            transpose(-2, 0, ' number="1"'),
            "0:58+4 4:60+4",
            id="all_staves",
        ),
        pytest.param(
            [C4 + f"<attributes>{transpose(-9)}</attributes>" + C4 + backup(8) + note("C3") + note("C3")],
            transpose(-2),
            "0:46+4 0:58+4 4:39+4 4:51+4",
            id="change_of_instrument_in_two_voices",
        ),
        pytest.param([ALTERED.format("+1") + ALTERED.format("")], "", "0:61+4 4:60+4", id="sign_of_a_number"),
        pytest.param([note("C4", 4, "<cue/>") + C4], "", "4:60+4", id="cue_note"),
        pytest.param([note("C4", attributes=' dynamics="0"') + C4], "", "4:60+4", id="silent_note"),
        pytest.param([note("C4", attributes=' print-object="no"')], "", "0:60+4", id="invisible_note"),
        pytest.param([note("x") + C4], "", "0:drum+4 4:60+4", id="unpitched"),
        pytest.param([C4], "<clef><sign>percussion</sign></clef>", "0:drum+4", id="percussion_clef"),
        pytest.param([C4], "<clef><sign>\n percussion\n</sign></clef>", "0:drum+4", id="percussion_clef_with_white_space"),
        pytest.param(
            [C4 + note("C4", 4, "<staff/>")], "<clef><sign>percussion</sign></clef>", "0:drum+4 4:drum+4", id="no_staff"
        ),
        pytest.param(
            [C4 + PERCUSSION_2 + C4 + backup(8) + note("C3", 4, STAFF_2) * 2],
            "",
            "0:48+4 0:60+4 4:60+4 4:drum+4",
            id="percussion_clef_after_a_note_of_the_staff",
        ),
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
    "measures",
    [
        [C4, FROM_HERE + C4],
        [C4, FROM_HERE + C4 + UP_TO_HERE],
        [C4 + FROM_HERE, C4 + UP_TO_HERE + note("r")],
        [C4, REPEATED.format(' number="2"', "start") + note("r") + backup(4) + note("C4", 4, STAFF_2)],
        [C4, REPEATED.format(' number="2"', "start") + UP_TO_HERE + C4],
    ],
)
def test_repeated_measures_with_their_notes_are_read(measures: list[str]) -> None:
    assert shown(score(part(*measures))) == "0:60+4 4:60+4"


def test_part_that_lacks_measures_in_time_wise_music_stays_in_place() -> None:
    divisions = "<attributes><divisions>4</divisions></attributes>"
    first = f'<measure><part id="A">{divisions}{C4}</part></measure>'
    second = f'<measure><part id="A">{C4}</part><part id="B">{divisions}{note("E4")}</part></measure>'
    assert shown(f"<score-timewise>{first}{second}</score-timewise>") == "0:60+4 4:60+4 4:64+4"


def test_namespaces_do_not_matter() -> None:
    assert shown(score(part(C4)).replace("<score-partwise>", '<score-partwise xmlns="urn:x">')) == "0:60+4"


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
        (score(part(C4, C4 + "<backup>4</backup>" + C4)), "measure 2: a backup without a duration; add <duration> to it"),
        (score(part(C4 + "<forward><duration>x</duration></forward>" + C4)), "measure 1: a forward without a duration"),
        (score(part(C4 + "<note><rest/></note>" + C4)), "measure 1: a rest without a duration"),
        (score(part(C4 + backup(-4) + C4)), "measure 1: a backup without a duration"),
        (score(part(C4, FROM_HERE + note("r"))), "measure 2: a sign repeats music whose notes are not written"),
        (
            score(part(C4, FROM_HERE.replace("measure-repeat", "beat-repeat"))),
            "measure 2: a sign repeats music whose notes are not written",
        ),
        (score(part(C4, FROM_HERE + note("r") + UP_TO_HERE)), "measure 2: a sign repeats music whose notes are not written"),
        (score(part(C4 + FROM_HERE + note("r") + UP_TO_HERE)), "measure 1: a sign repeats music whose notes are not written"),
        (score(part(C4, REPEATED.format(' number="2"', "start") + C4)), "measure 2: a sign repeats music whose notes are not"),
        (score(part(C4 + '<sound tempo="60" time-only="2"/>')), "measure 1: a tempo or jump holds in some repetitions only"),
        (score(part(C4 + '<sound tocoda="" time-only="2"/>')), "measure 1: a tempo or jump holds in some repetitions only"),
        (
            score(
                part(C4, C4).replace("<measure>", '<measure number="0">', 1),
                part(C4).replace("<measure>", '<measure number="1">'),
            ),
            "measure 1 has the numbers 0 and 1 in different parts; give all parts the same measures",
        ),
        (score(part(C4)).replace("<measure>", '<measure non-controlling="yes">'), "the measures of the parts do not coincide"),
        (score(part(note("C4", attributes=' time-only="1"'))), "measure 1: a note is played in some of its repetitions only"),
        (
            score(part(C4 + "<direction><direction-type><words>D.C. al Fine</words></direction-type></direction>")),
            "bar 1 returns al Fine, and there is no Fine",
        ),
        (
            score(part(f"<direction><direction-type><words>D.C. al Fine</words></direction-type>{DA_CAPO}</direction>" + C4)),
            "bar 1 returns al Fine, and there is no Fine",
        ),
        (
            score(part(C4 + direction("D.C. al Fine").replace("</direction>", '<sound dacapo="yes"/></direction>'))),
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


def test_type_of_a_note_or_rest_gives_the_duration_where_it_is_missing() -> None:
    dotted = "<note><rest/><type>quarter</type><dot/></note>"
    typed = "<note><pitch><step>D</step><octave>4</octave></pitch><type>eighth</type></note>"
    whole_measure = '<note><rest measure="yes"/></note>'
    assert shown(score(part(C4 + dotted + typed + C4, whole_measure, C4))) == "0:60+4 10:62+2 12:60+4 32:60+4"


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
    data = score(part(C4 + of_type(kind) + backup(4) + note("E4", 4, STAFF_2) * 2))
    assert shown(data) == "0:60+4 0:64+4"
    assert events_of(data, ".musicxml").notes_silent == 1


def test_slashes_which_show_rhythms_are_silent() -> None:
    def slashes(kind: str, number: str = "") -> str:
        return f'<attributes><measure-style{number}><slash type="{kind}"/></measure-style></attributes>'

    slash = note("B4", 4, "<notehead>slash</notehead>")
    slashed = note("D4", 4, '<notehead parentheses="no">slashed</notehead>')  # a note with a pitch, such as an acciaccatura
    data = score(part(C4 + slash + slashed))
    assert (shown(data), events_of(data, ".musicxml").notes_silent) == ("0:60+4 8:62+4", 1)
    data = score(part(slashes("start") + note("B4", 4), note("B4", 4) + slashes("stop") + C4))
    assert (shown(data), events_of(data, ".musicxml").notes_silent) == ("8:60+4", 2)
    data = score(part(slashes("start", ' number="2"') + C4 + note("B2", 4, STAFF_2)))
    assert (shown(data), events_of(data, ".musicxml").notes_silent) == ("0:60+4", 1)


def harmonic(*pitches: str) -> str:
    """Elements of a harmonic, of which one or several of base-pitch, touching-pitch and sounding-pitch are marked."""
    marks = "".join(f"<{pitch}-pitch/>" for pitch in pitches)
    return f"<notations><technical><harmonic><artificial/>{marks}</harmonic></technical></notations>"


def test_harmonic_with_its_sounding_pitch_is_silent_at_the_others() -> None:
    """The note of the sounding pitch is often invisible."""
    played = note("C4", 4, harmonic("base")) + note("F4", 4, "<chord/>", harmonic("touching"))
    sounding = note("C6", 4, "<chord/>", harmonic("sounding"), attributes=' print-object="no"')
    data = score(part(played + sounding + C4 + played))
    assert shown(data) == "0:84+4 4:60+4 8:60+4 8:65+4"
    assert events_of(data, ".musicxml").notes_silent == 2


def test_notes_without_pitch_or_duration_are_counted_once_for_each_play() -> None:
    broken = "<note><pitch><step>C</step></pitch><duration>4</duration></note>"
    broken += "<note><pitch><step>C</step><octave>4</octave></pitch></note>"
    broken += ALTERED.format("sharp")
    data = score(part(C4 + broken + '<barline><repeat direction="backward"/></barline>'))
    assert events_of(data, ".musicxml").notes_lost == 6
    assert shown(data) == "0:60+4 12:60+4"
