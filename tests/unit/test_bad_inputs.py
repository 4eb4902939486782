"""Both parsers reject a damaged input for the same reason, or read the same roll from it; no other exception is raised."""

import csv
import gc
import io
import random
import zipfile

import pytest

from pianogen.midi import music21_reader
from pianogen.midi.filters import Filters
from pianogen.midi.options import MidiParser, ReadOptions
from pianogen.midi.quantize import MAX_STEPS
from pianogen.midi.reader import MAX_BYTES, SCORE_SUFFIXES, Piece, read_pieces, read_roll
from pianogen.midi.rejection import Reason, Rejection
from tests.support.corpora import BAD_INPUTS, needs_corpora
from tests.support.reference_reader import Encoding, Track, chunk, encode_midi, riff, variable_length
from tests.support.roll_comparison import PARSERS

NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"
END = b"\x00\xff\x2f\x00"


def midi(*tracks: bytes, file_type: int = 1, num_tracks: int | None = None, division: int = 96) -> bytes:
    """A MIDI file with these contents of tracks."""
    declared = len(tracks) if num_tracks is None else num_tracks
    header = b"".join(value.to_bytes(2, "big") for value in (file_type, declared, division))
    return chunk(b"MThd", header) + b"".join(chunk(b"MTrk", track) for track in tracks)


def claiming(data: bytes, num_bytes: int) -> bytes:
    """The file whose only track claims to have more bytes."""
    size = int.from_bytes(data[18:22], "big") + num_bytes
    return data[:18] + size.to_bytes(4, "big") + data[22:]


def resized_riff(data: bytes, num_bytes: int) -> bytes:
    """A RIFF file whose data chunk claims to have more bytes than follow."""
    content = b"RMIDdata" + (len(data) + num_bytes).to_bytes(4, "little") + data
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def macbinary(data: bytes) -> bytes:
    """A file behind a MacBinary header; padding and a resource fork, here a track, follow."""
    header = bytearray(128)
    header[1:10], header[83:87] = b"\x08song.mid", len(data).to_bytes(4, "big")
    return bytes(header) + data + bytes(-len(data) % 128) + chunk(b"MTrk", NOTE + END)


VALID = midi(NOTE + END)
BAD_FILES = {
    Reason.NOT_MIDI: {
        "no_bytes": b"",
        "text": b"this is not music",
        "first_bytes_of_a_header": VALID[:3],
        "wave_in_riff": b"RIFF\x0c\x00\x00\x00WAVEdata\x00\x00\x00\x00",
        "riff_without_data": b"RIFF\x0c\x00\x00\x00RMIDDISP\x00\x00\x00\x00",
        "riff_with_text": riff(b"this is not music"),
        "riff_inside_riff": riff(riff(VALID)),
    },
    Reason.TRUNCATED: {
        "long_track_that_contains_another": claiming(VALID, 999) + chunk(b"MTrk", NOTE + END),
        "long_track_behind_another_chunk": midi(num_tracks=2)
        + chunk(b"XFIH", b"odd")
        + claiming(VALID, 999)[14:]
        + chunk(b"MTrk", NOTE + END),
        "header_cut_off": VALID[:10],
        "header_of_five_bytes": chunk(b"MThd", VALID[8:13]) + VALID[14:],
        "track_header_cut_off": VALID[:18],
        "track_cut_off": VALID[:-1],
        "foreign_chunk_cut_off": VALID[:14] + chunk(b"XFIH", b"12345678")[:-1],
        "delta_without_event": midi(NOTE + b"\x00"),
        "delta_without_event_before_another_track": midi(b"\x00", NOTE + END),
        "delta_cut_off": midi(NOTE + b"\x81"),
        "note_cut_off": midi(NOTE + b"\x00\x90\x3c"),
        "running_note_cut_off": midi(b"\x00\x90\x3c\x40\x60\x3c"),
        "meta_without_type": midi(NOTE + b"\x00\xff"),
        "meta_without_length": midi(NOTE + b"\x00\xff\x01"),
        "meta_past_its_track": midi(NOTE + b"\x00\xff\x01\x05abcd", NOTE),
        "sysex_past_its_track": midi(NOTE + b"\x00\xf0\x05abcd", NOTE),
        "riff_data_cut_off": riff(VALID)[:-1],
        "riff_data_nine_bytes_too_large": resized_riff(VALID, 9),
        "long_track_without_its_end": claiming(midi(NOTE), 3),
        "long_track_before_a_declared_one": claiming(midi(NOTE + END, num_tracks=2), 99) + chunk(b"MTrk", NOTE + END),
        "counted_chunk_before_a_track_header_that_is_cut_off": midi(NOTE + END, num_tracks=2) + chunk(b"XFIH", b"") + b"MTrk\0\0",
    },
    Reason.MISSING_TRACKS: {
        "one_of_two": midi(NOTE + END, num_tracks=2),
        "none_of_one": midi(num_tracks=1),
        "foreign_chunk_instead_of_one_of_two_tracks": midi(num_tracks=2) + chunk(b"XFIH", NOTE + END),
    },
    Reason.UNSUPPORTED_TYPE: {"type_2": midi(NOTE + END, file_type=2), "type_65535": midi(NOTE + END, file_type=65_535)},
    Reason.SMPTE_DIVISION: {
        "25_frames": midi(NOTE + END, division=0xE728),
        "only_the_top_bit": midi(NOTE + END, division=0x8000),
    },
    Reason.ZERO_DIVISION: {"division_0": midi(NOTE + END, division=0)},
    Reason.RUNNING_STATUS: {
        "at_the_first_event": midi(b"\x00\x3c\x40" + END),
        "after_a_sysex": midi(NOTE + b"\x00\xf0\x01\xf7" + b"\x00\x3c\x40" + END),
        "after_an_escape": midi(NOTE + b"\x00\xf7\x01\x00" + b"\x00\x3c\x40" + END),
        "after_only_a_meta": midi(b"\x00\xff\x01\x01a" + b"\x00\x3c\x40" + END),
        "set_in_the_previous_track": midi(NOTE + END, b"\x00\x3c\x40" + END),
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
        "delta_of_five_bytes_with_value_0": midi(NOTE + b"\x80\x80\x80\x80\x00" + END[1:]),
        "meta_length_of_five_bytes": midi(NOTE + b"\x00\xff\x01\x80\x80\x80\x80\x00" + END),
        "sysex_length_of_five_bytes": midi(NOTE + b"\x00\xf0\x80\x80\x80\x80\x01\xf7" + END),
    },
    Reason.TOO_LONG: {
        "one_step_too_long": midi(NOTE + variable_length(24 * MAX_STEPS - 96) + NOTE[1:4] + END),
        "note_held_too_long": midi(NOTE[:4] + variable_length(24 * (MAX_STEPS + 1)) + NOTE[5:] + END),
        "longest_delta": midi(NOTE + b"\xff\xff\xff\x7f" + NOTE[1:4] + END),
        "deltas_beyond_32_bits": midi(NOTE + b"\xff\xff\xff\x7f\xff\x01\x00" * 40 + NOTE + END),
    },
    Reason.TOO_LARGE: {"one_byte_too_large": VALID + bytes(MAX_BYTES + 1 - len(VALID))},
    Reason.NO_NOTES: {
        "no_tracks": midi(),
        "empty_track": midi(b""),
        "only_end_of_track": midi(END),
        "only_drums": midi(b"\x00\x99\x3c\x40\x60\x89\x3c\x40" + END),
        "only_out_of_range": midi(b"\x00\x90\x14\x40\x00\x6d\x40" + END),
        "only_note_offs": midi(b"\x00\x80\x3c\x40\x00\x90\x3c\x00" + END),
        "note_after_the_end_of_track": midi(END + NOTE),
        "foreign_chunk_instead_of_a_track": midi(num_tracks=1) + chunk(b"XFIH", NOTE + END),
        "damaged_track_after_the_declared_tracks": midi(END) + chunk(b"MTrk", NOTE + b"\x00\xf4"),
        "incomplete_track_after_the_declared_tracks": midi(END) + chunk(b"MTrk", NOTE + END)[:-1],
        "track_after_bytes_that_are_no_chunk": midi(END) + b"junk" + chunk(b"MTrk", NOTE + END),
    },
}
VALID_TRACKS: list[Track] = [
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
ENCODINGS = {
    "plain": Encoding(),
    "running_status": Encoding(running_status=True, velocity_zero_offs=True),
    "no_end_of_track": Encoding(end_of_track=False),
    "foreign_chunks": Encoding(foreign_chunks=True, header_extra=b"\x01\x02"),
    "riff": Encoding(running_status=True, foreign_chunks=True, riff=True),
}


def outcome(data: bytes, name: str, parser: MidiParser) -> Piece | Reason:
    """The piece, or the reason of the rejection; any other exception fails the test."""
    try:
        piece = read_pieces(data, name, ReadOptions(parser))[0]
    except Rejection as rejection:
        return rejection.reason
    return piece.reason if isinstance(piece, Rejection) else piece


def rejection_of(data: bytes, name: str, parser: MidiParser) -> Rejection:
    """The rejection of a file; a file that becomes a roll fails the test."""
    with pytest.raises(Rejection) as rejection:
        read_roll(data, name, ReadOptions(parser))
    return rejection.value


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("reason", "data"),
    [pytest.param(reason, data, id=f"{reason}-{name}") for reason, cases in BAD_FILES.items() for name, data in cases.items()],
)
def test_bad_file_is_rejected_for_its_reason(reason: Reason, data: bytes, parser: MidiParser) -> None:
    rejection = rejection_of(data, "bad.mid", parser)
    assert rejection.reason is reason
    assert str(rejection)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (VALID[:-1], "past its end at byte 14; the file is cut off or damaged"),
        (midi(NOTE + END, num_tracks=2), "the file ends at byte 34 after 1 of 2 declared tracks"),
        (midi(b"\x00\x3c\x40" + END), "data byte at 23 where a status byte is expected"),
        (midi(NOTE + b"\x00\xf4\x00\x00" + END), "status 0xF4 at byte 31 is not allowed"),
        (midi(b"\x00\x90\x3c\xff" + END), "0xFF at byte 25 where a channel message needs a data byte"),
        (midi(NOTE + b"\x81\x80\x80\x80\x00" + END[1:]), "a variable-length number at byte 30 has more than 4 bytes"),
        (VALID[:6], "the file ends after 6 of the 14 bytes of its header"),
        (riff(midi(b"\x00\x3c\x40" + END)), "data byte at 55 where a status byte is expected"),
        (macbinary(riff(midi(b"\x00\x3c\x40" + END))), "data byte at 183 where a status byte is expected"),
        (macbinary(midi(NOTE + END, num_tracks=2)), "the file ends at byte 162 after 1 of 2 declared tracks"),
        (riff(riff(VALID)), "the RIFF data chunk starts with b'RIFF', expected b'MThd'"),
    ],
    ids=[
        *("truncated", "missing_tracks", "running_status", "bad_status", "data_byte", "bad_length", "header"),
        *("in_riff", "in_riff_in_macbinary", "in_macbinary", "riff_in_riff"),
    ],
)
def test_message_names_the_position_of_the_byte_at_fault(data: bytes, message: str) -> None:
    assert message in str(rejection_of(data, "bad.mid", "smf"))


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A compressed score with this content, which begins at byte 39."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("score.xml", content)
    return packed.getvalue()


def overwritten(data: bytes, at: int, new: bytes) -> bytes:
    """The data with other bytes from a position on, which counts from the end if it is negative."""
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


SILENT_SCORE = b'<score-partwise version="3.1"><part-list/></score-partwise>'
STORED = zipped(SILENT_SCORE, zipfile.ZIP_STORED)
BAD_SCORES = {
    "no_bytes": b"",
    "text": b"not a score",
    "noise": b"\x00\xff" * 50,
    "midi": VALID,
    "xml_cut_off": b'<score-partwise version="3.1"><part-list>',
    "zip_cut_off": zipped(SILENT_SCORE)[:40],
    "zip_of_text": zipped(b"not a score"),
    "zip_of_unknown_method": overwritten(STORED, STORED.index(b"PK\x01\x02") + 10, b"\x63"),
    "zip_with_damaged_deflate": overwritten(zipped(SILENT_SCORE), 39, b"\xff"),
    "zip_with_damaged_bzip2": overwritten(zipped(SILENT_SCORE, zipfile.ZIP_BZIP2), 45, b"\xff" * 9),
    "zip_with_damaged_lzma": overwritten(zipped(SILENT_SCORE, zipfile.ZIP_LZMA), 45, b"\xff" * 9),
    "zip_with_wrong_size": overwritten(STORED, STORED.index(b"PK\x01\x02") + 20, b"\xff\xff\x00\x00" * 2),
    "zip_with_wrong_directory": overwritten(STORED, -6, b"\xff\xff"),
}


# After an error, music21's ABC reader leaves its file open until the garbage collector closes it.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("suffix", [*sorted(SCORE_SUFFIXES), ".MusicXML"])
def test_damaged_score_is_rejected_with_the_same_message_for_both_parsers(suffix: str) -> None:
    for name, data in BAD_SCORES.items():
        smf, music21 = (rejection_of(data, f"bad{suffix}", parser) for parser in PARSERS)
        assert (smf.reason, music21.reason) == (Reason.BAD_SCORE, Reason.BAD_SCORE), name
        assert str(smf) == str(music21), name
    gc.collect()  # the warning about the open file is ignored only in this test


def test_valid_score_without_notes_is_rejected_as_no_notes() -> None:
    assert outcome(SILENT_SCORE, "silent.musicxml", "smf") is Reason.NO_NOTES
    assert outcome(STORED, "silent.mxl", "smf") is Reason.NO_NOTES


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(midi(NOTE + variable_length(24 * (MAX_STEPS - 1) - 96) + NOTE[1:4] + END), id="longest_roll"),
        pytest.param(VALID + bytes(MAX_BYTES - len(VALID)), id="largest_file"),
        pytest.param(midi(NOTE + b"\xff\xff\xff\x7f" + END[1:]), id="longest_rest_at_the_end"),
        pytest.param(midi(b"\xff\xff\xff\x7f" + NOTE[1:] + END), id="longest_rest_at_the_start"),
        pytest.param(midi(NOTE + b"\x00\xff\x01\x01a" + NOTE[:1] + NOTE[2:4] + END), id="running_status_across_a_meta"),
        pytest.param(midi(NOTE + END, END, file_type=0), id="two_tracks_of_type_0"),
        pytest.param(midi(NOTE), id="no_end_of_track"),
        pytest.param(VALID + b"junk", id="junk_after_the_declared_tracks"),
        pytest.param(midi(NOTE + b"\x00\xff\x7f\x00\x00\xff\x60\x02ab" + END), id="unknown_meta"),
        pytest.param(midi(b"\x00\xff\x51\x02\x00\x01\x00\xff\x51\x00" + NOTE + END), id="short_tempos"),
        pytest.param(midi(b"\x00\xf7\x03\x90\x3c\x40" + NOTE + END), id="escaped_note"),
    ],
)
def test_extreme_valid_file_is_read(data: bytes, parser: MidiParser) -> None:
    roll, counts = read_roll(data, "extreme.mid", ReadOptions(parser))
    assert counts.notes == roll.num_notes
    assert len(roll) in (4, MAX_STEPS)


@pytest.mark.parametrize("parser", PARSERS)
def test_kept_rests_count_towards_the_maximum_length(parser: MidiParser) -> None:
    data = midi(NOTE + b"\xff\xff\xff\x7f" + END[1:])
    with pytest.raises(Rejection, match="at most 131072 are supported") as rejection:
        read_roll(data, "rests.mid", ReadOptions(parser, keep_rests=True))
    assert rejection.value.reason is Reason.TOO_LONG


TWO = NOTE + b"\x00\x90\x40\x40\x60\x80\x40\x40"  # two notes of four steps
# A file, the number of its note-ons that are read, and the repairs.
REPAIRED: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "valid": (VALID, 1, ()),
    "extra_track": (midi(NOTE + END) + chunk(b"MTrk", TWO + END), 3, ("extra_tracks",)),
    "extra_tracks": (midi(NOTE + END) + 2 * chunk(b"MTrk", TWO + END), 5, ("extra_tracks",)),
    "extra_tracks_before_a_damaged_one": (
        midi(NOTE + END) + chunk(b"MTrk", TWO + END) + chunk(b"MTrk", TWO + b"\x00\x3c\xff"),
        3,
        ("extra_tracks",),
    ),
    "no_declared_track": (midi(NOTE + END, num_tracks=0), 1, ("extra_tracks",)),
    "long_track": (claiming(VALID, 3), 1, ("long_track",)),
    "long_track_with_junk_behind_its_end": (claiming(VALID, 99) + b"\r\n", 1, ("long_track",)),
    "counted_chunk": (midi(NOTE + END, num_tracks=2) + chunk(b"XFIH", b"odd"), 1, ("counted_chunk",)),
    "counted_chunk_in_front": (
        midi(num_tracks=2) + chunk(b"XFIH", b"odd") + chunk(b"MTrk", NOTE + END) + b"\r\n",
        1,
        ("counted_chunk",),
    ),
    "counted_chunk_and_long_track": (
        midi(num_tracks=2) + chunk(b"XFIH", b"odd") + chunk(b"MTrk", NOTE + END + b"ab")[:-2],
        1,
        ("long_track", "counted_chunk"),
    ),
    "macbinary": (macbinary(VALID), 1, ("macbinary",)),
    "macbinary_of_riff": (macbinary(resized_riff(VALID, 8)), 1, ("macbinary", "riff_size")),
    "riff_size_with_its_header": (resized_riff(VALID, 8), 1, ("riff_size",)),
}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(("data", "num_notes", "repairs"), REPAIRED.values(), ids=REPAIRED)
def test_file_without_doubt_about_pitch_and_time_is_repaired(
    data: bytes, num_notes: int, repairs: tuple[str, ...], parser: MidiParser
) -> None:
    (piece,) = read_pieces(data, "repaired.mid", ReadOptions(parser))
    assert isinstance(piece, Piece)
    assert piece.repairs == repairs
    assert piece.counts.notes + piece.counts.notes_merged == num_notes


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("behind", "num_lost"),
    [
        (b"", 0),
        (NOTE, 1),
        (NOTE + END + NOTE + END + NOTE, 3),
        (b"\x00\x3c\x40", 0),  # the running status is that of a note-off
        (NOTE + b"\x00\xf4" + NOTE, 1),
        (bytes(9), 0),
    ],
)
def test_note_ons_behind_an_end_of_track_are_counted(behind: bytes, num_lost: int, parser: MidiParser) -> None:
    _, counts = read_roll(midi(NOTE + END + behind, NOTE + END), "lost.mid", ReadOptions(parser))
    assert (counts.notes, counts.notes_merged, counts.notes_lost) == (1, 1, num_lost)


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (b"", "the file has no note-on"),
        (b"\x00\x99\x3c\x40\x00\x3d\x40", "all 2 note-ons were dropped: 2 percussion"),
        (b"\x00\x90\x14\x40", "all 1 note-ons were dropped: 1 outside the 88 keys"),
        (b"\x00\xc0\x08\x00\x90\x3c\x40", "all 1 note-ons were dropped: 1 not of the programs in --programs"),
        (END + NOTE, "all 1 note-ons were dropped: 1 lost, such as those after an end-of-track"),
    ],
)
def test_message_of_no_notes_names_the_cause(track: bytes, message: str) -> None:
    with pytest.raises(Rejection) as rejection:
        read_roll(midi(track + END), "silent.mid", ReadOptions(programs=(0,)))
    assert (rejection.value.reason, str(rejection.value)) == (Reason.NO_NOTES, message)


def test_music21_does_not_read_a_file_that_the_check_before_it_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(music21_reader, "read", lambda _: pytest.fail("music21 must not read the file"))
    for options, reason in [
        (ReadOptions("music21", filters=Filters(min_steps=5)), Reason.FILTERED),
        (ReadOptions("music21", programs=(3,)), Reason.NO_NOTES),
    ]:
        with pytest.raises(Rejection) as rejection:
            read_roll(VALID, "filtered.mid", options)
        assert rejection.value.reason is reason


# Files that the table of the corpus, which is older than the repairs, rejects for another reason or at all.
REPAIRED_BAD_INPUTS = {
    "nfroidure_midifile/MIDIBadTrackHdr.mid": "no_notes",  # its track has another name, so it is a counted chunk
    "nfroidure_midifile/MIDIBadTrackLength.mid": "ok",  # the last track claims too many bytes and contains its end-of-track
}


@needs_corpora
@pytest.mark.parametrize("parser", PARSERS)
def test_bad_inputs_of_the_corpus_have_their_expected_outcomes(parser: MidiParser) -> None:
    with (BAD_INPUTS / "expected.csv").open(newline="") as file:
        expected = {row["name"]: row["verdict"] for row in csv.DictReader(file)}
    expected |= REPAIRED_BAD_INPUTS
    outcomes = {name: outcome((BAD_INPUTS / name).read_bytes(), name, parser) for name in expected}
    assert {name: result if isinstance(result, Reason) else "ok" for name, result in outcomes.items()} == expected


@pytest.mark.parametrize("parser", PARSERS)
def test_file_cut_between_chunks_is_kept_if_other_chunks_complete_the_declared_number(parser: MidiParser) -> None:
    """A file whose header counts all chunks looks the same, so that the missing tracks cannot be noticed."""
    other, track = chunk(b"XFIH", b"odd"), chunk(b"MTrk", NOTE + END)
    chunks = [other, track, other, track, track]
    outcomes = [outcome(midi(num_tracks=3) + b"".join(chunks[:count]), "cut.mid", parser) for count in range(len(chunks) + 1)]
    repairs = [result if isinstance(result, Reason) else result.repairs for result in outcomes]
    assert repairs == 3 * [Reason.MISSING_TRACKS] + 2 * [("counted_chunk",)] + [()]


@pytest.mark.parametrize("encoding", [pytest.param(encoding, id=name) for name, encoding in ENCODINGS.items()])
def test_file_cut_at_any_byte_is_rejected_or_gives_the_same_roll(encoding: Encoding) -> None:
    complete = encode_midi(96, VALID_TRACKS, [96, 120], encoding)
    (piece,) = read_pieces(complete, "cut.mid")
    assert isinstance(piece, Piece)
    for length in range(len(complete)):
        result = outcome(complete[:length], "cut.mid", "smf")
        assert result == outcome(complete[:length], "cut.mid", "music21")
        if not isinstance(result, Reason):
            assert "counted_chunk" in result.repairs or (result.roll, result.counts) == (piece.roll, piece.counts)
        else:
            assert result in (Reason.NOT_MIDI, Reason.TRUNCATED, Reason.MISSING_TRACKS)


def with_changed_bytes(seed: int) -> bytes:
    """A valid file in which one to three random bytes are replaced."""
    source = random.Random(seed)
    data = bytearray(encode_midi(96, VALID_TRACKS, [96, 120], source.choice(list(ENCODINGS.values()))))
    for _ in range(source.randint(1, 3)):
        data[source.randrange(len(data))] = source.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("hundred", range(20))
def test_file_with_changed_bytes_has_the_same_outcome_with_both_parsers(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        data = with_changed_bytes(seed)
        assert outcome(data, "changed.mid", "smf") == outcome(data, "changed.mid", "music21"), (seed, data.hex())
