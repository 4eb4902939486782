"""One input's bytes to a roll: the size limit, the right reader, the quantizer."""

import os.path
from typing import Literal

from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import Roll

MAX_BYTES = 16_777_216
MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})
SCORE_SUFFIXES = frozenset({".mxl", ".musicxml", ".xml", ".krn", ".abc"})

Parser = Literal["smf", "music21"]


def is_input(name: str) -> bool:
    """Whether a file of this name is read as music; its suffix decides, in any case."""
    return _suffix(name) in MIDI_SUFFIXES or is_score(name)


def is_score(name: str) -> bool:
    """Whether a file of this name is read as a score, by music21."""
    return _suffix(name) in SCORE_SUFFIXES


def read_roll(data: bytes, name: str, parser: Parser = "smf", keep_rests: bool = False) -> tuple[Roll, Counts]:
    """The roll of a MIDI file or score.

    Args:
        data: the file's bytes.
        name: its suffix tells a score from a MIDI file.
        parser: who reads MIDI events; roll, verdict and reason do not depend on it.
        keep_rests: keep leading and trailing silence.

    Raises:
        Rejection: with the reason code the ledger shows.
    """
    if len(data) > MAX_BYTES:
        raise too_large(len(data))
    # Imported here: numba and music21 take 0.3 s and 100 MB each, for which many have no use who import this module.
    from pianogen.midi.quantize import quantize

    if parser == "smf" and not is_score(name):
        from pianogen.midi import smf

        return quantize(smf.read(data), keep_rests)
    from pianogen.midi import music21_reader

    return quantize(music21_reader.read_score(data, name) if is_score(name) else music21_reader.read(data), keep_rests)


def too_large(num_bytes: int) -> Rejection:
    """The refusal of an input of this size, also where only its size was looked at."""
    return Rejection(Reason.TOO_LARGE, f"{num_bytes:,} bytes; at most {MAX_BYTES:,} are read")


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
