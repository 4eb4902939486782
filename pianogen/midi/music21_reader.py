"""The events of MIDI files and scores as music21 reads them; the one module that touches music21's readers.

music21's streams are never asked about a MIDI file: they move and merge notes. Scores have no other way, and go from
music21's stream to its MIDI events before anything is quantized.
"""

import gc
import io
import lzma
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np
from music21 import converter, midi
from music21.exceptions21 import Music21Exception
from music21.midi.translate import streamToMidiFile
from music21.stream import Opus

from pianogen.midi import smf
from pianogen.midi.events import Events
from pianogen.midi.rejection import Reason, Rejection

# What music21's score readers were seen to raise, beside their own, over damaged scores: the errors of Python's containers,
# numbers and attributes met half way through a document. MemoryError and the operating system's signals are not among them.
_SCORE_ERRORS = (
    Music21Exception,
    ElementTree.ParseError,
    zipfile.BadZipFile,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_NOTE_ON, _NOTE_OFF = midi.ChannelVoiceMessages.NOTE_ON, midi.ChannelVoiceMessages.NOTE_OFF
SCORE_FORMATS = {".mxl": "musicxml", ".musicxml": "musicxml", ".xml": "musicxml", ".krn": "humdrum", ".abc": "abc"}


def read(data: bytes) -> Events:
    """The events of a MIDI file, after the strict check of `pianogen.midi.smf`, so that the verdict is the same.

    Raises:
        Rejection: as `pianogen.midi.smf.read`.
    """
    parsed = midi.MidiFile()
    with _without_garbage_collection():
        parsed.readstr(smf.normalise(data))
        return _events(parsed)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """music21 makes objects by the event; looking for garbage among them, again and again, takes two fifths of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_score(data: bytes, name: str) -> Events:
    """The events of a MusicXML, compressed MusicXML, Humdrum or ABC score, its repeats played.

    Args:
        name: its suffix tells the format.

    Raises:
        Rejection: music21 cannot read the score.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".mxl":
        _check_zip(data)
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:  # music21 unpacks and decodes scores by path alone
        file.write(data)
        file.flush()
        try:
            # Without forceSource, music21 keeps parsed files in a cache that concurrent processes corrupt.
            score = converter.parseFile(file.name, format=SCORE_FORMATS[suffix], forceSource=True, storePickle=False)
            if isinstance(score, Opus):
                raise Rejection(Reason.BAD_SCORE, f"{len(score.scores)} works in one file; one score is expected: split the file")
            return _events(streamToMidiFile(score, addEndDelay=False))
        except _SCORE_ERRORS as error:
            raise _bad_score(error, file.name, name) from error


def _check_zip(data: bytes) -> None:
    """Reads the archive once in memory, where an OSError speaks of the data and never of the disk."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise _bad_score(error, "", "") from error
    if damaged is not None:
        raise Rejection(Reason.BAD_SCORE, f"music21 cannot read this score: its member {damaged} is damaged")


def _bad_score(error: Exception, path: str, name: str) -> Rejection:
    # Equal runs have equal ledgers: no temporary path and no address of an object in a message.
    said = re.sub(r"0x[0-9a-f]{6,}", "0x…", str(error).replace(path, name) if path else str(error))
    return Rejection(Reason.BAD_SCORE, f"music21 cannot read this score: {type(error).__name__}: {said}")


def _events(parsed: midi.MidiFile) -> Events:
    notes: list[tuple[int, int, int, int | bytes | None, bool]] = []
    tempos: list[tuple[int, int]] = []
    end_tick = 0
    for index, track in enumerate(parsed.tracks):
        tick = 0
        for event in track.events:
            kind = event.type
            if kind == "DeltaTime":
                tick += event.time
            elif kind is _NOTE_ON or kind is _NOTE_OFF:
                notes.append((tick, index, event.channel - 1, event.parameter1, kind is _NOTE_ON and event.parameter2 != 0))
            elif kind is midi.MetaEvents.SET_TEMPO and isinstance(event.data, bytes) and len(event.data) == 3:
                tempo_us = int.from_bytes(event.data, "big")
                if tempo_us > 0:
                    tempos.append((tick, tempo_us))
        end_tick = max(end_tick, tick)
    note_columns = np.array(notes, np.int64).reshape(-1, 5).T
    tempo_columns = np.array(tempos, np.int64).reshape(-1, 2).T
    return Events(
        ticks_per_quarter=parsed.ticksPerQuarterNote,
        tick=note_columns[0].copy(),
        track=note_columns[1].astype(np.int32),
        channel=note_columns[2].astype(np.uint8),
        key=note_columns[3].astype(np.uint8),
        is_on=note_columns[4].astype(np.bool_),
        tempo_tick=tempo_columns[0].copy(),
        tempo_us=tempo_columns[1].copy(),
        end_tick=end_tick,
    )
