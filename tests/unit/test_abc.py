"""ABC tunes: every notation with a meaning for the sound is read, or its tune is rejected by name and the others are kept."""

import pytest

from pianogen.midi.events import Events
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.score_reader import read_score
from tests.support.score_events import events_of, notes_of, steps_of

HEADER = "X:1\nM:4/4\nL:1/4\nK:C\n"


def shown(events: Events) -> str:
    """The notes as start:key+length, in sixteenth notes."""
    return " ".join(f"{start}:{'drum' if key is None else key}+{length}" for start, key, length in notes_of(events))


def keys(text: str) -> list[int | None]:
    return [note.key for note in notes_of(events_of(text, ".abc"))]


@pytest.mark.parametrize(
    ("music", "expected"),
    [
        pytest.param("C/ D// E3/2 F/4 z", "0:60+2 2:62+1 3:64+6 9:65+1", id="lengths"),
        pytest.param("C,, c' C", "0:36+4 4:84+4 8:60+4", id="octaves"),
        pytest.param("C>>D E<F", "0:60+7 7:62+1 8:64+2 10:65+6", id="broken_rhythm"),
        pytest.param('C"^slow">D (E>)F', "0:60+6 6:62+2 8:64+6 14:65+2", id="broken_rhythm_after_other_signs"),
        pytest.param("C{DE}>F C{D}<F", "0:60+6 4:62+1 5:64+1 6:65+2 8:60+2 9:62+1 10:65+6", id="broken_rhythm_after_grace_notes"),
        pytest.param("(3CDE (3:2:2F2G", "0:60+8/3 8/3:62+8/3 16/3:64+8/3 8:65+16/3 40/3:67+8/3", id="tuplets"),
        pytest.param("(10:8:3 CC C2 D", "0:60+16/5 16/5:60+16/5 32/5:60+32/5 64/5:62+4", id="tuplet_of_ten"),
        pytest.param("(1:2:2 C D E", "0:60+8 8:62+8 16:64+4", id="tuplet_of_one"),
        pytest.param("[CE]2 [C2E]", "0:60+8 0:64+8 8:60+8 8:64+4", id="chords"),
        pytest.param('[!f!C"A"E.G]', "0:60+4 0:64+4 0:67+4", id="decorations_and_texts_in_a_chord"),
        pytest.param('["a|b]"CE]', "0:60+4 0:64+4", id="text_with_a_bracket_in_a_chord"),
        pytest.param("[C-E]C", "0:60+8 0:64+4", id="tie_of_one_note_of_a_chord"),
        pytest.param("[CE]-|[CE]", "0:60+8 0:64+8", id="tie_of_a_chord_across_the_bar"),
        pytest.param("^C-_D", "0:61+8", id="tie_of_one_key_with_two_names"),
        pytest.param("^C-|C C", "0:61+8 8:60+4", id="tied_note_keeps_its_accidental_and_others_do_not"),
        pytest.param("C-D C", "0:60+4 4:62+4 8:60+4", id="tie_to_another_pitch_is_none"),
        pytest.param("^C-|Z|C", "0:61+4 20:60+4", id="rest_of_a_bar_ends_a_tie"),
        pytest.param("C & ^F- | C | C & F", "0:60+4 0:66+4 4:60+4 8:60+4 8:65+4", id="bar_without_the_overlay_ends_its_tie"),
        pytest.param("C2 & E3 | G | A", "0:60+8 0:64+12 12:67+4 16:69+4", id="overlay"),
        pytest.param("[K:G]F [L:1/8]F [M:3/4][K:C]F", "0:66+4 4:66+2 6:65+2", id="inline_fields"),
        pytest.param("C Z D", "0:60+4 20:62+4", id="rest_of_a_bar"),
        pytest.param('"Am"C !trill!D .E ~F\\', "0:60+4 4:62+4 8:64+4 12:65+4", id="chord_symbols_and_decorations"),
        pytest.param("C\nw: la\nD", "0:60+4 4:62+4", id="lyrics"),
        pytest.param("C\nw: l\u2028a\x85b\nD", "0:60+4 4:62+4", id="lyrics_with_line_separators"),
        pytest.param("C\n%%begintext\nCDE | EDC\n%%endtext\nD", "0:60+4 4:62+4", id="block_of_text"),
        pytest.param("+trill+C +ff+D", "0:60+4 4:62+4", id="old_decorations"),
        pytest.param("[K:treble-8]C [K:G treble-8]C [K:treble]C", "0:48+4 4:48+4 8:60+4", id="clef_holds_up_to_the_next_clef"),
        pytest.param("[K:perc]C [K:treble]C", "0:drum+4 4:60+4", id="percussion_clef_holds_up_to_the_next_clef"),
        pytest.param("%%MIDI transpose 2\nC\n%%MIDI transpose 1\nC", "0:62+4 4:61+4", id="transpositions_do_not_add_up"),
        pytest.param("%%midi transpose 2\nC", "0:62+4", id="midi_in_small_letters"),
        pytest.param("[I:MIDI=transpose 2]C", "0:62+4", id="midi_with_an_equals_sign"),
        pytest.param("[I:MIDI program 1 MIDI transpose 2]C", "0:62+4", id="several_midi_commands"),
        pytest.param("%%MIDI program 1 % MIDI transpose 2\nC", "0:60+4", id="comment_after_a_midi_command"),
        pytest.param("%%MIDI nobarlines\n^C C\n%%MIDI barlines\n^C C", "0:61+4 4:60+4 8:61+4 12:61+4", id="midi_nobarlines"),
        pytest.param("%%MIDI channel 10\nC\n%%MIDI channel 1\nC", "0:drum+4 4:60+4", id="drum_channel"),
    ],
)
def test_music_is_read(music: str, expected: str) -> None:
    assert shown(events_of(HEADER + music, ".abc")) == expected


@pytest.mark.parametrize(
    ("graces", "expected"),
    [
        ("{DE}", "2:62+1 3:64+1"),
        ("{/D2>E/}-", "2:62+1 3:64+1"),
        ("{[DF]E}", "2:62+1 2:65+1 3:64+1"),
        ('{!f!D"A"uE}', "2:62+1 3:64+1"),
    ],
)
def test_grace_notes_are_before_their_main_note(graces: str, expected: str) -> None:
    assert shown(events_of(f"{HEADER}C{graces}F", ".abc")) == f"0:60+4 {expected} 4:65+4"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("C", [65, 67, 71]),
        ("G", [66, 67, 71]),
        ("F", [65, 67, 70]),
        ("Em", [66, 67, 71]),
        ("E minor", [66, 67, 71]),
        ("Ador", [66, 67, 71]),
        ("D mix", [66, 67, 71]),
        ("Gb", [65, 66, 70]),
        ("F#m", [66, 68, 71]),
        ("B flat major", [65, 67, 70]),
        ("F sharp minor", [66, 68, 71]),
        ("HP", [66, 67, 71]),
        ("none", [65, 67, 71]),
        ("", [65, 67, 71]),
        ("D exp _b", [65, 67, 70]),
        ("D explicit _b", [65, 67, 70]),
        ("D exp ^g =c", [65, 68, 71]),
        ("G =f ^g", [65, 68, 71]),
        ("D ^g =c", [66, 68, 71]),
        ("G =f^g", [65, 68, 71]),
        ("C ^f_b", [66, 67, 70]),
        ("Dmix=f_b", [65, 67, 70]),
        ("G_b", [66, 67, 70]),
        ("G treble =f", [65, 67, 71]),
        ("clef=bass", [65, 67, 71]),
        ("C transpose=-2", [63, 65, 69]),
        ("C treble-8", [53, 55, 59]),
        ("C octave=1", [77, 79, 83]),
    ],
)
def test_key_field_gives_accidentals_and_transposition(key: str, expected: list[int]) -> None:
    assert keys(f"X:1\nL:1/4\nK:{key}\nFGB") == expected


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("propagate-accidentals pitch", [66, 66, 78, 65]),
        ("propagate-accidentals octave", [66, 66, 77, 65]),
        ("propagate-accidentals not", [66, 65, 77, 65]),
        ("MIDI nobarlines", [66, 65, 77, 65]),
        ("MIDI barlines", [66, 66, 78, 65]),
    ],
)
def test_accidental_holds_in_its_scope_up_to_the_bar_line(directive: str, expected: list[int]) -> None:
    assert keys(f"X:1\nL:1/4\n%%{directive}\nK:C\n^FFf|F") == expected


def test_scope_of_accidentals_is_that_of_all_voices() -> None:
    text = "X:1\nM:2/4\nL:1/4\nK:C\nV:1\n^CC|\nV:2\n%%MIDI nobarlines\n^FF|\nV:1\n^CC|\n"
    assert shown(events_of(text, ".abc")) == "0:61+4 0:66+4 4:61+4 4:65+4 8:61+4 12:60+4"


@pytest.mark.parametrize(("meter", "length"), [("4/4", 2), ("2/4", 1), ("6/8", 2), ("C|", 2), ("none", 2), ("(2+3)/8", 1)])
def test_unit_length_without_l_follows_from_the_meter(meter: str, length: int) -> None:
    (note,) = notes_of(events_of(f"X:1\nM:{meter}\nK:C\nC", ".abc"))
    assert note.length == length


@pytest.mark.parametrize(
    ("tempo", "tempo_us"),
    [
        ("1/4=100", 600_000),
        ("120", 1_000_000),
        ('"Allegro" 3/8=80', 500_000),
        ("1/4 1/8=80", 500_000),
        ("C=60", 2_000_000),
        ("C3=60", 666_667),
        ("1/4=ca.60", 1_000_000),
        ("1/4=60-66", 1_000_000),
        ("1/4 = 60 (or more)", 1_000_000),
        ("C=c. 60", 2_000_000),
        ("60 - 66", 2_000_000),
    ],
)
def test_tempo_field(tempo: str, tempo_us: int) -> None:
    events = events_of(f"X:1\nL:1/8\nQ:{tempo}\nK:C\nC", ".abc")
    assert events.tempos["tempo_us"].tolist() == [tempo_us]


@pytest.mark.parametrize("tempo", ['"Allegro"', "1/4=1/8", "1/4", "2nd time", "1/8=C"])
def test_tempo_field_without_a_number_of_beats_is_no_tempo(tempo: str) -> None:
    assert not events_of(f"X:1\nL:1/8\nQ:{tempo}\nK:C\nC", ".abc").tempos.size


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("|:C|1 D:|2 E|]", "C D C E"),
        ("|:C|1 D:|2 E:|", "C D C E"),
        ("|:C [1 D:| [2 E|]", "C D C E"),
        ('|:C|1D:|2E"D.C."|F|', "C D C E C E F"),
        ("C|D:|E|F:|", "C D C D E F E F"),
        ("C::D:|", "C C D D"),
        ("|::C::|D|", "C C C D"),
        ("|:C|::|D:|", "C C D D"),
        ("|:C|[1,2 D:|[3 E|]", "C D C D C E"),
        ("C|D !fine!|E|!D.C.!|", "C D E C D"),
        ('C|"Fine"D|E|"D.C. al Fine"|', "C D E C D"),
        ('C|"^Fine"D|E|"_D.C. al Fine"|', "C D E C D"),
        ('C|["Fine"D]|[!D.C.alfine!E]|', "C D E C D"),
        ('C|"D/C"D|"(D/c)"E|"D/C#"F|', "C D E F"),
        ('C|"Fine"D|"D/C al Fine"E|', "C D E C D"),
        ('C|D"Fine">D|"D.C."E|', "C D D E C D D"),
        ("C|{!fine!}D|E|!D.C.!|", "C D E C D"),
        ('C|"@10,5 Fine"D|"@-1.5,+2D.C. al Fine"E|', "C D E C D"),
        ("C|SD|E !D.S.!|", "C D E D E"),
        ("C|D O|E !D.C.!|O F|", "C D E C D F"),
    ],
)
def test_bars_are_played_in_their_order(music: str, order: str) -> None:
    names = dict(zip((60, 62, 64, 65), "CDEF", strict=True))
    assert " ".join(names[key or 0] for key in keys(HEADER + music)) == order


@pytest.mark.parametrize(
    ("order", "body", "expected"),
    [
        ("A(BA)2", "P:A\nC|\nP:B\n|:D:|", [60, 62, 62, 60, 62, 62, 60]),
        ("ABA", "P:A\nC\nP:B\nD|\n", [60, 62, 60]),
        ("BAB", "P:A\n%%MIDI program 1\nP:B\nC|\n", [60, 60]),
        ("March", "C|D|", [60, 62]),
        ("Andante con moto", "C|\nP:Trio\nD|", [60, 62]),
    ],
)
def test_order_of_parts_is_obeyed(order: str, body: str, expected: list[int]) -> None:
    assert keys(f"X:1\nL:1/4\nP:{order}\nK:C\n{body}\n") == expected


def test_user_defined_symbols_that_concern_no_order_are_read() -> None:
    assert keys(HEADER + 'U:T = !trill!\nU:S = !segno!\nU:u = "^up"\nTC uD') == [60, 62]


@pytest.mark.parametrize(
    ("music", "message"),
    [
        ("E|\nP:A\nC|\nP:B\nD|", "the order of sections leaves out 1 of 3 bars, the first of them bar 1"),
        ("P:A\nC|\nP:B\nD|\nP:C\nE|", "the order of sections leaves out 1 of 3 bars, the first of them bar 3"),
        ("P:A\nC|\nP:B\nD|\nP:A\nE|", "line 10: the part A begins twice"),
    ],
)
def test_bars_that_the_order_of_parts_would_lose_are_an_error(music: str, message: str) -> None:
    (rejection,) = read_score(f"X:1\nM:4/4\nL:1/4\nP:AB\nK:C\n{music}".encode(), ".abc")
    assert isinstance(rejection, Rejection)
    assert message in str(rejection)


def test_voices_share_their_bars_and_each_has_its_own_key() -> None:
    text = "X:1\nM:2/4\nL:1/4\nV:1\nV:2 clef=bass transpose=-12\nK:C\nV:1\nCD|E2|\nV:2\nCC|[K:D]F2|\n"
    assert shown(events_of(text, ".abc")) == "0:48+4 0:60+4 4:48+4 4:62+4 8:54+8 8:64+8"


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("", ""),
        ("Q:1/4=100\n", ""),
        ("", "Q:1/4=100\n"),
        ("", "P:A\n"),
        ("V:1\nV:2\nQ:1/4=100\n", ""),
        ("", "[P:A][Q:1/4=100]\n"),
    ],
)
def test_fields_between_the_key_and_the_first_voice_concern_all_voices(header: str, fields: str) -> None:
    text = f"X:1\nM:4/4\n{header}K:C\n{fields}L:1/4\nK:D\nV:1\nF2|\nV:2\nC2|\n"
    assert shown(events_of(text, ".abc")) == "0:61+8 0:66+8"


def test_tempo_before_the_first_voice_is_that_of_the_first_bar() -> None:
    events = events_of("X:1\nL:1/4\nQ:1/4=60\nK:C\nQ:1/4=90\nV:1\nC|\nV:2\nE|\n", ".abc")
    assert events.tempos["tempo_us"].tolist() == [1_000_000, 666_667]
    assert steps_of(events.tempos["tick"], events) == [0, 0]


@pytest.mark.parametrize("space", [" ", "\t", " \t "])
def test_any_space_separates_a_voice_from_its_properties(space: str) -> None:
    text = f"X:1\nL:1/4\nV:1\nV:2{space}clef=bass{space}transpose=-12\nK:C\nV:1\nC|\nV:2{space}\nC|\n"
    assert shown(events_of(text, ".abc")) == "0:48+4 0:60+4"


@pytest.mark.parametrize(
    "properties",
    [
        'name="A | cdef" clef=bass',
        "middle=d bass",
        "stafflines=1 m=C mozart:noteC=snare-drum",
        "merge down",
        "C3 Tenor",
        "m = B,",
    ],
)
def test_property_without_a_meaning_for_the_sound_is_ignored(properties: str) -> None:
    assert keys(f"X:1\nL:1/4\nK:C\nV:1 {properties}\nC|\n") == [60]


def test_properties_of_a_voice_hold_once_however_often_they_are_written() -> None:
    for header in ("", "V:1 clef=treble-8\n", "K:C octave=0 treble-8\n"):
        text = f"X:1\nM:2/4\nL:1/4\n{header}K:C\nV:1 clef=treble-8\nC2|\nV:1 clef=treble-8\nD2|\n"
        assert shown(events_of(text, ".abc")) == "0:48+8 8:50+8"


def test_text_in_the_header_is_not_music() -> None:
    assert shown(events_of("X:1\nH:Found in\na bag of feed\nL:1/4\nK:C\nC|\n", ".abc")) == "0:60+4"


def test_percussion_voice_is_on_the_drum_channel() -> None:
    assert shown(events_of("X:1\nL:1/4\nK:C\nV:1\nC|\nV:2 clef=perc\nB|\n", ".abc")) == "0:60+4 0:drum+4"


def test_bar_lines_give_the_bars_a_pickup_included() -> None:
    events = events_of(HEADER + "C|DEFG|A2 z2|]", ".abc")
    assert steps_of(events.meters["tick"], events) == [0, 4, 20]


def test_free_text_between_tunes_is_not_music() -> None:
    tunes = read_score(b"A collection\nX:1\nK:C\nC|\n\nSome words about it\n\nX:2\nK:C\nD|\n", ".abc")
    assert [shown(events) for events in tunes if isinstance(events, Events)] == ["0:60+2", "0:62+2"]


@pytest.mark.parametrize(
    "text",
    ["ABC music | by Bob", "See: http://x.y | z", "Played by Bob:\nA: a | b", "(all parts) | 'fine'", "TWICE | AB"],
)
def test_lines_with_words_after_an_empty_line_are_not_music(text: str) -> None:
    assert shown(events_of(f"{HEADER}C|]\n\n{text}\n", ".abc")) == "0:60+4"


@pytest.mark.parametrize(
    "music",
    [
        "D|",
        "TuvD|",
        '"and then"D|',
        "!mordent!D|",
        "+trill+D|",
        "[V:treble]D|",
        "D|% then",
        "D z\\|",
        "D zzz|",
        "%%text words\nD|",
        "\nP:Trio\n\nD|",
        "[ACE]D|",
    ],
)
def test_music_after_an_empty_line_is_music(music: str) -> None:
    assert 62 in keys(f"{HEADER}C|\n\n{music}\nw: with words\n")


def test_letters_that_stand_for_decorations_are_not_words() -> None:
    assert keys("X:1\nU:n = !trill!\nU: s=!turn!\nM:4/4\nL:1/4\nK:C\nC|\n\nnsD|\n") == [60, 62]


@pytest.mark.parametrize("number", ["", "X:1\n", "X:1\n\n"])
def test_title_and_key_after_an_empty_line_begin_a_tune_without_a_number(number: str) -> None:
    second = "\nT:two\n% source\nM:2/4\nK:D\nF|\n\nT:a part\nE|\n"
    tunes = read_score(f"{number}T:one\nK:C\nC|\n{second}".encode(), ".abc")
    assert [shown(events) for events in tunes if isinstance(events, Events)] == ["0:60+2", "0:66+1 1:64+1"]


def test_bad_tune_does_not_lose_the_others() -> None:
    tunes = read_score(b"X:1\nK:C\nC|\n\nX:2\nK:C\n#|\n\nX:3\nK:C\nE|\n\nX:4\nK:C\nE/0|\n", ".abc")
    assert [isinstance(events, Rejection) for events in tunes] == [False, True, False, True]
    rejection = tunes[1]
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, str(rejection)) == (Reason.BAD_SCORE, "line 7: '#|' cannot be read as music")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m:~n2=o/n/m/n", "the field m: is not supported"),
        ("s:!D.C.!", "the field s: is not supported"),
        ("V:1 cdef|", "line 5: music follows the field V: on its line"),
        ("V:1 name=A cd2e,f", "line 5: music follows the field V: on its line"),
        ("[V:1 C|]", "music follows the field V: on its line"),
        ("K:G |: C", "music follows the field K: on its line"),
        ("P:A C|", "music follows the field P: on its line"),
        ("Q:1/4=60 C|", "music follows the field Q: on its line"),
        ("V:1 score=Bc\nC", "the property score= is not supported"),
        ("%%MIDI rtranspose 2", "the directive %%MIDI rtranspose 2 is not supported"),
        ("%%MIDI c 72", "the directive %%MIDI c 72 is not supported"),
        ("%%MIDI C 72", "the directive %%MIDI C 72 is not supported"),
        ("I:transpose -2", "the directive %%transpose -2 is not supported"),
        ("%%propagate-accidentals all", "the directive %%propagate-accidentals all is not supported"),
        ("I:octave=-1", "the directive %%octave=-1 is not supported"),
        ("U:T = !D.C.!", "the symbol T = !D.C.! changes the order of the bars"),
        ("U:S = !sfz!", "the symbol S = !sfz! changes the order of the bars"),
        ("(10 CDE", "cannot be read as music"),
        ("C/0", "line 5: the length in C/0 divides by 0"),
        ("[CE]3/0", r"the length in \[CE\]3/0 divides by 0"),
        ("z/0", "the length in z/0 divides by 0"),
        ("(3:0:3CDE", "the tuplet .3:0:3 contains a 0"),
        ("(3:2:0CDE", "the tuplet .3:2:0 contains a 0"),
        ("(0CDE", "the tuplet .0 contains a 0"),
        ("K:H", "the key 'H' is unknown"),
        ("K:D ^/f", "the accidentals ./f of the key cannot be read"),
        ("M:x", "the meter 'x' is unknown"),
        ("L:x", "the unit note length 'x' is not a fraction"),
        ("[Cz]", r"the chord \[Cz\] cannot be read"),
        ("{C#}D", "the grace notes {C#} cannot be read"),
        ("V:1\nC|D|\nV:2\nC2|", "bar 1 lasts 1 and 2 quarter notes in different voices"),
        ("C !D.S.!|", "bar 1 has a D.S., and there is no segno"),
        ('C "Menuetto D.C."|', "the words 'Menuetto D.C.' return to a place"),
        ("(&C&E&)|", "cannot be read as music"),
        ("+CEG+|", "the decoration 'CEG' consists of notes"),
        ("C!D2 E/!C", "the decoration 'D2 E/' consists of notes"),
        ("%%begintext\nC|", "a block has no %%endtext"),
        ('C|D|]"D.C. al Fine"', "bar 2 returns al Fine, and there is no Fine"),
    ],
)
def test_notation_that_would_be_ignored_is_rejected_by_name(text: str, message: str) -> None:
    try:
        (rejection,) = read_score((HEADER + text + "\n").encode(), ".abc")
    except Rejection as error:
        rejection = error
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.BAD_SCORE
    with pytest.raises(Rejection, match=message):
        raise rejection


def test_latin_1_and_utf_16_files_are_read() -> None:
    text = "X:1\nT:Für\nL:1/4\nK:C\nC"
    for data in (text.encode("latin-1"), text.encode("utf-16"), text.encode("utf-8-sig"), text.replace("\n", "\r").encode()):
        assert shown(events_of(data, ".abc")) == "0:60+4"
