"""MIDI files built after public bug reports: the outcome of each, with both parsers."""

from typing import NamedTuple

import pytest

from pianogen.midi.options import MidiParser, ReadOptions
from pianogen.midi.reader import Piece, read_pieces
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import notes
from tests.support.corpora import CASES_MIDI, needs_corpora
from tests.support.roll_comparison import PARSERS


class Kept(NamedTuple):
    """What is read of a file: its notes and steps, the note-ons that are dropped or lost, and the repairs."""

    num_notes: int
    num_steps: int
    num_drum: int = 0
    num_lost: int = 0
    repairs: tuple[str, ...] = ()


CASES: dict[str, Kept | Reason] = {
    "ableton_negative_delta.mid": Reason.BAD_LENGTH,
    "controller_255.mid": Reason.DATA_BYTE,
    "corrupt_division.mid": Reason.SMPTE_DIVISION,
    "crlf_tail.mid": Kept(8, 16),
    "empty_mtrk.mid": Kept(8, 16),
    "empty_sysex.mid": Kept(1, 4),
    "eot_in_the_middle.mid": Kept(5, 16, num_lost=2),
    "events_between_tracks.mid": Reason.TRUNCATED,
    "extra_tracks.mid": Kept(8, 16, repairs=("extra_tracks",)),
    "gm_melodic_channel_10_gs.mid": Kept(4, 16),
    "gs_rhythm_channel_11.mid": Kept(4, 16, num_drum=16),
    "header_extra_word.mid": Reason.TRUNCATED,
    "html_page.mid": Reason.NOT_MIDI,
    "key_signature_18_flats.mid": Kept(4, 16),
    "kunst_overlap.mid": Kept(3, 20),
    "odd_chunk_padded.mid": Reason.TRUNCATED,
    "rmi_data_size_8_too_big.rmi": Kept(8, 16, repairs=("riff_size",)),
    "rmi_named_mid.mid": Kept(8, 16),
    "rmi_odd_chunks.rmi": Kept(8, 16),
    "sem1_chunk.mid": Kept(4, 16),
    "six_bytes_tail.mid": Kept(8, 16),
    "sjis_karaoke.kar": Kept(1, 4),
    "stuck_note_spoils_stream.mid": Kept(4, 44),
    "sysex_high_byte.mid": Kept(1, 4),
    "tempo_after_music.mid": Kept(4, 16),
    "tempo_in_third_track.mid": Kept(4, 16),
    "track_length_too_long.mid": Kept(8, 16, repairs=("long_track",)),
    "track_length_too_long_middle.mid": Reason.TRUNCATED,
    "track_length_too_short.mid": Reason.TRUNCATED,
    "twenty_tracks.mid": Kept(20, 20),
    "unknown_meta_types.mid": Kept(2, 8),
    "xmi.mid": Reason.NOT_MIDI,
    "zero_length_same_tick.mid": Kept(2, 20),
}


def outcome(name: str, parser: MidiParser) -> Kept | Reason:
    """What is read of a file, or the reason of its rejection."""
    try:
        (piece,) = read_pieces((CASES_MIDI / name).read_bytes(), name, ReadOptions(parser))
    except Rejection as rejection:
        return rejection.reason
    assert isinstance(piece, Piece)
    counts = piece.counts
    return Kept(counts.notes, len(piece.roll), counts.notes_drum, counts.notes_lost, piece.repairs)


@needs_corpora
@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("name", CASES)
def test_case_is_kept_or_rejected_as_expected(name: str, parser: MidiParser) -> None:
    assert outcome(name, parser) == CASES[name]


@needs_corpora
def test_table_has_every_midi_file_of_the_cases() -> None:
    assert sorted(CASES) == sorted(path.name for path in CASES_MIDI.iterdir() if path.suffix in (".mid", ".kar", ".rmi"))


@needs_corpora
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kunst_overlap.mid", [(0, 4, 48), (4, 12, 48), (16, 20, 48)]),
        ("stuck_note_spoils_stream.mid", [(0, 8, 39), (8, 24, 39), (32, 33, 39), (40, 44, 43)]),
        ("zero_length_same_tick.mid", [(0, 1, 51), (16, 20, 51)]),
    ],
)
def test_notes_keep_their_lengths(name: str, expected: list[tuple[int, int, int]]) -> None:
    (piece,) = read_pieces((CASES_MIDI / name).read_bytes(), name)
    assert isinstance(piece, Piece)
    assert [tuple(row) for row in notes(piece.roll.states).tolist()] == expected
