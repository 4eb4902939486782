"""Every cell, tempo and count of a roll is what a plain reading of the contract says, whoever parses the file."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pianogen.midi import smf
from pianogen.midi.counts import Counts
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import Roll
from tests.support.corpora import PIANO_MIDI_DE, needs_corpora
from tests.support.made_music import million_notes
from tests.support.plain_reading import Form, Reading, parse_plainly, read_plainly, write_plainly

PARSERS = ["smf", "music21"]
PIANO_FILES = sorted(PIANO_MIDI_DE.glob("*/*.mid"))
COMPOSERS = sorted({path.parent.name for path in PIANO_FILES})


def cells_of(roll: Roll) -> dict[tuple[int, int], int]:
    """{(step from the start of the file, key): state} of the keys that sound."""
    states = roll.states
    steps, keys = states.nonzero()
    return {(roll.first_step + s, k): int(states[s, k]) for s, k in zip(steps.tolist(), keys.tolist(), strict=True)}


def assert_same(found: tuple[Roll, Counts], expected: Reading) -> None:
    roll, counts = found
    assert cells_of(roll) == expected.cells
    assert roll.tempo_us.tolist() == expected.tempo_us
    assert roll.first_step == expected.first_step
    assert counts._asdict() == expected.counts


@st.composite
def files(draw: st.DrawFn) -> tuple[int, list, list[int], Form]:
    """Ticks per quarter, tracks, end ticks and form of a file; few keys and few ticks, near steps and their halves."""
    tpq = draw(st.sampled_from([1, 2, 3, 7, 8, 96, 480, 32767]))
    form = draw(forms)
    # Half a step is an eighth of a quarter; a tick before and behind it falls on either side.
    near_halves = st.builds(lambda halves, near: max(0, halves * tpq // 8 + near), st.integers(0, 24), st.integers(-1, 1))
    ticks = st.sampled_from(draw(st.lists(near_halves, min_size=3, max_size=10)))
    keys = draw(st.lists(st.tuples(channels, notes), min_size=1, max_size=4))
    strokes = st.builds(lambda kind, key: (kind, *key), st.sampled_from(["on", "off"]), st.sampled_from(keys))
    events = st.one_of(strokes, strokes, strokes, tempos, ignored)
    one_track = st.lists(st.tuples(ticks, events), min_size=draw(st.sampled_from([0, 6, 12])), max_size=24)
    tracks = draw(st.lists(one_track, min_size=1, max_size=3))
    tracks = [sorted(track, key=lambda row: row[0]) for track in tracks]
    for track in tracks:
        # Without these nearly every stream would be left open, and read again.
        released = [key for key in keys if track and draw(st.booleans())]
        track += [(track[-1][0] + tpq // 4, ("off", *key)) for key in released for _ in track]
    last_ticks = [track[-1][0] if track else 0 for track in tracks]
    rests = [draw(st.integers(0, 2 * tpq)) if form.end_of_track else 0 for _ in tracks]
    return tpq, tracks, [last + rest for last, rest in zip(last_ticks, rests, strict=True)], form


channels = st.sampled_from([0, 0, 0, 0, 1, 15, 9])
notes = st.sampled_from([60, 60, 60, 60, 61, 21, 108, 20, 109])
tempos = st.tuples(st.just("tempo"), st.sampled_from([0, 1, 400_000, 600_000, 16_777_215]))
ignored = st.sampled_from(
    [
        ("voice", 0xA0, b"\x3c\x40"),
        ("voice", 0xB0, b"\x40\x7f"),
        ("voice", 0xB0, b"\x7b\x00"),
        ("voice", 0xC0, b"\x05"),
        ("voice", 0xD0, b"\x20"),
        ("voice", 0xE0, b"\x00\x40"),
        ("sysex", b"\x7e\x7f\x09\x01\xf7"),
        ("meta", 0x51, b"\x07\xa1"),
        ("meta", 0x51, b"\x07\xa1\x20\x00"),
        ("meta", 0x58, b"\x03\x02\x18\x08"),
        ("meta", 0x7A, b"unknown"),
    ]
)
forms = st.builds(
    Form,
    running_status=st.booleans(),
    velocity_zero_offs=st.booleans(),
    end_of_track=st.booleans(),
    after_the_end=st.sampled_from([b"", b"\x00\x90\x3c\x40", b"\xff\xff\xff\xff"]),
    foreign_chunks=st.booleans(),
    header_extra=st.sampled_from([b"", b"\x01\x02\x03"]),
    riff=st.booleans(),
)


@pytest.mark.parametrize("keep_rests", [False, True])
@pytest.mark.parametrize("parser", PARSERS)
@settings(derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(file=files())
def test_random_file_is_read_as_the_contract_says(file, parser, keep_rests):
    tpq, tracks, end_ticks, form = file
    data = write_plainly(tpq, tracks, end_ticks, form)
    expected = read_plainly(tpq, tracks, end_ticks, keep_rests)
    if expected.cells:
        assert_same(read_roll(data, "random.mid", parser, keep_rests), expected)
    else:
        with pytest.raises(Rejection) as refused:
            read_roll(data, "random.mid", parser, keep_rests)
        assert refused.value.reason is Reason.NO_NOTES


@settings(derandomize=True, deadline=None, max_examples=200)
@given(file=files())
def test_every_form_of_a_file_has_one_normal_form(file):
    tpq, tracks, end_ticks, form = file
    as_written = Form(running_status=form.running_status, velocity_zero_offs=form.velocity_zero_offs)
    assert smf.normalise(write_plainly(tpq, tracks, end_ticks, form)) == write_plainly(tpq, tracks, end_ticks, as_written)


def test_million_notes_are_read_as_they_were_written():
    data, roll = million_notes()
    found, counts = read_roll(data, "million.mid")
    assert found == roll
    assert counts == Counts(1_000_000, 0, 0, 0, 0, 0, 0)


@needs_corpora
@pytest.mark.parametrize("keep_rests", [False, True])
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in PIANO_FILES[::14]])
def test_real_file_is_read_as_the_contract_says(path, keep_rests):
    data = path.read_bytes()
    assert_same(read_roll(data, path.name, keep_rests=keep_rests), read_plainly(*parse_plainly(data), keep_rests))


@needs_corpora
@pytest.mark.parametrize("composer", COMPOSERS)
def test_parsers_agree_on_every_real_file(composer):
    for path in (path for path in PIANO_FILES if path.parent.name == composer):
        data = path.read_bytes()
        assert read_roll(data, path.name, "smf") == read_roll(data, path.name, "music21"), path.name
