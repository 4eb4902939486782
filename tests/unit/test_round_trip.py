"""A roll that is written to MIDI and read again is unchanged, including its tempo."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from music21.midi import DeltaTime, MetaEvents, MidiFile

from pianogen.errors import PianogenError
from pianogen.midi.options import STEPS_PER_QUARTER_CHOICES, MidiParser, ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.time_signatures import find_time_signatures
from pianogen.midi.writer import write_midi
from pianogen.roll import DEFAULT_TEMPO_US, HOLD, MAX_TEMPO_US, NUM_KEYS, ONSET, SILENT, Roll, pack
from tests.support.reference_reader import Options, decode_midi, expected_roll
from tests.support.roll_comparison import PARSERS, assert_equals
from tests.support.rolls import roll_in_4_4

exact = settings(derandomize=True, deadline=None, max_examples=200)
tempos = st.one_of(st.sampled_from([1, 2, 255, 256, 499_999, 500_000, 65_536, MAX_TEMPO_US]), st.integers(1, MAX_TEMPO_US))
keys = st.one_of(st.sampled_from([0, 39, NUM_KEYS - 1]), st.integers(0, NUM_KEYS - 1))


@st.composite
def rolls(draw: st.DrawFn, has_rests: bool) -> Roll:
    """Chords of one length, some of which repeat keys that are still held; tempos that last one step or several."""
    chords = draw(
        st.lists(st.tuples(st.integers(0, 24), st.integers(1, 9), st.sets(keys, min_size=1, max_size=5)), min_size=1, max_size=12)
    )
    front = draw(st.integers(0, 6)) if has_rests else -min(start for start, _, _ in chords)
    rest = draw(st.integers(0, 6)) if has_rests else 0
    states = np.zeros((front + max(start + length for start, length, _ in chords) + rest, NUM_KEYS), np.uint8)
    for start, length, chord in chords:
        for key in chord:
            sounding = states[front + start : front + start + length, key]
            sounding[sounding == SILENT] = HOLD
            sounding[0] = ONSET
    tempo_spans = draw(st.lists(st.tuples(tempos, st.integers(1, 8)), min_size=1, max_size=12))
    tempo_us = np.repeat(*np.array(tempo_spans, np.uint32).T)
    tempo_us, steps_per_quarter = np.resize(tempo_us, len(states)), draw(st.sampled_from(STEPS_PER_QUARTER_CHOICES))
    bar_position = draw(bar_positions(len(states), first=st.just(0) if has_rests else st.integers(0, 9)))
    return Roll(pack(states), tempo_us, bar_position, steps_per_quarter=steps_per_quarter)


@st.composite
def bar_positions(draw: st.DrawFn, num_steps: int, first: st.SearchStrategy[int]) -> np.ndarray:
    """Bars of any lengths, among them those that no time signature expresses, and runs of equal bars."""
    bars = draw(st.lists(st.tuples(st.integers(1, 18) | st.just(255), st.integers(1, 4)), min_size=1, max_size=8))
    lengths = np.repeat(*np.array(bars).T)
    lengths[0] += first_position if (first_position := draw(first)) and lengths[0] < 240 else 0
    positions = np.concatenate([np.arange(length) for length in np.resize(lengths, len(lengths) + num_steps)])
    return positions[first_position if lengths[0] < 255 else 0 :][:num_steps].astype(np.uint8)


@st.composite
def rolls_with_orphan_holds(draw: st.DrawFn) -> Roll:
    """Any state in any cell of a few keys, so that a hold may follow a silent cell."""
    lines = draw(st.lists(st.lists(st.sampled_from([SILENT, ONSET, HOLD]), min_size=12, max_size=12), min_size=1, max_size=4))
    states = np.zeros((12, NUM_KEYS), np.uint8)
    for line in lines:
        states[:, draw(keys)] = line
    return roll_in_4_4(pack(states), np.full(12, draw(tempos), np.uint32))


def without_orphans(roll: Roll) -> Roll:
    """The roll with silence in place of the holds that do not continue a note."""
    states = roll.states
    for step, key in np.argwhere(states == HOLD):
        if step == 0 or states[step - 1, key] == SILENT:
            states[step, key] = SILENT
    return replace(roll, packed=pack(states))


@pytest.mark.parametrize("parser", PARSERS)
@exact
@given(roll=rolls(has_rests=False))
def test_trimmed_roll_is_unchanged(roll: Roll, parser: MidiParser) -> None:
    options = ReadOptions(parser, steps_per_quarter=roll.steps_per_quarter)
    read_back, _ = read_roll(write_midi(roll), "written.mid", options)
    assert read_back == replace(roll, first_step=int(roll.bar_position[0]))


@pytest.mark.parametrize("parser", PARSERS)
@exact
@given(roll=rolls(has_rests=True))
def test_roll_with_rests_is_unchanged_if_rests_are_kept(roll: Roll, parser: MidiParser) -> None:
    options = ReadOptions(parser, keep_rests=True, steps_per_quarter=roll.steps_per_quarter)
    assert read_roll(write_midi(roll), "written.mid", options)[0] == roll


@exact
@given(roll=rolls(has_rests=True))
def test_trimming_removes_only_rests(roll: Roll) -> None:
    trimmed, _ = read_roll(write_midi(roll), "written.mid", ReadOptions(steps_per_quarter=roll.steps_per_quarter))
    stop = trimmed.first_step + len(trimmed)
    assert trimmed == replace(roll.rows(trimmed.first_step, stop), first_step=trimmed.first_step)
    assert not roll.packed[: trimmed.first_step].any()
    assert not roll.packed[stop:].any()


@exact
@given(roll=rolls_with_orphan_holds())
def test_orphan_holds_become_silent(roll: Roll) -> None:
    expected = without_orphans(roll)
    assume(expected.num_notes)
    assert read_roll(write_midi(roll), "written.mid", ReadOptions(keep_rests=True))[0] == expected


@exact
@given(roll=rolls(has_rests=True))
def test_written_file_gives_the_roll_of_the_reference_implementation(roll: Roll) -> None:
    data = write_midi(roll)
    options = ReadOptions(keep_rests=True, steps_per_quarter=roll.steps_per_quarter)
    expected = expected_roll(*decode_midi(data), Options(keep_rests=True, steps_per_quarter=roll.steps_per_quarter))
    assert_equals(read_roll(data, "written.mid", options), expected)


@exact
@given(roll=rolls(has_rests=True))
def test_music21_reads_the_written_file_as_one_piano_track(roll: Roll) -> None:
    file = MidiFile()
    file.readstr(write_midi(roll))
    (track,) = file.tracks
    events = [event for event in track.events if not isinstance(event, DeltaTime)]
    notes = [event for event in events if event.isNoteOn() or event.isNoteOff()]
    assert file.ticksPerQuarterNote == 480
    assert {event.time % (480 // roll.steps_per_quarter) for event in track.events if isinstance(event, DeltaTime)} == {0}
    assert {(event.channel, event.velocity) for event in notes if event.isNoteOn()} == {(1, 80)}
    assert sum(event.isNoteOn() for event in notes) == sum(event.isNoteOff() for event in notes) == roll.num_notes
    assert [event.type for event in events if event.type in MetaEvents][-1] is MetaEvents.END_OF_TRACK


def repeated_note(tempo_us: int) -> Roll:
    """A note of two steps and its repetition; the tempo is that of the second step."""
    states = np.zeros((3, NUM_KEYS), np.uint8)
    states[:, 39] = ONSET, HOLD, ONSET
    return roll_in_4_4(pack(states), np.array([500_000, tempo_us, 500_000], np.uint32))


@pytest.mark.parametrize("tempo_us", [1, MAX_TEMPO_US])
def test_extreme_tempo_is_unchanged(tempo_us: int) -> None:
    assert read_roll(write_midi(repeated_note(tempo_us)), "extreme.mid")[0] == repeated_note(tempo_us)


@pytest.mark.parametrize("tempo_us", [0, MAX_TEMPO_US + 1, 2**32 - 1])
def test_tempo_that_midi_cannot_represent_is_an_error_with_its_step(tempo_us: int) -> None:
    with pytest.raises(PianogenError, match=f"step 1 has a tempo of {tempo_us}"):
        write_midi(repeated_note(tempo_us))


def test_step_that_is_no_whole_number_of_ticks_is_an_error() -> None:
    roll = repeated_note(DEFAULT_TEMPO_US)
    with pytest.raises(PianogenError, match="7 steps per quarter note do not divide 480 ticks"):
        write_midi(Roll(roll.packed, roll.tempo_us, roll.bar_position, steps_per_quarter=7))


@pytest.mark.parametrize("num_steps", [0, 1, 16])
def test_silent_roll_becomes_a_file_without_notes(num_steps: int) -> None:
    silent = roll_in_4_4(pack(np.zeros((num_steps, NUM_KEYS), np.uint8)), np.full(num_steps, 500_000, np.uint32))
    with pytest.raises(Rejection) as rejection:
        read_roll(write_midi(silent), "silent.mid")
    assert rejection.value.reason is Reason.NO_NOTES


def test_events_of_a_tick_are_note_offs_then_tempo_then_note_ons() -> None:
    ticks_per_quarter, tracks, end_ticks = decode_midi(write_midi(repeated_note(7)))
    on, off = ("on", 0, 60), ("off", 0, 60)
    assert ticks_per_quarter == 480
    assert tracks == [
        [
            (0, ("tempo", 500_000)),
            (0, ("meter", 4, 2)),
            (0, on),
            (120, ("tempo", 7)),
            (240, off),
            (240, ("tempo", 500_000)),
            (240, on),
            (360, off),
        ]
    ]
    assert end_ticks == [360]


def signatures_of(positions: list[int], steps_per_quarter: int = 4) -> tuple[int, list[tuple[int, int, int]]]:
    """The steps of silence in front, and (step, numerator, denominator) of the time signatures that are written."""
    signatures = find_time_signatures(np.array(positions, np.uint8), steps_per_quarter)
    rows = zip(*(column.tolist() for column in signatures[1:]), strict=True)
    return signatures.silent_steps, [(step, numerator, 2**power) for step, numerator, power in rows]


COUNT = list(range(256))
SIGNATURES: dict[str, tuple[list[int], int, tuple[int, list[tuple[int, int, int]]]]] = {
    "equal_bars": (COUNT[:16] * 3, 4, (0, [(0, 4, 4)])),
    "one_incomplete_bar": (COUNT[:9], 4, (0, [(0, 4, 4)])),
    "waltz_with_an_incomplete_last_bar": (COUNT[:12] * 2 + COUNT[:5], 4, (0, [(0, 3, 4)])),
    "eighths_and_sixteenths": (COUNT[:18] + COUNT[:7] + COUNT[:7], 4, (0, [(0, 9, 8), (18, 7, 16)])),
    "pickup": (COUNT[:4] + COUNT[:16] * 2, 4, (0, [(0, 1, 4), (4, 4, 4)])),
    "roll_that_begins_within_a_bar": (COUNT[12:16] + COUNT[:16], 4, (12, [(0, 4, 4)])),
    "last_bar_longer_than_the_others": (COUNT[:8] * 2 + COUNT[:13], 4, (0, [(0, 2, 4), (16, 4, 4)])),
    "bar_that_is_cut_short": (COUNT[:12] + COUNT[:5] + COUNT[:12], 12, (0, [(0, 1, 4), (12, 1, 8), (17, 1, 4)])),
    "triplet_steps": (COUNT[:18] * 2, 6, (0, [(0, 3, 4)])),
    "longest_bar": (COUNT[:255] * 2, 4, (0, [(0, 255, 16)])),
    "bar_that_is_too_long": ([*COUNT, 255, 255, 0], 4, (0, [(0, 255, 16), (258, 255, 16)])),
    "too_long_first_bar": ([255, 255, 0, 1], 4, (0, [(0, 1, 8)])),
    "positions_that_do_not_follow_each_other": ([0, 5, 5, 0, 1, 2, 0, 7], 4, (0, [(0, 3, 16)])),
}


@pytest.mark.parametrize(("positions", "steps_per_quarter", "expected"), SIGNATURES.values(), ids=SIGNATURES)
def test_time_signatures_follow_the_bar_lines(
    positions: list[int], steps_per_quarter: int, expected: tuple[int, list[tuple[int, int, int]]]
) -> None:
    assert signatures_of(positions, steps_per_quarter) == expected
