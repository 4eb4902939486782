"""A roll written to MIDI and read again is the roll it was, tempo included."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from music21.midi import DeltaTime, MetaEvents, MidiFile

from pianogen.errors import PianogenError
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.writer import write_midi
from pianogen.roll import HOLD, MAX_TEMPO_US, NUM_KEYS, ONSET, SILENT, Roll, pack
from tests.support.plain_reading import parse_plainly, read_plainly
from tests.unit.test_exactness import PARSERS, assert_same

exact = settings(derandomize=True, deadline=None, max_examples=200)
tempos = st.one_of(st.sampled_from([1, 2, 255, 256, 499_999, 500_000, 65_536, MAX_TEMPO_US]), st.integers(1, MAX_TEMPO_US))
keys = st.one_of(st.sampled_from([0, 39, NUM_KEYS - 1]), st.integers(0, NUM_KEYS - 1))


@st.composite
def rolls(draw: st.DrawFn, has_rests: bool) -> Roll:
    """Chords that begin, are held, and strike keys still held; a tempo for every step or for stretches of them."""
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
    stretches = draw(st.lists(st.tuples(tempos, st.integers(1, 8)), min_size=1, max_size=12))
    tempo_us = np.repeat(*np.array(stretches, np.uint32).T)
    return Roll(pack(states), np.resize(tempo_us, len(states)))


@st.composite
def disorderly_rolls(draw: st.DrawFn) -> Roll:
    """Any state in any cell of a few keys: holds without an onset, rests, silence."""
    lines = draw(st.lists(st.lists(st.sampled_from([SILENT, ONSET, HOLD]), min_size=12, max_size=12), min_size=1, max_size=4))
    states = np.zeros((12, NUM_KEYS), np.uint8)
    for line in lines:
        states[:, draw(keys)] = line
    return Roll(pack(states), np.full(12, draw(tempos), np.uint32))


def without_orphans(roll: Roll) -> Roll:
    """The roll with silence where a hold follows no onset."""
    states = roll.states
    for step, key in np.argwhere(states == HOLD):
        if step == 0 or states[step - 1, key] == SILENT:
            states[step, key] = SILENT
    return Roll(pack(states), roll.tempo_us, roll.first_step)


@pytest.mark.parametrize("parser", PARSERS)
@exact
@given(roll=rolls(has_rests=False))
def test_trimmed_roll_comes_back(roll, parser):
    assert read_roll(write_midi(roll), "written.mid", parser)[0] == roll


@pytest.mark.parametrize("parser", PARSERS)
@exact
@given(roll=rolls(has_rests=True))
def test_roll_with_rests_comes_back_when_rests_are_kept(roll, parser):
    assert read_roll(write_midi(roll), "written.mid", parser, keep_rests=True)[0] == roll


@exact
@given(roll=rolls(has_rests=True))
def test_rests_are_all_that_trimming_takes(roll):
    trimmed, _ = read_roll(write_midi(roll), "written.mid")
    stop = trimmed.first_step + len(trimmed)
    assert trimmed == Roll(roll.packed[trimmed.first_step : stop], roll.tempo_us[trimmed.first_step : stop], trimmed.first_step)
    assert not roll.packed[: trimmed.first_step].any()
    assert not roll.packed[stop:].any()


@exact
@given(roll=disorderly_rolls())
def test_orphan_holds_become_silence(roll):
    expected = without_orphans(roll)
    assume(expected.num_notes)
    assert read_roll(write_midi(roll), "written.mid", keep_rests=True)[0] == expected


@exact
@given(roll=rolls(has_rests=True))
def test_written_file_is_the_roll_by_a_plain_reading(roll):
    data = write_midi(roll)
    assert_same(read_roll(data, "written.mid", keep_rests=True), read_plainly(*parse_plainly(data), keep_rests=True))


@exact
@given(roll=rolls(has_rests=True))
def test_music21_opens_the_written_file_as_one_piano_track(roll):
    file = MidiFile()
    file.readstr(write_midi(roll))
    (track,) = file.tracks
    events = [event for event in track.events if not isinstance(event, DeltaTime)]
    notes = [event for event in events if event.isNoteOn() or event.isNoteOff()]
    assert file.ticksPerQuarterNote == 480
    assert {event.time % 120 for event in track.events if isinstance(event, DeltaTime)} == {0}
    assert {(event.channel, event.velocity) for event in notes if event.isNoteOn()} == {(1, 80)}
    assert sum(event.isNoteOn() for event in notes) == sum(event.isNoteOff() for event in notes) == roll.num_notes
    assert [event.type for event in events if event.type in MetaEvents][-1] is MetaEvents.END_OF_TRACK


def struck_twice(tempo_us: int) -> Roll:
    states = np.zeros((3, NUM_KEYS), np.uint8)
    states[:, 39] = ONSET, HOLD, ONSET
    return Roll(pack(states), np.array([500_000, tempo_us, 500_000], np.uint32))


@pytest.mark.parametrize("tempo_us", [1, MAX_TEMPO_US])
def test_extreme_tempo_comes_back(tempo_us):
    assert read_roll(write_midi(struck_twice(tempo_us)), "extreme.mid")[0] == struck_twice(tempo_us)


@pytest.mark.parametrize("tempo_us", [0, MAX_TEMPO_US + 1, 2**32 - 1])
def test_tempo_that_no_midi_file_holds_is_refused_with_its_step(tempo_us):
    with pytest.raises(PianogenError, match=f"step 1 has a tempo of {tempo_us}"):
        write_midi(struck_twice(tempo_us))


@pytest.mark.parametrize("num_steps", [0, 1, 16])
def test_silent_roll_is_a_file_without_notes(num_steps):
    silent = Roll(pack(np.zeros((num_steps, NUM_KEYS), np.uint8)), np.full(num_steps, 500_000, np.uint32))
    with pytest.raises(Rejection) as refused:
        read_roll(write_midi(silent), "silent.mid")
    assert refused.value.reason is Reason.NO_NOTES


def test_notes_end_before_others_begin_and_tempos_stand_between():
    ticks_per_quarter, tracks, end_ticks = parse_plainly(write_midi(struck_twice(7)))
    on, off = ("on", 0, 60), ("off", 0, 60)
    assert ticks_per_quarter == 480
    assert tracks == [
        [(0, ("tempo", 500_000)), (0, on), (120, ("tempo", 7)), (240, off), (240, ("tempo", 500_000)), (240, on), (360, off)]
    ]
    assert end_ticks == [360]
