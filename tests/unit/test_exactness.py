"""Every cell, tempo and count of a roll equals that of the reference implementation, with both parsers."""

from dataclasses import astuple
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pianogen.midi import smf
from pianogen.midi.counts import Counts
from pianogen.midi.options import STEPS_PER_QUARTER_CHOICES, ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason, Rejection
from tests.support.corpora import PIANO_MIDI_DE, needs_corpora
from tests.support.made_music import million_notes
from tests.support.reference_reader import Encoding, Event, Options, Track, decode_midi, encode_midi, expected_roll
from tests.support.roll_comparison import PARSERS, assert_equals

File = tuple[int, list[Track], list[int], Encoding]  # ticks per quarter note, tracks, their end ticks, and the encoding
PIANO_FILES = sorted(PIANO_MIDI_DE.glob("*/*.mid"))
# The reference implementation takes many seconds for a large file.
REFERENCE_FILES = [path for path in PIANO_FILES if path.stat().st_size < 40_000][::9]
OPTIONS = [Options(), Options(keep_rests=True, sustain=True), Options(steps_per_quarter=6, sustain=True)]
COMPOSERS = sorted({path.parent.name for path in PIANO_FILES})


@st.composite
def files(draw: st.DrawFn) -> File:
    """Files with few keys and few ticks, all of them close to a step or to the middle between two steps."""
    tpq = draw(st.sampled_from([1, 2, 3, 7, 8, 96, 480, 32767]))
    encoding = draw(encodings)
    halves_per_quarter = 2 * draw(steps_per_quarter)  # the ticks before and after half a step are rounded to different steps
    near_halves = st.builds(
        lambda halves, near: max(0, halves * tpq // halves_per_quarter + near), st.integers(0, 24), st.integers(-1, 1)
    )
    ticks = st.sampled_from(draw(st.lists(near_halves, min_size=3, max_size=10)))
    keys = draw(st.lists(st.tuples(channels, notes), min_size=1, max_size=4))
    note_events = st.builds(lambda kind, key: (kind, *key), st.sampled_from(["on", "off"]), st.sampled_from(keys))
    events = st.one_of(note_events, note_events, note_events, tempos, meters, states, states, ignored)
    one_track = st.lists(st.tuples(ticks, events), min_size=draw(st.sampled_from([0, 6, 12])), max_size=24)
    tracks = draw(st.lists(one_track, min_size=1, max_size=3))
    tracks = [sorted(track, key=lambda row: row[0]) for track in tracks]
    for track in tracks:
        # Without these note-offs, nearly every stream would need the second reading.
        released = [key for key in keys if draw(st.booleans())] if track else []
        track += [(track[-1][0] + tpq // 4, ("off", *key)) for key in released for _ in track]
    last_ticks = [track[-1][0] if track else 0 for track in tracks]
    rests = [draw(st.integers(0, 2 * tpq)) if encoding.end_of_track else 0 for _ in tracks]
    return tpq, tracks, [last + rest for last, rest in zip(last_ticks, rests, strict=True)], encoding


NOTE_ON = b"\x00\x90\x3c\x40"
steps_per_quarter = st.sampled_from(STEPS_PER_QUARTER_CHOICES)
channels = st.sampled_from([0, 0, 0, 0, 1, 15, 9])
notes = st.sampled_from([60, 60, 60, 60, 61, 21, 108, 20, 109])
tempos: st.SearchStrategy[Event] = st.tuples(st.just("tempo"), st.sampled_from([0, 1, 400_000, 600_000, 16_777_215]))
meters: st.SearchStrategy[Event] = st.tuples(
    st.just("meter"), st.sampled_from([0, 1, 3, 4, 7, 63, 255]), st.sampled_from([0, 1, 2, 2, 3, 4, 5, 6, 16, 255])
)
pedals: st.SearchStrategy[Event] = st.builds(
    lambda channel, value: ("voice", 0xB0 | channel, bytes([64, value])), channels, st.sampled_from([0, 63, 64, 127])
)
notes_off: st.SearchStrategy[Event] = st.builds(
    lambda channel, number: ("voice", 0xB0 | channel, bytes([number, 0])), channels, st.sampled_from([120, 123])
)
banks: st.SearchStrategy[Event] = st.builds(
    lambda channel, bank: ("voice", 0xB0 | channel, bytes([0, bank])), channels, st.sampled_from([0, 8, 120, 127])
)
programs: st.SearchStrategy[Event] = st.builds(
    lambda channel, program: ("voice", 0xC0 | channel, bytes([program])), channels, st.sampled_from([0, 5, 127])
)
rhythm_parts: st.SearchStrategy[Event] = st.builds(
    lambda part, map_: ("sysex", bytes([0x41, 0x10, 0x42, 0x12, 0x40, 0x10 | part, 0x15, map_, 0, 0xF7])),
    st.sampled_from([0, 1, 2, 10, 15]),
    st.integers(0, 2),
)
states = st.one_of(pedals, notes_off, banks, programs, rhythm_parts)
ignored: st.SearchStrategy[Event] = st.sampled_from(
    [
        ("voice", 0xA0, b"\x3c\x40"),
        ("voice", 0xB0, b"\x20\x78"),
        ("voice", 0xB0, b"\x79\x00"),
        ("voice", 0xD0, b"\x20"),
        ("voice", 0xE0, b"\x00\x40"),
        ("sysex", b"\x7e\x7f\x09\x01\xf7"),
        ("sysex", b"\x41\x10\x42\x12\x40\x11\x14\x01\x00\xf7"),
        ("sysex", b"\x41\x10\x42\x12\x40\x11\x15"),
        ("meta", 0x51, b"\x07\xa1"),
        ("meta", 0x51, b"\x07\xa1\x20\x00"),
        ("meta", 0x58, b"\x03"),
        ("meta", 0x7A, b"unknown"),
    ]
)
read_options = st.builds(
    Options,
    keep_rests=st.booleans(),
    steps_per_quarter=steps_per_quarter,
    programs=st.sampled_from([None, None, (0,), (5, 127)]),
    sustain=st.booleans(),
)
encodings = st.builds(
    Encoding,
    running_status=st.booleans(),
    velocity_zero_offs=st.booleans(),
    end_of_track=st.booleans(),
    after_the_end=st.sampled_from([b"", NOTE_ON, b"\xff\xff\xff\xff"]),
    foreign_chunks=st.booleans(),
    header_extra=st.sampled_from([b"", b"\x01\x02\x03"]),
    riff=st.booleans(),
)


@settings(derandomize=True, deadline=None, max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(file=files(), options=read_options)
def test_random_file_gives_the_expected_roll(file: File, options: Options) -> None:
    tpq, tracks, end_ticks, encoding = file
    data = encode_midi(tpq, tracks, end_ticks, encoding)
    expected = expected_roll(tpq, tracks, end_ticks, options)
    if encoding.end_of_track and encoding.after_the_end == NOTE_ON:
        expected.counts["notes_lost"] = len(tracks)
    for parser in PARSERS:
        read_options = ReadOptions(parser, *astuple(options))
        if expected.cells:
            assert_equals(read_roll(data, "random.mid", read_options), expected)
        else:
            with pytest.raises(Rejection) as rejection:
                read_roll(data, "random.mid", read_options)
            assert rejection.value.reason is Reason.NO_NOTES


@settings(derandomize=True, deadline=None, max_examples=200)
@given(file=files())
def test_normalize_keeps_the_events_and_removes_all_other_variants(file: File) -> None:
    tpq, tracks, end_ticks, encoding = file
    normal = Encoding(running_status=encoding.running_status, velocity_zero_offs=encoding.velocity_zero_offs)
    assert smf.scan(encode_midi(tpq, tracks, end_ticks, encoding)).normalize() == encode_midi(tpq, tracks, end_ticks, normal)


def test_million_notes_give_the_expected_roll() -> None:
    data, expected = million_notes()
    roll, counts = read_roll(data, "million.mid")
    assert roll == expected
    assert counts == Counts(1_000_000, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@needs_corpora
@pytest.mark.parametrize(
    ("path", "options"), [pytest.param(*pair, id=pair[0].stem) for pair in zip(REFERENCE_FILES, cycle(OPTIONS), strict=False)]
)
def test_real_file_gives_the_expected_roll(path: Path, options: Options) -> None:
    data = path.read_bytes()
    expected = expected_roll(*decode_midi(data), options)
    assert_equals(read_roll(data, path.name, ReadOptions("smf", *astuple(options))), expected)


@needs_corpora
@pytest.mark.parametrize("composer", COMPOSERS)
def test_parsers_agree_on_every_real_file(composer: str) -> None:
    for path in (path for path in PIANO_FILES if path.parent.name == composer):
        data = path.read_bytes()
        assert read_roll(data, path.name, ReadOptions("smf")) == read_roll(data, path.name, ReadOptions("music21")), path.name
