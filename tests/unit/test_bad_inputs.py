"""A damaged input is refused by its reason, under both parsers, or read as the same roll by both; nothing else ever comes out."""

import csv
import gc
import io
import random
import zipfile

import pytest

from pianogen.midi.counts import Counts
from pianogen.midi.quantize import MAX_STEPS
from pianogen.midi.reader import MAX_BYTES, SCORE_SUFFIXES, MidiParser, read_roll
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import Roll
from tests.support.corpora import BAD_INPUTS, needs_corpora
from tests.support.plain_reading import Form, chunk, riff, variable_length, write_plainly
from tests.unit.test_exactness import PARSERS

NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"
END = b"\x00\xff\x2f\x00"


def midi(*tracks: bytes, kind: int = 1, num_tracks: int | None = None, division: int = 96) -> bytes:
    """A MIDI file of these tracks' contents."""
    declared = len(tracks) if num_tracks is None else num_tracks
    header = b"".join(value.to_bytes(2, "big") for value in (kind, declared, division))
    return chunk(b"MThd", header) + b"".join(chunk(b"MTrk", track) for track in tracks)


SOUND = midi(NOTE + END)
SELF_MADE = {
    Reason.NOT_MIDI: {
        "no_bytes": b"",
        "text": b"this is no music",
        "first_letters_of_a_header": SOUND[:3],
        "wave_in_riff": b"RIFF\x0c\x00\x00\x00WAVEdata\x00\x00\x00\x00",
        "riff_without_data": b"RIFF\x0c\x00\x00\x00RMIDDISP\x00\x00\x00\x00",
        "riff_of_something_else": riff(b"this is no music"),
        "riff_in_riff": riff(riff(SOUND)),
    },
    Reason.TRUNCATED: {
        "header_cut_off": SOUND[:10],
        "header_of_five_bytes": chunk(b"MThd", SOUND[8:13]) + SOUND[14:],
        "track_header_cut_off": SOUND[:18],
        "track_cut_off": SOUND[:-1],
        "foreign_chunk_cut_off": SOUND[:14] + chunk(b"XFIH", b"12345678")[:-1],
        "delta_without_event": midi(NOTE + b"\x00"),
        "delta_without_event_before_another_track": midi(b"\x00", NOTE + END),
        "delta_cut_off": midi(NOTE + b"\x81"),
        "note_cut_off": midi(NOTE + b"\x00\x90\x3c"),
        "running_note_cut_off": midi(b"\x00\x90\x3c\x40\x60\x3c"),
        "meta_without_type": midi(NOTE + b"\x00\xff"),
        "meta_without_length": midi(NOTE + b"\x00\xff\x01"),
        "meta_past_its_track": midi(NOTE + b"\x00\xff\x01\x05abcd", NOTE),
        "sysex_past_its_track": midi(NOTE + b"\x00\xf0\x05abcd", NOTE),
        "riff_data_cut_off": riff(SOUND)[:-1],
    },
    Reason.MISSING_TRACKS: {
        "one_of_two": midi(NOTE + END, num_tracks=2),
        "none_of_one": midi(num_tracks=1),
        "foreign_chunk_for_a_track": midi(num_tracks=1) + chunk(b"XFIH", NOTE + END),
    },
    Reason.UNSUPPORTED_TYPE: {"type_2": midi(NOTE + END, kind=2), "type_65535": midi(NOTE + END, kind=65_535)},
    Reason.SMPTE_DIVISION: {
        "25_frames": midi(NOTE + END, division=0xE728),
        "only_the_top_bit": midi(NOTE + END, division=0x8000),
    },
    Reason.ZERO_DIVISION: {"division_0": midi(NOTE + END, division=0)},
    Reason.RUNNING_STATUS: {
        "at_the_first_event": midi(b"\x00\x3c\x40" + END),
        "after_a_sysex": midi(NOTE + b"\x00\xf0\x01\xf7" + b"\x00\x3c\x40" + END),
        "after_an_escape": midi(NOTE + b"\x00\xf7\x01\x00" + b"\x00\x3c\x40" + END),
        "after_a_meta_alone": midi(b"\x00\xff\x01\x01a" + b"\x00\x3c\x40" + END),
        "from_the_track_before": midi(NOTE + END, b"\x00\x3c\x40" + END),
    },
    Reason.BAD_STATUS: {
        f"status_{status:02x}": midi(NOTE + bytes([0, status, 0, 0]) + END) for status in range(0xF1, 0xFF) if status != 0xF7
    },
    Reason.DATA_BYTE: {
        **{f"first_of_{status:02x}": midi(NOTE + bytes([0, status, 0x80, 0]) + END) for status in range(0x80, 0xF0, 0x10)},
        **{
            f"second_of_{status:02x}": midi(NOTE + bytes([0, status, 0, 0x80]) + END) for status in (0x80, 0x90, 0xA0, 0xB0, 0xE0)
        },
        "velocity_255": midi(b"\x00\x90\x3c\xff" + END),
    },
    Reason.BAD_LENGTH: {
        "delta_of_five_bytes": midi(NOTE + b"\x81\x80\x80\x80\x00" + END[1:]),
        "delta_of_five_bytes_worth_0": midi(NOTE + b"\x80\x80\x80\x80\x00" + END[1:]),
        "meta_length_of_five_bytes": midi(NOTE + b"\x00\xff\x01\x80\x80\x80\x80\x00" + END),
        "sysex_length_of_five_bytes": midi(NOTE + b"\x00\xf0\x80\x80\x80\x80\x01\xf7" + END),
    },
    Reason.TOO_LONG: {
        "a_step_too_many": midi(NOTE + variable_length(24 * MAX_STEPS - 96) + NOTE[1:4] + END),
        "a_held_note": midi(NOTE[:4] + variable_length(24 * (MAX_STEPS + 1)) + NOTE[5:] + END),
        "longest_delta": midi(NOTE + b"\xff\xff\xff\x7f" + NOTE[1:4] + END),
        "deltas_beyond_32_bits": midi(NOTE + b"\xff\xff\xff\x7f\xff\x01\x00" * 40 + NOTE + END),
    },
    Reason.TOO_LARGE: {"a_byte_too_many": SOUND + bytes(MAX_BYTES + 1 - len(SOUND))},
    Reason.NO_NOTES: {
        "no_tracks": midi(),
        "empty_track": midi(b""),
        "only_end_of_track": midi(END),
        "only_drums": midi(b"\x00\x99\x3c\x40\x60\x89\x3c\x40" + END),
        "only_out_of_range": midi(b"\x00\x90\x14\x40\x00\x6d\x40" + END),
        "only_note_offs": midi(b"\x00\x80\x3c\x40\x00\x90\x3c\x00" + END),
        "note_behind_the_end_of_track": midi(END + NOTE),
        "note_behind_the_declared_tracks": midi(END) + chunk(b"MTrk", NOTE + END),
    },
}
SOUND_TRACKS = [
    [
        (0, ("tempo", 400_000)),
        (0, ("meta", 0x03, b"right")),
        (0, ("on", 0, 60)),
        (48, ("on", 0, 64)),
        (96, ("off", 0, 64)),
        (96, ("off", 0, 60)),
    ],
    [
        (0, ("voice", 0xC1, b"\x00")),
        (24, ("on", 1, 40)),
        (48, ("voice", 0xB1, b"\x40\x7f")),
        (60, ("tempo", 500_000)),
        (90, ("off", 1, 40)),
        (96, ("sysex", b"\x7e\x7f\x09\x01\xf7")),
        (96, ("on", 1, 41)),
        (99, ("off", 1, 41)),
    ],
]
FORMS = {
    "plain": Form(),
    "running_status": Form(running_status=True, velocity_zero_offs=True),
    "no_end_of_track": Form(end_of_track=False),
    "foreign_chunks": Form(foreign_chunks=True, header_extra=b"\x01\x02"),
    "riff": Form(running_status=True, foreign_chunks=True, riff=True),
}


def outcome(data: bytes, name: str, parser: MidiParser) -> tuple[Roll, Counts] | Reason:
    """The roll and its counts, or why there is none; an exception of any other kind fails the test."""
    try:
        return read_roll(data, name, parser)
    except Rejection as refused:
        return refused.reason


def refusal(data: bytes, name: str, parser: MidiParser) -> tuple[Reason, str]:
    """Why a file is refused, and the message of it; a file that is read fails the test."""
    with pytest.raises(Rejection) as refused:
        read_roll(data, name, parser)
    return refused.value.reason, str(refused.value)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("reason", "data"),
    [pytest.param(reason, data, id=f"{reason}-{name}") for reason, cases in SELF_MADE.items() for name, data in cases.items()],
)
def test_bad_file_is_refused_by_its_reason(reason, data, parser):
    found, message = refusal(data, "bad.mid", parser)
    assert found is reason
    assert message


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A compressed score of this content; its data begin at byte 39."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("score.xml", content)
    return packed.getvalue()


def changed(data: bytes, at: int, new: bytes) -> bytes:
    """The data with some bytes overwritten; `at` may count from the end."""
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


SILENT_SCORE = b'<score-partwise version="3.1"><part-list/></score-partwise>'
STORED = zipped(SILENT_SCORE, zipfile.ZIP_STORED)
BAD_SCORES = {
    "no_bytes": b"",
    "text": b"no score",
    "noise": b"\x00\xff" * 50,
    "midi": SOUND,
    "xml_cut_off": b'<score-partwise version="3.1"><part-list>',
    "zip_cut_off": zipped(SILENT_SCORE)[:40],
    "zip_of_no_score": zipped(b"no score"),
    "zip_of_unknown_method": changed(STORED, STORED.index(b"PK\x01\x02") + 10, b"\x63"),
    "zip_with_damaged_deflate": changed(zipped(SILENT_SCORE), 39, b"\xff"),
    "zip_with_damaged_bzip2": changed(zipped(SILENT_SCORE, zipfile.ZIP_BZIP2), 45, b"\xff" * 9),
    "zip_with_damaged_lzma": changed(zipped(SILENT_SCORE, zipfile.ZIP_LZMA), 45, b"\xff" * 9),
    "zip_with_wrong_size": changed(STORED, STORED.index(b"PK\x01\x02") + 20, b"\xff\xff\x00\x00" * 2),
    "zip_with_wrong_directory": changed(STORED, -6, b"\xff\xff"),
}


# music21's ABC reader leaves its file to the garbage collector when it meets an error.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("suffix", [*sorted(SCORE_SUFFIXES), ".MusicXML"])
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in BAD_SCORES.items()])
def test_damaged_score_is_a_bad_score_by_either_parser_with_the_same_message(data, suffix):
    reason, message = refusal(data, f"bad{suffix}", "smf")
    assert reason is Reason.BAD_SCORE
    assert refusal(data, f"bad{suffix}", "music21") == (reason, message)
    gc.collect()  # while its warning is awaited


def test_sound_score_without_notes_has_no_notes():
    assert outcome(SILENT_SCORE, "silent.musicxml", "smf") is Reason.NO_NOTES
    assert outcome(STORED, "silent.mxl", "smf") is Reason.NO_NOTES


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(midi(NOTE + variable_length(24 * (MAX_STEPS - 1) - 96) + NOTE[1:4] + END), id="longest_roll"),
        pytest.param(SOUND + bytes(MAX_BYTES - len(SOUND)), id="largest_file"),
        pytest.param(midi(NOTE + b"\xff\xff\xff\x7f" + END[1:]), id="longest_rest_at_the_end"),
        pytest.param(midi(b"\xff\xff\xff\x7f" + NOTE[1:] + END), id="longest_rest_in_front"),
        pytest.param(midi(NOTE + b"\x00\xff\x01\x01a" + NOTE[:1] + NOTE[2:4] + END), id="running_status_across_a_meta"),
        pytest.param(midi(NOTE + END, END, kind=0), id="two_tracks_of_type_0"),
        pytest.param(midi(NOTE), id="no_end_of_track"),
        pytest.param(SOUND + b"junk", id="junk_behind_the_declared_tracks"),
        pytest.param(midi(NOTE + b"\x00\xff\x7f\x00\x00\xff\x60\x02ab" + END), id="unknown_meta"),
        pytest.param(midi(b"\x00\xff\x51\x02\x00\x01\x00\xff\x51\x00" + NOTE + END), id="short_tempos"),
        pytest.param(midi(b"\x00\xf7\x03\x90\x3c\x40" + NOTE + END), id="escaped_note"),
    ],
)
def test_legal_extreme_is_read(data, parser):
    roll, counts = read_roll(data, "extreme.mid", parser)
    assert counts.notes == roll.num_notes
    assert len(roll) in (4, MAX_STEPS)


@pytest.mark.parametrize("parser", PARSERS)
def test_kept_rests_count_against_the_longest_roll(parser):
    data = midi(NOTE + b"\xff\xff\xff\x7f" + END[1:])
    with pytest.raises(Rejection, match="at most 131072 are supported") as refused:
        read_roll(data, "rests.mid", parser, keep_rests=True)
    assert refused.value.reason is Reason.TOO_LONG


@needs_corpora
@pytest.mark.parametrize("parser", PARSERS)
def test_collected_bad_inputs_end_as_expected(parser):
    with (BAD_INPUTS / "expected.csv").open(newline="") as file:
        expected = {row["name"]: row["verdict"] for row in csv.DictReader(file)}
    outcomes = {name: outcome((BAD_INPUTS / name).read_bytes(), name, parser) for name in expected}
    assert {name: found if isinstance(found, Reason) else "ok" for name, found in outcomes.items()} == expected


@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in FORMS.items()])
def test_file_cut_at_any_byte_is_refused_or_is_the_roll(form):
    whole = write_plainly(96, SOUND_TRACKS, [96, 120], form)
    roll = read_roll(whole, "whole.mid")
    for length in range(len(whole)):
        found = outcome(whole[:length], "cut.mid", "smf")
        assert found == outcome(whole[:length], "cut.mid", "music21")
        assert found in (Reason.NOT_MIDI, Reason.TRUNCATED, Reason.MISSING_TRACKS) or found == roll


def flipped(seed: int) -> bytes:
    """A sound file with one to three bytes changed."""
    draw = random.Random(seed)
    data = bytearray(write_plainly(96, SOUND_TRACKS, [96, 120], draw.choice(list(FORMS.values()))))
    for _ in range(draw.randint(1, 3)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("hundred", range(20))
def test_file_with_changed_bytes_is_refused_or_read_alike_by_both_parsers(hundred):
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        data = flipped(seed)
        assert outcome(data, "flipped.mid", "smf") == outcome(data, "flipped.mid", "music21"), (seed, data.hex())
