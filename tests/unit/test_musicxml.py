"""MusicXML: sounding pitch, voices, ties, grace notes, tempos, measures of any length, containers and encodings."""

import io
import unicodedata
import zipfile

import pytest

from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.score_reader import read_score
from pianogen.midi.scores.bar_order import order_of_bars
from pianogen.midi.scores.musicxml import read_musicxml
from tests.support.score_events import events_of, notes_of, steps_of


def note(pitch: str, duration: int = 4, *children: str, attributes: str = "") -> str:
    """A note such as "C4" or "B-3", "r" for a rest, or "x" without a pitch, with more children in front of its pitch."""
    names = {"r": "<rest/>", "x": "<unpitched/>"}
    alter = {"-": "<alter>-1</alter>", "#": "<alter>1</alter>"}.get(pitch[1:2], "")
    shown = names.get(pitch) or f"<pitch><step>{pitch[0]}</step>{alter}<octave>{pitch[-1]}</octave></pitch>"
    first = "".join(child for child in children if child.startswith(("<grace", "<cue", "<chord")))
    rest = "".join(child for child in children if not child.startswith(("<grace", "<cue", "<chord")))
    length = "" if "<grace/>" in children else f"<duration>{duration}</duration>"
    return f"<note{attributes}>{first}{shown}{length}{rest}</note>"


def backup(duration: int) -> str:
    return f"<backup><duration>{duration}</duration></backup>"


def part(*measures: str, attributes: str = "") -> str:
    """A part with 4 divisions per quarter note, so that durations are sixteenth notes."""
    start = f"<attributes><divisions>4</divisions>{attributes}</attributes>"
    return "".join(f"<measure>{start if index == 0 else ''}{measure}</measure>" for index, measure in enumerate(measures))


def score(*parts: str) -> str:
    return (
        "<score-partwise>"
        + "".join(f'<part id="P{index}">{text}</part>' for index, text in enumerate(parts))
        + "</score-partwise>"
    )


def encoded_by(data: str, *programs: str) -> str:
    """A score that programs have written."""
    software = "".join(f"<software>{program}</software>" for program in programs)
    return data.replace("<part ", f"<identification><encoding>{software}</encoding></identification><part ", 1)


def shown(data: str | bytes, suffix: str = ".musicxml") -> str:
    """The notes as start:key+length, in sixteenth notes."""
    notes = notes_of(events_of(data, suffix))
    return " ".join(f"{start}:{'drum' if key is None else key}+{length}" for start, key, length in notes)


def transpose(chromatic: int, octaves: int = 0, staff: str = "") -> str:
    return f"<transpose{staff}><chromatic>{chromatic}</chromatic><octave-change>{octaves}</octave-change></transpose>"


TIE_START, TIE_STOP = '<tie type="start"/>', '<tie type="stop"/>'
STAFF_2 = "<staff>2</staff>"
C4 = note("C4")
BACKWARD = '<barline location="left"><repeat direction="backward"/></barline>'
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


def test_bars_of_all_parts_start_together_and_the_longest_part_decides() -> None:
    data = score(part(C4, C4), part(note("C3", 8), note("C3", 8)))
    assert shown(data) == "0:48+8 0:60+4 8:48+8 8:60+4"
    assert steps_of(events_of(data, ".xml").meters["tick"], events_of(data, ".xml")) == [0, 8]


@pytest.mark.parametrize(("excess", "second"), [(0, 16), (119, 16), (120, 17)])
def test_rounded_durations_do_not_make_a_bar_longer_than_its_time_signature(excess: int, second: int) -> None:
    divisions = "<attributes><divisions>480</divisions></attributes>"
    data = score(part(divisions + note("C4", 1920 + excess), C4))
    assert steps_of(events_of(data, ".xml").meters["tick"], events_of(data, ".xml")) == [0, second]


@pytest.mark.parametrize("filling", ["rest", "forward"])
@pytest.mark.parametrize(("time", "second"), [("", 16), ("<time><beats>7</beats><beat-type>4</beat-type></time>", 25)])
def test_what_is_invisible_does_not_make_a_bar_longer_than_its_time_signature(filling: str, time: str, second: int) -> None:
    """MuseScore completes unfinished tuplets with invisible rests, beyond the end of the measure."""
    rest = {"rest": note("r", 9, attributes=' print-object="no"'), "forward": "<forward><duration>9</duration></forward>"}
    data = score(part(note("C4", 16) + rest[filling], C4, attributes=time))
    assert steps_of(events_of(data, ".xml").meters["tick"], events_of(data, ".xml")) == [0, second]


FULL_REST = '<note><rest measure="yes"/><duration>{}</duration></note>'


@pytest.mark.parametrize(
    ("time", "rest", "second"),
    [
        pytest.param((3, 4), FULL_REST.format(16), 12, id="measure_rest"),
        pytest.param((6, 8), note("r", 16), 12, id="rest_without_a_mark"),
        pytest.param((4, 4), note("r", 24, "<type>whole</type>"), 16, id="rest_in_a_longer_duration"),
        pytest.param((3, 4), "<direction/>" + note("r", 16) + "<direction/>" + backup(16) + note("r", 16), 12, id="two_voices"),
        pytest.param((3, 4), C4 * 3 + backup(12) + note("r", 16), 12, id="rest_beside_notes"),
        pytest.param((4, 4), FULL_REST.format(12), 12, id="shorter_rest"),
        pytest.param((3, 4), note("r", 4) + note("r", 12), 16, id="later_rest"),
        pytest.param((3, 4), note("r", 12) + C4, 16, id="note_after_the_rest"),
    ],
)
@pytest.mark.parametrize("num_parts", [1, 2])
def test_rest_from_the_start_does_not_make_a_bar_longer_than_its_time_signature(
    time: tuple[int, int], rest: str, second: int, num_parts: int
) -> None:
    """Programs write the rest of a complete measure with the duration of a whole note in every meter."""
    signature = "<time><beats>{}</beats><beat-type>{}</beat-type></time>".format(*time)
    data = score(*[part(rest, C4, attributes=signature)] * num_parts)
    events = events_of(data, ".musicxml")
    assert steps_of(events.meters["tick"], events) == [0, second]


def test_rest_of_a_complete_measure_shows_the_length_of_an_irregular_one_of_musescore() -> None:
    data = score(part(FULL_REST.format(20), C4), part(C4, C4))
    assert shown(data) == "0:60+4 16:60+4 16:60+4"
    assert shown(encoded_by(data, "MuseScore 4.0.2")) == "0:60+4 20:60+4 20:60+4"


@pytest.mark.parametrize(("duration", "third"), [(8, 24), (24, 32)])
def test_incomplete_measure_of_rests_has_their_length_up_to_the_time_signature(duration: int, third: int) -> None:
    first = f"<measure><attributes><divisions>4</divisions></attributes>{note('C4', 16)}</measure>"
    incomplete = "<measure implicit='yes'>{}</measure>"
    forward = "<forward><duration>4</duration></forward>"
    rests = first + incomplete.format(FULL_REST.format(duration)) + incomplete.format(note("D4", 8))
    others = first + incomplete.format(forward) + incomplete.format(note("E4", 8))
    assert shown(score(rests, others)) == f"0:60+16 0:60+16 {third}:62+8 {third}:64+8"


def test_pickup_is_not_filled_up_by_invisible_rests_of_another_part() -> None:
    forward = "<forward><duration>12</duration></forward>"
    pickup = f"<measure implicit='yes'><attributes><divisions>4</divisions></attributes>{C4}"
    data = score(f"{pickup}</measure><measure>{C4}{forward}</measure><measure>{C4}</measure>", f"{pickup}{forward}</measure>")
    assert shown(data) == "0:60+4 0:60+4 4:60+4 20:60+4"


def test_measure_without_content_has_the_length_of_the_time_signature() -> None:
    time = "<time><beats>3+2</beats><beat-type>8</beat-type></time>"
    assert shown(score(part("", C4, attributes=time))) == "10:60+4"


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


def zipped(**members: str | bytes) -> bytes:
    """A zip archive; __ in a name is a slash, and _xml at its end the suffix."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return packed.getvalue()


def container(*root_files: str) -> str:
    return "<container><rootfiles>" + "".join(f"<rootfile {file}/>" for file in root_files) + "</rootfiles></container>"


MEDIA_TYPE = 'media-type="application/vnd.recordare.musicxml+xml"'


def test_container_names_the_score() -> None:
    other = score(part(note("D4")))
    names = container('full-path="other.xml" media-type="text/xml"', f'full-path="score.xml" {MEDIA_TYPE}')
    data = zipped(other_xml=other, score_xml=score(part(C4)), **{"META-INF__container_xml": names})
    assert shown(data, ".mxl") == "0:60+4"


@pytest.mark.parametrize(
    "root_files",
    [
        ['full-path="a__score.xml"'],
        ['full-path="./a__score.xml"'],
        ['full-path="a\\score.xml"'],
        ['full-path="score.pdf"', 'full-path="a__score.xml"'],
        ['full-path="b.xml"', 'full-path="a__score.xml" media-type="application/vnd.recordare.musicxml"'],
    ],
)
def test_container_names_the_score_in_the_forms_that_programs_write(root_files: list[str]) -> None:
    files: dict[str, str | bytes] = {"a__score_xml": score(part(C4)), "b_xml": score(part(note("D4"))), "score.pdf": "%PDF"}
    files["META-INF__container_xml"] = container(*(file.replace("__", "/") for file in root_files))
    assert shown(zipped(**files), ".mxl") == "0:60+4"


NFC, NFD = (unicodedata.normalize(form, "Für Elise.xml") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("has_other_score", [False, True])
@pytest.mark.parametrize(
    ("listed", "stored", "has_utf8_flag"),
    [
        (NFC, NFC.encode(), True),
        (NFC, NFC.encode(), False),
        (NFC, NFD.encode(), True),
        (NFD, NFC.encode(), False),
        (NFC, NFC.encode("cp437"), False),
        ("a/score.xml", b"a\\score.xml", False),
        ("a\\score.xml", b"./a/score.xml", False),
    ],
)
def test_names_of_container_and_members_are_compared_in_one_form(
    listed: str, stored: bytes, has_utf8_flag: bool, has_other_score: bool
) -> None:
    other = {"other_xml": score(part(note("D4")))} if has_other_score else {}
    data = with_name(stored, has_utf8_flag, **{"META-INF__container_xml": container(f'full-path="{listed}"')}, **other)
    assert shown(data, ".mxl") == "0:60+4"


def with_name(name: bytes, has_utf8_flag: bool, **members: str | bytes) -> bytes:
    """A compressed score with a member of this name, and other members."""
    placeholder = "é" * (len(name) // 2) + "x" * (len(name) % 2) if has_utf8_flag else "x" * len(name)
    data = zipped(**members, **{placeholder: score(part(C4))})
    assert data.count(placeholder.encode()) == 2
    return data.replace(placeholder.encode(), name)


@pytest.mark.parametrize("listed", ["Für Elise.xml", "score.xml"])
def test_only_score_is_read_if_the_container_names_no_member(listed: str) -> None:
    names = container(f'full-path="{listed}"')
    for has_utf8_flag in (False, True):
        data = with_name("Für Elis.xml".encode("latin-1"), has_utf8_flag, **{"META-INF__container_xml": names})
        assert shown(data, ".mxl") == "0:60+4"


def test_container_is_read_if_its_name_has_a_backslash() -> None:
    files = {"META-INF\\container_xml": container('full-path="b.xml"'), "a_xml": score(part(note("D4")))}
    assert shown(zipped(**files, b_xml=score(part(C4))), ".mxl") == "0:60+4"


def test_file_of_macos_beside_the_only_score_is_not_a_score() -> None:
    assert shown(zipped(score_xml=score(part(C4)), **{"._score_xml": bytes(9)}), ".mxl") == "0:60+4"


def test_empty_line_before_the_xml_declaration_does_not_matter() -> None:
    assert shown('\n<?xml version="1.0" encoding="UTF-8"?>' + score(part(C4))) == "0:60+4"


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16", "utf-16-be"),
        ("UTF-16", "utf-8"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "shift_jis"),
    ],
)
def test_encoding_is_that_of_the_bytes_or_the_declared_one(declared: str, encoding: str) -> None:
    title = "三味線" if declared == "Shift_JIS" else "Prélude"
    text = f'<?xml version="1.0" encoding="{declared}"?>' + score(part(C4)).replace(
        "><part", f"><movement-title>{title}</movement-title><part", 1
    )
    assert shown(text.encode(encoding)) == "0:60+4"
    assert shown(zipped(score_xml=text.encode(encoding)), ".mxl") == "0:60+4"


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
