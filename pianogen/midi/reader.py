"""The entry point of this folder: the bytes of a MIDI file or score to rolls."""

import os.path
from typing import TYPE_CHECKING, NamedTuple

from pianogen.midi.counts import Counts
from pianogen.midi.options import DEFAULT_OPTIONS, MidiParser, ReadOptions
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import Roll

if TYPE_CHECKING:
    from pianogen.midi.events import Events

MAX_BYTES = 16_777_216
MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})
SCORE_SUFFIXES = frozenset({".mxl", ".musicxml", ".xml", ".krn", ".abc"})


def is_input(name: str) -> bool:
    """Whether a file with this name can become a roll; only its suffix counts, in upper or lower case."""
    return _suffix(name) in MIDI_SUFFIXES or is_score(name)


def is_score(name: str) -> bool:
    """Whether a file with this name is a score."""
    return _suffix(name) in SCORE_SUFFIXES


class Piece(NamedTuple):
    """The roll of a piece, and the counts for its row in the ledger."""

    roll: Roll
    counts: Counts


def read_pieces(data: bytes, name: str, options: ReadOptions = DEFAULT_OPTIONS) -> list[Piece | Rejection]:
    """The pieces of a MIDI file or score: one, or one for each tune of a score that contains several.

    Args:
        data: the content of the file.
        name: the name of the file; the suffix distinguishes scores from MIDI files.

    Returns:
        Each piece in the order of the file, or the reason why this one cannot become a roll.

    Raises:
        Rejection: the file contains no piece that can be read.
    """
    if len(data) > MAX_BYTES:
        raise too_large(len(data))
    return [_quantize(events, options) for events in _read_events(data, name, options.parser)]


def read_roll(data: bytes, name: str, options: ReadOptions = DEFAULT_OPTIONS) -> Piece:
    """The first piece of a MIDI file or score; see `read_pieces`.

    Raises:
        Rejection: the first piece cannot become a roll.
    """
    piece = read_pieces(data, name, options)[0]
    if isinstance(piece, Rejection):
        raise piece
    return piece


# The modules below are imported where they are used, because numba and music21 take 0.3 s and 100 MB each, and many modules import
# this one only for its constants.
def _read_events(data: bytes, name: str, parser: MidiParser) -> "list[Events | Rejection]":
    """The events of each piece of an input."""
    if is_score(name):
        from pianogen.midi import score_reader

        return [tune.events for tune in score_reader.read_score(data, _suffix(name))]
    if parser == "music21":
        from pianogen.midi import music21_reader

        return [music21_reader.read(data)]
    from pianogen.midi import smf

    return [smf.read(data)]


def _quantize(events: "Events | Rejection", options: ReadOptions) -> Piece | Rejection:
    from pianogen.midi.quantize import quantize

    if isinstance(events, Rejection):
        return events
    try:
        return Piece(*quantize(events, options))
    except Rejection as rejection:
        return rejection


def too_large(num_bytes: int) -> Rejection:
    """The rejection of an input of this size, for callers that know the size before they read the content."""
    return Rejection(Reason.TOO_LARGE, f"{num_bytes:,} bytes; at most {MAX_BYTES:,} are read")


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
