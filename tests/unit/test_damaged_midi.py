"""Unfinished MIDI files are rejected, and no note-on of a file is lost in silence, with both parsers."""

import pytest

from pianogen.midi.options import MidiParser, ReadOptions
from pianogen.midi.reader import Piece, read_pieces
from pianogen.midi.rejection import Reason, Rejection
from tests.support.reference_reader import Encoding, Track, chunk, decode_track, encode_midi, encode_track
from tests.support.roll_comparison import PARSERS

TRACKS: list[Track] = [
    [(0, ("meta", 3, b"right")), (0, ("tempo", 400_000))],
    [(tick, (kind, 0, 60 + tick)) for tick in range(6) for kind in ("on", "off")],
    [(0, ("sysex", b"\x7e\x7f\x09\x01\xf7")), *((tick, (kind, 1, 40 + tick)) for tick in range(6) for kind in ("on", "off"))],
    [(0, ("voice", 0xC2, b"\x05")), (0, ("voice", 0xC2, b"\x06")), (9, ("on", 2, 30)), (300, ("off", 2, 30))],
]
ENCODINGS = {
    f"{running_status=:d} {end_of_track=:d} {foreign_chunks=:d}": Encoding(
        running_status=running_status, velocity_zero_offs=True, end_of_track=end_of_track, foreign_chunks=foreign_chunks
    )
    for running_status in (False, True)
    for end_of_track in (True, False)
    for foreign_chunks in (False, True)
}
FOUR_NOTES = b"\x00\x90\x3c\x40\x30\x80\x3c\x40" + 3 * b"\x00\x90\x3e\x40\x30\x80\x3e\x40"
ONE_NOTE = FOUR_NOTES[:8]
END = b"\x00\xff\x2f\x00"


def header(num_tracks: int) -> bytes:
    return chunk(b"MThd", b"\0\1" + num_tracks.to_bytes(2, "big") + b"\0\x60")


def outcome(data: bytes, parser: MidiParser) -> Piece | Rejection:
    """The piece of a file, or its rejection."""
    try:
        (piece,) = read_pieces(data, "damaged.mid", ReadOptions(parser))
    except Rejection as rejection:
        return rejection
    return piece


def num_note_ons(piece: Piece) -> int:
    """The note-ons of a file that are kept, merged or counted as lost."""
    return piece.counts.notes + piece.counts.notes_merged + piece.counts.notes_lost


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("num_tracks", [1, 2, 3, 4])
@pytest.mark.parametrize("encoding", [pytest.param(encoding, id=name) for name, encoding in ENCODINGS.items()])
def test_file_with_zeros_instead_of_its_end_is_rejected_or_gives_the_same_roll(
    encoding: Encoding, num_tracks: int, parser: MidiParser
) -> None:
    """A download reserves the space of a file before it writes it; the zeros begin at any byte behind the header.

    A file in which other chunks complete the declared number of tracks may also have been cut between two chunks.
    """
    tracks = TRACKS[-num_tracks:]
    data = encode_midi(96, tracks, [track[-1][0] for track in tracks], encoding)
    complete = outcome(data, parser)
    assert isinstance(complete, Piece)
    for begin in range(14, len(data)):
        result = outcome(data[:begin] + bytes(len(data) - begin + 32), parser)
        if isinstance(result, Rejection):
            assert result.reason in (Reason.TRUNCATED, Reason.MISSING_TRACKS), (begin, str(result))
        elif "counted_chunk" not in result.repairs:
            # The first bytes of another chunk behind a track without end-of-track may be counted as a note that is lost.
            assert (result.roll, result.counts._replace(notes_lost=0)) == (complete.roll, complete.counts), begin


@pytest.mark.parametrize("parser", PARSERS)
def test_zeros_are_not_counted_as_chunks(parser: MidiParser) -> None:
    data = header(5) + chunk(b"MTrk", FOUR_NOTES + END) + bytes(800)
    result = outcome(data, parser)
    assert isinstance(result, Rejection)
    assert result.reason is Reason.TRUNCATED
    assert str(result) == "the file has only zeros from byte 57 on, as after an unfinished download"


@pytest.mark.parametrize("parser", PARSERS)
def test_few_zeros_are_the_last_events_or_another_chunk(parser: MidiParser) -> None:
    """Key 0 is released under a running status, and no end-of-track follows."""
    events = b"\0\x90\x3c\x40\x30\x80\x3c\x40" + bytes(30)
    assert isinstance(outcome(header(1) + chunk(b"MTrk", events), parser), Piece)
    result = outcome(header(1) + chunk(b"MTrk", events + bytes(3)), parser)
    assert isinstance(result, Rejection)
    assert result.reason is Reason.TRUNCATED
    kept = outcome(header(2) + chunk(b"MTrk", FOUR_NOTES + END) + bytes(8), parser)
    assert isinstance(kept, Piece)
    assert kept.repairs == ("counted_chunk",)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(("length", "num_notes"), [(8, 1), (16, 2), (24, 3), (32, 4)])
def test_notes_behind_the_length_of_the_last_track_are_counted(length: int, num_notes: int, parser: MidiParser) -> None:
    result = outcome(header(1) + b"MTrk" + length.to_bytes(4, "big") + FOUR_NOTES + END, parser)
    assert isinstance(result, Piece)
    assert (result.counts.notes + result.counts.notes_merged, result.counts.notes_lost) == (num_notes, 4 - num_notes)
    assert result.repairs == ()


@pytest.mark.parametrize("parser", PARSERS)
def test_message_names_the_notes_behind_a_track_of_length_0(parser: MidiParser) -> None:
    result = outcome(header(1) + b"MTrk" + bytes(4) + FOUR_NOTES + END, parser)
    assert isinstance(result, Rejection)
    assert result.reason is Reason.NO_NOTES
    assert str(result) == "all 4 note-ons were dropped: 4 lost, such as those after an end-of-track"


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("encoding", [pytest.param(encoding, id=name) for name, encoding in ENCODINGS.items()])
def test_every_note_of_a_last_track_with_a_wrong_length_is_kept_or_counted(
    encoding: Encoding, is_declared: bool, parser: MidiParser
) -> None:
    """The length may cut a declared track within an event, which is a rejection."""
    track = encode_track(TRACKS[2], 9, encoding)
    complete, _ = decode_track(track + END)
    num_notes = 4 + sum(event[0] == "on" for _, event in complete)
    for length in range(len(track) + 40):
        data = header(1 + is_declared) + chunk(b"MTrk", FOUR_NOTES + END) + b"MTrk" + length.to_bytes(4, "big") + track
        result = outcome(data, parser)
        if isinstance(result, Piece):
            assert num_note_ons(result) == num_notes, length
            assert ("extra_tracks" in result.repairs) <= (not is_declared)
        else:
            assert is_declared
            assert result.reason is Reason.TRUNCATED


@pytest.mark.parametrize("parser", PARSERS)
def test_track_without_its_end_into_which_another_one_reaches_is_rejected(parser: MidiParser) -> None:
    """The header of a track is legal as a note: the delta time "M" and the running status of a note-on for the others."""
    behind = chunk(b"MTrk", FOUR_NOTES + END)
    for size in range(len(ONE_NOTE) + 1, len(ONE_NOTE) + len(behind)):
        data = header(1) + b"MTrk" + size.to_bytes(4, "big") + ONE_NOTE + behind
        result = outcome(data, parser)
        assert isinstance(result, Rejection), size
        assert result.reason is Reason.TRUNCATED
    kept = outcome(header(1) + chunk(b"MTrk", ONE_NOTE) + behind, parser)
    assert isinstance(kept, Piece)
    assert (num_note_ons(kept), kept.counts.notes_lost, kept.repairs) == (5, 0, ("extra_tracks",))


# What follows a complete declared track of four notes, or one without an end-of-track, and the note-ons that are lost.
BEHIND = {
    "long_track": (END + b"MTrk\0\0\1\0" + FOUR_NOTES + END, 4),
    "long_track_without_its_end": (END + b"MTrk\0\0\1\0" + FOUR_NOTES, 4),
    "two_long_tracks": (END + 2 * (b"MTrk\0\0\1\0" + FOUR_NOTES + END), 8),
    "damaged_track": (END + chunk(b"MTrk", ONE_NOTE + b"\0\xf4" + ONE_NOTE + END), 1),
    "track_behind_another_chunk": (END + chunk(b"XFIH", b"odd") + chunk(b"MTrk", ONE_NOTE + END), 1),
    "track_behind_junk": (END + b"junk" + chunk(b"MTrk", ONE_NOTE + END), 1),
    "track_behind_junk_with_notes_behind_its_end": (END + b"junk" + chunk(b"MTrk", ONE_NOTE + END + ONE_NOTE + END), 2),
    "another_file": (END + header(1) + chunk(b"MTrk", ONE_NOTE + END), 1),
    "track_header_cut_off": (END + b"MTrk\0\0", 0),
    "rest_and_a_track": (ONE_NOTE + END + chunk(b"MTrk", FOUR_NOTES + END), 5),
    "rest_up_to_an_illegal_event": (ONE_NOTE + b"\0\xf4" + ONE_NOTE + END, 1),
    "rest_behind_another_chunk": (chunk(b"XFIH", b"odd") + ONE_NOTE, 0),
    "zeros": (bytes(9), 0),
    "line_break": (END + b"\r\n", 0),
}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(("behind", "num_lost"), BEHIND.values(), ids=BEHIND)
def test_notes_that_are_not_read_are_counted(behind: bytes, num_lost: int, parser: MidiParser) -> None:
    size = len(FOUR_NOTES) + (len(END) if behind.startswith(END) else 0)
    result = outcome(header(1) + b"MTrk" + size.to_bytes(4, "big") + FOUR_NOTES + behind, parser)
    assert isinstance(result, Piece)
    assert (result.counts.notes + result.counts.notes_merged, result.counts.notes_lost) == (4, num_lost)
    assert result.repairs == ()


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("is_extra", [False, True])
@pytest.mark.parametrize("size", range(12, 59))
def test_tracks_within_a_track_with_a_large_length_are_counted(size: int, is_extra: bool, parser: MidiParser) -> None:
    tracks = chunk(b"MTrk", ONE_NOTE + END) * is_extra + b"MTrk" + size.to_bytes(4, "big") + ONE_NOTE + END
    result = outcome(header(1) + tracks + chunk(b"MTrk", FOUR_NOTES + END) + b"\r\n", parser)
    assert isinstance(result, Piece)
    assert num_note_ons(result) == 5 + is_extra
    assert result.counts.notes_lost == (0 if size == 12 else 4)
