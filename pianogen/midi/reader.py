"""The entry point of this folder: the bytes of a MIDI file or score to a roll."""

import os.path
from typing import Literal

from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import Roll

MAX_BYTES = 16_777_216
MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})
SCORE_SUFFIXES = frozenset({".mxl", ".musicxml", ".xml", ".krn", ".abc"})

MidiParser = Literal["smf", "music21"]


def is_input(name: str) -> bool:
    """Whether a file with this name can become a roll; only its suffix counts, in upper or lower case."""
    return _suffix(name) in MIDI_SUFFIXES or is_score(name)


def is_score(name: str) -> bool:
    """Whether a file with this name is a score."""
    return _suffix(name) in SCORE_SUFFIXES


def read_roll(data: bytes, name: str, parser: MidiParser = "smf", keep_rests: bool = False) -> tuple[Roll, Counts]:
    """The roll of a MIDI file or score.

    Args:
        data: the content of the file.
        name: the name of the file; the suffix distinguishes scores from MIDI files.
        parser: reads the events of MIDI files; the roll, or the reason of a rejection, does not depend on it.
        keep_rests: keep leading and trailing silence.

    Raises:
        Rejection: the file cannot become a roll.
    """
    if len(data) > MAX_BYTES:
        raise too_large(len(data))
    # Imported here because numba and music21 take 0.3 s and 100 MB each, and many modules import this one only for its constants.
    from pianogen.midi.quantize import quantize

    if is_score(name):
        from pianogen.midi import score_reader

        tunes = score_reader.read_score(data, _suffix(name))
        if len(tunes) > 1:
            raise Rejection(Reason.BAD_SCORE, f"{len(tunes)} tunes in one file, expected one; split the file")
        events = tunes[0].events
        if isinstance(events, Rejection):
            raise events
    elif parser == "music21":
        from pianogen.midi import music21_reader

        events = music21_reader.read(data)
    else:
        from pianogen.midi import smf

        events = smf.read(data)
    return quantize(events, keep_rests)


def too_large(num_bytes: int) -> Rejection:
    """The rejection of an input of this size, for callers that know the size before they read the content."""
    return Rejection(Reason.TOO_LARGE, f"{num_bytes:,} bytes; at most {MAX_BYTES:,} are read")


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
