"""The rules of MIDI to rolls, with a minimal file for each rule and the roll that it must give."""

from dataclasses import dataclass

import numpy as np
import pytest

from pianogen.midi.filters import Filters
from pianogen.midi.options import STEPS_PER_QUARTER_CHOICES, MidiParser, ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason, Rejection
from tests.support.reference_reader import HOLD, ONSET, Event, Options, Track, encode_midi, expected_roll
from tests.support.roll_comparison import PARSERS, assert_equals

TPQ = 8  # a step is 2 ticks, so that odd ticks are exactly between two steps


def on(key: int = 60, channel: int = 0) -> Event:
    return ("on", channel, key)


def off(key: int = 60, channel: int = 0) -> Event:
    return ("off", channel, key)


def tempo(tempo_us: int) -> Event:
    return ("tempo", tempo_us)


def controller(number: int, value: int, channel: int = 0) -> Event:
    return ("voice", 0xB0 | channel, bytes([number, value]))


def pedal(value: int, channel: int = 0) -> Event:
    return controller(64, value, channel)


def notes_off(channel: int = 0) -> Event:
    return controller(123, 0, channel)


def bank(value: int, channel: int = 0) -> Event:
    return controller(0, value, channel)


def program(value: int, channel: int = 0) -> Event:
    return ("voice", 0xC0 | channel, bytes([value]))


def rhythm(part: int, map_number: int) -> Event:
    """The GS message "use for rhythm part" for a part, which is a channel + 1 up to 9, and 0 for the percussion channel."""
    return ("sysex", bytes([0x41, 0x10, 0x42, 0x12, 0x40, 0x10 | part, 0x15, map_number, 0, 0xF7]))


@dataclass(frozen=True)
class Case:
    """A file and its roll.

    Attributes:
        tracks: events by tick.
        keys: states by MIDI note number, from step 0: `O` is an onset, `-` a hold, `.` silent.
        counts: some of the fields of `Counts`.
    """

    tracks: list[dict[int, list[Event]]]
    keys: dict[int, str]
    counts: dict[str, int]


def case(*tracks: dict[int, list[Event]], keys: dict[int, str] | None = None, line: str = "", **counts: int) -> Case:
    return Case(list(tracks), keys or {60: line}, counts)


NOTES = {
    "note_lasts_from_the_step_of_its_note_on_to_that_of_its_note_off": case({2: [on()], 8: [off()]}, line=".O--"),
    "exact_half_rounds_down": case({3: [on()], 7: [off()]}, line=".O-"),
    "zero_length_note_lasts_one_step": case({2: [on()], 3: [off()], 6: [on(), off()]}, line=".O.O", notes=2),
    "note_shorter_than_a_step_lasts_one_step": case({3: [on()], 4: [off()]}, line=".O"),
    "off_before_on_in_one_tick_is_a_restrike": case({0: [on()], 4: [off(), on()], 8: [off()]}, line="O-O-"),
    "on_before_off_in_one_tick_is_a_restrike": case({0: [on()], 4: [on(), off()], 8: [off()]}, line="O-O-"),
    "restrike_while_held_is_an_onset": case({0: [on()], 4: [on()], 6: [off()], 10: [off()]}, line="O-O--"),
    "ons_of_one_tick_need_as_many_offs": case({0: [on(), on()], 4: [off()], 8: [off()]}, line="O---", notes=1, notes_merged=1),
    "offs_of_one_tick_end_as_many_notes": case(
        {0: [on(), on()], 4: [off(), off()], 8: [on()], 10: [off()], 12: [off()]}, line="O-..O", notes_unreleased=0
    ),
    "later_off_is_ignored_after_on_and_off_of_one_tick": case({0: [off(), on()], 8: [off()]}, line="O", notes_unreleased=0),
    "onsets_of_one_step_merge": case({4: [on()], 5: [off(), on()], 8: [off()]}, line="..O-", notes=1, notes_merged=1),
    "off_without_an_open_note_is_ignored": case(
        {0: [off(), off()], 4: [on()], 8: [off()], 10: [off()], 12: [on()], 14: [off()]}, line="..O-..O"
    ),
    "two_tracks_on_one_key_merge": case({0: [on()], 6: [off()]}, {4: [on()], 10: [off()]}, line="O-O--"),
    "two_channels_on_one_key_merge": case({0: [on()], 4: [on(channel=1)], 6: [off()], 10: [off(channel=1)]}, line="O-O--"),
    "off_of_another_channel_is_ignored": case({0: [on()], 2: [off(channel=1)], 6: [off()]}, line="O--", notes_unreleased=0),
    "pedal_is_ignored": case({0: [pedal(127), on()], 4: [off()], 12: [pedal(0)]}, line="O-"),
    "all_notes_off_closes_the_streams_of_its_channel": case(
        {0: [on(), on(64), on(67, 1)], 4: [on()], 8: [notes_off()], 12: [off(67, 1)], 14: [off(), off()]},
        keys={60: "O-O-", 64: "O---", 67: "O-----"},
        notes_unreleased=0,
    ),
    "all_sound_off_closes_too": case({0: [on()], 8: [controller(120, 0)]}, line="O---", notes_unreleased=0),
    "all_notes_off_of_another_track_is_ignored": case({0: [on()], 12: [off()]}, {4: [notes_off()]}, line="O-----"),
    "note_of_the_tick_of_all_notes_off_stays_open": case({0: [on()], 4: [on(), notes_off()], 8: [off()]}, line="O-O-"),
    "off_and_on_of_the_tick_of_all_notes_off": case({0: [on()], 4: [notes_off(), off(), on()], 8: [off()]}, line="O-O-"),
    "other_mode_messages_are_ignored": case({0: [on()], 4: [controller(121, 0), controller(124, 0)], 8: [off()]}, line="O---"),
    "drums_are_dropped_and_counted": case({0: [on(), on(35, 9), on(10, 9)], 4: [off()]}, line="O-", notes_drum=2),
    "keys_out_of_range_are_dropped_and_counted": case(
        {0: [on(20), on(21), on(108), on(109)], 4: [off(21), off(108)]}, keys={21: "O-", 108: "O-"}, notes_out_of_range=2
    ),
}
UNRELEASED = {
    "notes_before_the_last_rise_keep_their_length": case(
        {0: [on()], 2: [on()], 4: [off()], 8: [off()], 12: [on()]}, line="OO--..O", notes_unreleased=1
    ),
    "last_rise_counts_after_all_notes_off": case(
        {0: [on()], 2: [on()], 4: [notes_off()], 8: [on(), on()], 12: [off()]}, line="OO..O-", notes_unreleased=0
    ),
    "any_off_closes_a_stream_left_open": case({0: [on()], 4: [on()], 8: [off()]}, line="O-O-", notes_unreleased=0),
    "several_ons_of_one_tick_count_as_one": case({0: [on(), on()], 4: [off()]}, line="O-", notes_unreleased=0, notes_merged=1),
    "tick_of_on_and_off_leaves_an_open_key_open": case(
        {0: [on(), on()], 4: [off(), on()], 8: [off()]}, line="O-O-", notes_unreleased=0
    ),
    "tick_of_on_and_off_leaves_a_closed_key_closed": case(
        {0: [on(), on(), off()], 8: [on()], 12: [off()]}, line="O...O-", notes_unreleased=0
    ),
    "only_the_open_stream_is_read_again": case(
        {0: [on(), on(channel=1), on(channel=1)], 2: [off(channel=1)], 4: [on()], 6: [off()], 10: [off()]},
        line="O-O--",
        notes_unreleased=0,
        notes_merged=2,
    ),
    "note_never_released_ends_at_the_last_event_of_its_stream": case(
        {0: [on()], 8: [on()], 12: [on(61)], 14: [off(61)]}, keys={60: "O---O", 61: "......O"}, notes_unreleased=1
    ),
    "note_never_released_without_a_later_event_lasts_one_step": case(
        {0: [on()], 8: [on(61)], 10: [off(61)]}, keys={60: "O", 61: "....O"}, notes_unreleased=1
    ),
    "every_stream_never_released_is_counted": case(
        {0: [on(), on(channel=1)], 4: [on(), on(channel=1)]}, line="O-O", notes_unreleased=2
    ),
    "stream_is_read_again_within_its_own_track": case(
        {0: [on()], 4: [on()]}, {8: [off()], 10: [on()], 12: [off()]}, line="O-O..O", notes_unreleased=1
    ),
}
# One note of four steps, tick 0 to 8, and tempos.
PERCUSSION = {
    "gs_makes_a_channel_percussion": case(
        {0: [on(), on(40, 1)], 2: [rhythm(2, 1)], 4: [on(41, 1), off()]},
        keys={60: "O-", 40: "O"},
        notes_drum=1,
        notes_unreleased=1,
    ),
    "gs_makes_the_percussion_channel_melodic": case({0: [rhythm(0, 0), on(60, 9)], 4: [off(60, 9)]}, line="O-", notes_drum=0),
    "gs_part_of_channel_11": case({0: [rhythm(10, 2), on(), on(60, 10)], 4: [off()]}, line="O-", notes_drum=1),
    "gs_message_of_another_track_counts": case(
        {0: [on(60, 9)], 4: [off(60, 9)]}, {0: [rhythm(0, 0)], 1: [on(50, 3)], 2: [off(50, 3)]}, keys={50: "O"}, notes_drum=1
    ),
    "gs_message_of_an_earlier_track_counts_at_its_tick": case({0: [rhythm(0, 0)]}, {0: [on(60, 9)], 4: [off(60, 9)]}, line="O-"),
    "bank_120_makes_percussion_at_the_program_change": case(
        {0: [bank(120), on()], 2: [off(), program(0)], 4: [on(), on(50, 1)], 6: [off(50, 1)]},
        keys={60: "O", 50: "..O"},
        notes_drum=1,
    ),
    "bank_127": case({0: [bank(127), program(0), on(), on(50, 1)], 4: [off(50, 1)]}, keys={50: "O-"}, notes_drum=1),
    "another_bank_ends_percussion": case({0: [bank(127), program(0), bank(0), program(0), on()], 4: [off()]}, line="O-"),
    "another_bank_does_not_end_channel_10": case(
        {0: [bank(0, 9), program(0, 9), on(60, 9), on()], 4: [off()]}, line="O-", notes_drum=1
    ),
    "another_bank_does_not_end_gs_percussion": case(
        {0: [rhythm(2, 1), bank(0, 1), program(0, 1), on(60, 1), on()], 4: [off()]}, line="O-", notes_drum=1
    ),
    "note_off_of_a_channel_that_became_percussion_ends_its_note": case(
        {0: [on()], 4: [rhythm(1, 1)], 6: [on()], 8: [off()]}, line="O---", notes_drum=1, notes_unreleased=0
    ),
}
# With --programs 0,5 and --sustain.
OPTIONS = {
    "program_0_is_in_force_before_the_first_program_change": case({0: [on()], 4: [off()]}, line="O-"),
    "notes_of_other_programs_are_dropped_and_counted": case(
        {0: [program(8), on()], 4: [off(), program(5)], 8: [on()], 12: [off()]}, line="....O-", notes_program=1
    ),
    "program_change_of_another_track_counts": case(
        {0: [on(50)], 2: [off(50)], 4: [on()], 8: [off()]}, {3: [program(9)]}, keys={50: "O"}, notes_program=1
    ),
    "percussion_is_not_counted_as_another_program": case(
        {0: [program(9, 9), on(60, 9), on()], 4: [off()]}, line="O-", notes_drum=1, notes_program=0
    ),
    "pedal_holds_a_released_note": case({0: [pedal(64), on()], 4: [off()], 12: [pedal(63)]}, line="O-----"),
    "pedal_of_the_tick_of_the_release_counts": case({0: [on()], 4: [off(), pedal(127)], 12: [pedal(0)]}, line="O-----"),
    "pedal_up_at_the_tick_of_the_release": case({0: [pedal(127), on()], 4: [pedal(0), off()], 12: [pedal(0)]}, line="O-"),
    "last_pedal_of_a_tick_counts": case(
        {0: [pedal(0), pedal(127), on()], 4: [off()], 8: [pedal(0), pedal(70)], 12: [pedal(0)]}, line="O-----"
    ),
    "pedal_of_another_track_counts": case({0: [on()], 4: [off()]}, {2: [pedal(127)], 12: [pedal(0)]}, line="O-----"),
    "pedal_of_another_channel_is_ignored": case({0: [pedal(127, 1), on()], 4: [off()], 12: [pedal(0, 1)]}, line="O-"),
    "pedal_holds_to_the_end_of_the_file": case(
        {0: [pedal(127), on()], 4: [off()], 8: [on(50)], 16: [off(50)]}, keys={60: "O-------", 50: "....O---"}
    ),
    "new_onset_comes_before_the_end_of_the_pedal": case(
        {0: [pedal(127), on()], 4: [off()], 8: [on()], 10: [off()], 14: [pedal(0)]}, line="O---O--"
    ),
    "onset_that_is_never_released_ends_what_the_pedal_holds": case(
        {0: [pedal(64), on()], 2: [off()], 8: [on()], 16: [pedal(0)]}, line="O---O", notes_unreleased=1
    ),
    "dropped_onset_does_not_end_what_the_pedal_holds": case(
        {0: [pedal(64), on()], 2: [off(), program(8)], 8: [on()], 16: [pedal(0)]}, line="O-------", notes_program=1
    ),
    "zero_length_note_is_held": case({0: [pedal(127), on(), off()], 8: [pedal(0)]}, line="O---"),
    "closed_note_is_held": case({0: [pedal(127), on()], 4: [notes_off()], 8: [pedal(0)]}, line="O---"),
    "pedal_does_not_hold_a_note_that_is_never_released": case(
        {0: [pedal(127), on()], 4: [on(50)], 6: [off(50)], 12: [pedal(0)]}, keys={60: "O", 50: "..O---"}, notes_unreleased=1
    ),
}
TEMPOS = {
    "default_before_the_first_tempo": (case({0: [on()], 4: [tempo(7)], 8: [off()]}), [500_000, 500_000, 7, 7]),
    "tempo_is_in_force_from_its_tick_not_from_its_nearest_step": (
        case({0: [on()], 3: [tempo(7)], 8: [off()]}),
        [500_000, 500_000, 7, 7],
    ),
    "last_of_one_tick_wins": (case({0: [on(), tempo(7), tempo(5)], 8: [off()]}), [5, 5, 5, 5]),
    "last_track_wins_at_one_tick": (case({0: [on(), tempo(7)], 8: [off()]}, {0: [tempo(5)]}), [5, 5, 5, 5]),
    "later_tick_wins_over_later_track": (case({0: [on()], 2: [tempo(7)], 8: [off()]}, {0: [tempo(5)]}), [5, 7, 7, 7]),
    "zero_tempo_is_ignored": (case({0: [on(), tempo(7)], 4: [tempo(0)], 8: [off()]}), [7, 7, 7, 7]),
    "tempo_of_two_bytes_is_ignored": (case({0: [on(), ("meta", 0x51, b"\x01\x02")], 8: [off()]}), [500_000] * 4),
    "tempo_of_four_bytes_is_ignored": (case({0: [on(), ("meta", 0x51, b"\x01\x02\x03\x04")], 8: [off()]}), [500_000] * 4),
    "tempo_between_two_steps_is_seen_but_not_kept": (
        case({0: [on(), tempo(7)], 5: [tempo(5)], 6: [tempo(3)], 8: [off()]}, tempo_seen=3, tempo_kept=2),
        [7, 7, 7, 3],
    ),
}


def meter(numerator: int, power: int) -> Event:
    return ("meter", numerator, power)


# One note of six steps from tick 24, step 12, on.
METERS = {
    "default_is_4_4": (case({24: [on()], 36: [off()]}), [12, 13, 14, 15, 0, 1]),
    "waltz": (case({0: [meter(3, 2)], 24: [on()], 36: [off()]}), [0, 1, 2, 3, 4, 5]),
    "compound": (case({0: [meter(5, 3)], 24: [on()], 36: [off()]}), [2, 3, 4, 5, 6, 7]),
    "bar_starts_at_the_time_signature": (case({24: [on()], 28: [meter(4, 2)], 36: [off()]}), [12, 13, 0, 1, 2, 3]),
    "signature_takes_effect_at_its_nearest_step": (case({24: [on()], 29: [meter(4, 2)], 36: [off()]}), [12, 13, 0, 1, 2, 3]),
    "equal_signature_starts_a_bar": (case({0: [meter(3, 2)], 24: [on()], 30: [meter(3, 2)], 36: [off()]}), [0, 1, 2, 0, 1, 2]),
    "last_of_one_tick_wins": (case({0: [meter(3, 2), meter(2, 2)], 24: [on()], 36: [off()]}), [4, 5, 6, 7, 0, 1]),
    "last_track_wins": (case({0: [meter(2, 2)], 24: [on()], 36: [off()]}, {0: [meter(3, 2)]}), [0, 1, 2, 3, 4, 5]),
    "bar_of_no_steps_is_ignored": (case({0: [meter(3, 2)], 24: [meter(0, 2), on()], 36: [off()]}), [0, 1, 2, 3, 4, 5]),
    "bar_of_half_a_step_is_ignored": (case({0: [meter(3, 2)], 24: [meter(1, 5), on()], 36: [off()]}), [0, 1, 2, 3, 4, 5]),
    "bar_of_256_steps_is_ignored": (case({0: [meter(3, 2)], 24: [meter(16, 0), on()], 36: [off()]}), [0, 1, 2, 3, 4, 5]),
    "bar_of_255_steps": (case({0: [meter(255, 4)], 24: [on()], 36: [off()]}), [12, 13, 14, 15, 16, 17]),
    "two_bytes_suffice": (case({0: [("meta", 0x58, b"\x03\x02")], 24: [on()], 36: [off()]}), [0, 1, 2, 3, 4, 5]),
    "one_byte_is_ignored": (case({0: [("meta", 0x58, b"\x03")], 24: [on()], 36: [off()]}), [12, 13, 14, 15, 0, 1]),
}


def tracks_of(case: Case) -> tuple[list[Track], list[int]]:
    """The tracks, and their end ticks."""
    tracks = [[(tick, event) for tick, events in track.items() for event in events] for track in case.tracks]
    return tracks, [track[-1][0] for track in tracks]


def cells_of_lines(keys: dict[int, str]) -> dict[tuple[int, int], int]:
    states = {"O": ONSET, "-": HOLD}
    return {(step, key - 21): states[state] for key, line in keys.items() for step, state in enumerate(line) if state != "."}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in (NOTES | UNRELEASED | PERCUSSION).items()])
def test_notes_become_onsets_and_holds(case: Case, parser: MidiParser) -> None:
    tracks, end_ticks = tracks_of(case)
    expected = expected_roll(TPQ, tracks, end_ticks)
    assert expected.cells == cells_of_lines(case.keys)
    assert {name: expected.counts[name] for name in case.counts} == case.counts
    assert_equals(read_roll(encode_midi(TPQ, tracks, end_ticks), "case.mid", ReadOptions(parser)), expected)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in OPTIONS.items()])
def test_programs_and_sustain(case: Case, parser: MidiParser) -> None:
    tracks, end_ticks = tracks_of(case)
    expected = expected_roll(TPQ, tracks, end_ticks, Options(programs=(0, 5), sustain=True))
    assert expected.cells == cells_of_lines(case.keys)
    assert {name: expected.counts[name] for name in case.counts} == case.counts
    options = ReadOptions(parser, programs=(0, 5), sustain=True)
    assert_equals(read_roll(encode_midi(TPQ, tracks, end_ticks), "case.mid", options), expected)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (Filters(min_steps=9), "8 steps, --min-steps 9"),
        (Filters(max_steps=7), "8 steps, --max-steps 7"),
        (Filters(min_onsets_per_bar=1.6), "1.50 onsets per bar, --min-onsets-per-bar 1.6"),
        (Filters(max_polyphony=1), "2 keys at once, --max-polyphony 1"),
        (Filters(min_keys=3), "2 keys with an onset, --min-keys 3"),
        (Filters(max_steps=7, min_keys=3), "8 steps, --max-steps 7; 2 keys with an onset, --min-keys 3"),
    ],
)
def test_roll_outside_the_limits_is_filtered(filters: Filters, message: str) -> None:
    """A roll of eight steps in two bars with three onsets of two keys."""
    tracks: list[Track] = [[(0, meter(1, 2)), (0, on()), (8, on(50)), (12, on(50)), (16, off()), (16, notes_off())]]
    data = encode_midi(TPQ, tracks, [16])
    at_the_limits = Filters(min_steps=8, max_steps=8, min_onsets_per_bar=1.5, max_polyphony=2, min_keys=2)
    assert len(read_roll(data, "kept.mid", ReadOptions(filters=at_the_limits))[0]) == 8
    with pytest.raises(Rejection) as rejection:
        read_roll(data, "filtered.mid", ReadOptions(filters=filters))
    assert (rejection.value.reason, str(rejection.value)) == (Reason.FILTERED, message)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(("case", "tempo_us"), [pytest.param(*row, id=name) for name, row in TEMPOS.items()])
def test_tempo_is_that_in_force_at_the_step(case: Case, tempo_us: list[int], parser: MidiParser) -> None:
    tracks, end_ticks = tracks_of(case)
    expected = expected_roll(TPQ, tracks, end_ticks)
    assert expected.tempo_us == tempo_us
    assert {name: expected.counts[name] for name in case.counts} == case.counts
    assert_equals(read_roll(encode_midi(TPQ, tracks, end_ticks), "case.mid", ReadOptions(parser)), expected)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(("case", "bar_position"), [pytest.param(*row, id=name) for name, row in METERS.items()])
def test_bar_position_follows_the_time_signatures(case: Case, bar_position: list[int], parser: MidiParser) -> None:
    tracks, end_ticks = tracks_of(case)
    roll, _ = read_roll(encode_midi(TPQ, tracks, end_ticks), "case.mid", ReadOptions(parser))
    assert roll.bar_position.tolist() == bar_position


@pytest.mark.parametrize("steps_per_quarter", STEPS_PER_QUARTER_CHOICES)
def test_steps_per_quarter_divide_notes_tempos_and_bars(steps_per_quarter: int) -> None:
    tracks: list[Track] = [[(0, meter(3, 2)), (96, on()), (96, tempo(7)), (97, off()), (192, on()), (480, off())]]
    roll, _ = read_roll(encode_midi(96, tracks, [480]), "case.mid", ReadOptions(steps_per_quarter=steps_per_quarter))
    assert (roll.steps_per_quarter, roll.first_step, len(roll)) == (steps_per_quarter, steps_per_quarter, 4 * steps_per_quarter)
    assert roll.bar_position.tolist() == [(steps_per_quarter + step) % (3 * steps_per_quarter) for step in range(len(roll))]
    assert np.flatnonzero(roll.states[:, 39] == ONSET).tolist() == [0, steps_per_quarter]
    assert set(roll.tempo_us.tolist()) == {7}


@pytest.mark.parametrize("parser", PARSERS)
def test_last_tempo_of_a_tick_wins_among_many(parser: MidiParser) -> None:
    tracks: list[Track] = [
        [(tick, tempo(1 + 1000 * index + 10 * tick + i)) for tick in range(10) for i in range(9)] for index in range(8)
    ]
    tracks[0].append((20, on()))
    data = encode_midi(TPQ, tracks, [20] * 8)
    assert_equals(
        read_roll(data, "tempos.mid", ReadOptions(parser, keep_rests=True)),
        expected_roll(TPQ, tracks, [20] * 8, Options(keep_rests=True)),
    )


RESTS: list[Track] = [[(0, tempo(9)), (2, tempo(7)), (8, on()), (12, off()), (14, tempo(5))], [(20, pedal(0))]]


@pytest.mark.parametrize("parser", PARSERS)
def test_trimmed_roll_starts_with_the_tempo_in_force(parser: MidiParser) -> None:
    roll, counts = read_roll(encode_midi(TPQ, RESTS, [14, 23]), "rests.mid", ReadOptions(parser))
    assert (roll.first_step, roll.tempo_us.tolist()) == (4, [7, 7])
    assert (counts.tempo_seen, counts.tempo_kept) == (3, 1)


@pytest.mark.parametrize("parser", PARSERS)
def test_kept_rests_reach_from_the_first_step_to_the_end_of_the_longest_track(parser: MidiParser) -> None:
    roll, _ = read_roll(encode_midi(TPQ, RESTS, [14, 23]), "rests.mid", ReadOptions(parser, keep_rests=True))
    assert (roll.first_step, roll.tempo_us.tolist()) == (0, [9, *[7] * 6, *[5] * 4])


@pytest.mark.parametrize("tpq", [1, 2, 3, 5, 7, 96, 480, 1023, 32767])
def test_tick_is_rounded_to_the_nearest_step(tpq: int) -> None:
    ticks = sorted({max(0, halves * tpq // 8 + near) for halves in range(40) for near in (-1, 0, 1)})
    tracks: list[Track] = [[(tick, event) for tick in ticks for event in (on(), off())]]
    expected = expected_roll(tpq, tracks, [ticks[-1]])
    assert set(expected.cells) == {((8 * tick + tpq - 1) // (2 * tpq), 39) for tick in ticks}
    assert_equals(read_roll(encode_midi(tpq, tracks, [ticks[-1]]), "ticks.mid"), expected)
