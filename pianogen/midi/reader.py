"""The entry point of this folder: the bytes of a MIDI file or score to rolls."""

import os.path
from typing import TYPE_CHECKING, NamedTuple

from pianogen.midi.counts import Counts
from pianogen.midi.options import DEFAULT_OPTIONS, ReadOptions
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
    """One piece of an input.

    Attributes:
        name: the name of the input, with #1, #2, … if the input contains several pieces.
        repairs: what was repaired to read the input, one word each.
    """

    name: str
    roll: Roll
    counts: Counts
    repairs: tuple[str, ...]


def read_pieces(data: bytes, name: str, options: ReadOptions = DEFAULT_OPTIONS) -> list[Piece | Rejection]:
    """The pieces of a MIDI file or score: one, or one for each tune of a score that contains several.

    Args:
        data: the content of the file.
        name: the name of the file; the suffix distinguishes scores from MIDI files.

    Returns:
        The pieces in the order of the file, or why a piece cannot become a roll.

    Raises:
        Rejection: the file cannot be read.
    """
    if len(data) > MAX_BYTES:
        raise too_large(len(data))
    # Imported here because numba takes 0.3 s and 100 MB, and many modules import this one only for its constants.
    from pianogen.midi import smf
    from pianogen.midi.quantize import quantize

    if is_score(name):
        return _read_score(data, name, options)
    scan = smf.scan(data, options.sustain)
    roll, counts = quantize(scan.events, options)
    if options.parser == "music21":  # only now: for a file that is rejected above, it may exceed the limits of time and memory
        from pianogen.midi import music21_reader

        roll, counts = quantize(music21_reader.read(scan), options)
    return [Piece(name, roll, counts, scan.events.repairs)]


def _read_score(data: bytes, name: str, options: ReadOptions) -> list[Piece | Rejection]:
    from pianogen.midi.score_reader import read_score

    tunes = read_score(data, _suffix(name))
    names = [name] if len(tunes) == 1 else [f"{name}#{number}" for number in range(1, len(tunes) + 1)]
    return [_quantize_tune(name, events, options) for name, events in zip(names, tunes, strict=True)]


def _quantize_tune(name: str, events: "Events | Rejection", options: ReadOptions) -> Piece | Rejection:
    from pianogen.midi.quantize import quantize

    if isinstance(events, Rejection):
        return events
    try:
        return Piece(name, *quantize(events, options), events.repairs)
    except Rejection as rejection:
        return rejection


def read_roll(data: bytes, name: str, options: ReadOptions = DEFAULT_OPTIONS) -> tuple[Roll, Counts]:
    """The roll of the first piece of a MIDI file or score; see `read_pieces`.

    Raises:
        Rejection: the first piece cannot become a roll.
    """
    piece = read_pieces(data, name, options)[0]
    if isinstance(piece, Rejection):
        raise piece
    return piece.roll, piece.counts


def too_large(num_bytes: int) -> Rejection:
    """The rejection of an input of this size, for callers that know the size before they read the content."""
    return Rejection(Reason.TOO_LARGE, f"{num_bytes:,} bytes; at most {MAX_BYTES:,} are read")


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
