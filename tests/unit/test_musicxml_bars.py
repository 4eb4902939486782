"""The lengths of the bars of MusicXML: of all parts, and of rests, incomplete and irregular measures."""

import pytest

from tests.support.musicxml import C4, FULL_REST, backup, encoded_by, note, part, score, shown
from tests.support.score_events import events_of, steps_of


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


@pytest.mark.parametrize("filling", [note("r", 20), C4 * 3 + note("r", 8, attributes=' print-object="no"')])
def test_rests_decide_the_length_of_a_bar_of_unmeasured_music(filling: str) -> None:
    unmeasured = "<attributes><time><senza-misura/></time></attributes>"
    meter = "<time><beats>2</beats><beat-type>4</beat-type></time>"
    data = score(
        part(note("C4", 8), unmeasured + filling, filling, f"<attributes>{meter}</attributes>" + filling, attributes=meter)
    )
    assert steps_of(events_of(data, ".xml").meters["tick"], events_of(data, ".xml")) == [0, 8, 28, 48]


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


def test_pickup_of_time_wise_music_has_the_length_of_its_notes() -> None:
    divisions = "<attributes><divisions>4</divisions></attributes>"
    pickup = f'<part id="A">{divisions}{C4}</part><part id="B">{divisions}{FULL_REST.format(16)}</part>'
    second = f'<part id="A">{note("D4", 16)}</part><part id="B">{note("D3", 16)}</part>'
    data = f"<score-timewise><measure implicit='yes'>{pickup}</measure><measure>{second}</measure></score-timewise>"
    assert shown(data) == "0:60+4 4:50+16 4:62+16"


def test_measure_without_content_has_the_length_of_the_time_signature() -> None:
    time = "<time><beats>3+2</beats><beat-type>8</beat-type></time>"
    assert shown(score(part("", C4, attributes=time))) == "10:60+4"
