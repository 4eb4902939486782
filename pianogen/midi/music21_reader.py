"""The events of MIDI files and scores as music21 reads them; the only module that uses music21's readers.

A MIDI file never becomes a music21 stream, because streams move and merge notes. A score is always a stream, and music21 exports
the stream to MIDI events, which are then quantized like those of a MIDI file.
"""

import gc
import io
import lzma
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
from music21 import converter, midi
from music21.exceptions21 import Music21Exception
from music21.midi.translate import streamToMidiFile
from music21.stream import Opus

from pianogen.midi.events import (
    BANK,
    CHANNEL_EVENT,
    NOTES_OFF,
    PEDAL,
    PROGRAM,
    RHYTHM,
    Events,
    MeterEvents,
    NoteEvents,
    TempoEvents,
)
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.smf import Scan

# What music21's score readers raise for damaged scores: their own errors, and those of Python's containers, numbers and
# attributes. MemoryError is not among them: `preprocess.isolation` reports it as another reason.
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
_CONTROLLERS = {0: BANK, 64: PEDAL}
# The GS message "use for rhythm part": the part, of which 0 is the percussion channel, and the map, of which 0 is none.
_RHYTHM_MESSAGE = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15(.)", re.DOTALL)
_NOTE_ON, _NOTE_OFF = midi.ChannelVoiceMessages.NOTE_ON, midi.ChannelVoiceMessages.NOTE_OFF


def read(scan: Scan) -> Events:
    """The events of a MIDI file, which is checked: the verdict does not depend on the parser."""
    parsed = midi.MidiFile()
    with _without_garbage_collection():
        parsed.readstr(scan.normalise())
        events = _events(parsed)
    return replace(events, notes_lost=scan.events.notes_lost, repairs=scan.events.repairs)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """music21 creates several objects per event; collecting garbage among them takes two fifths of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_score(data: bytes, name: str, suffix: str, score_format: str) -> Events:
    """The events of a score, with its repeats expanded.

    Args:
        name: the name of the file, for messages.
        suffix: its suffix in lower case; ".mxl" is compressed MusicXML.
        score_format: music21's name of the format.

    Raises:
        Rejection: music21 cannot read the score.
    """
    if suffix == ".mxl":
        _check_zip(data)
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:  # music21 reads scores only from files
        file.write(data)
        file.flush()
        try:
            # Without forceSource, music21 keeps parsed files in a cache that concurrent processes corrupt.
            score = converter.parseFile(file.name, format=score_format, forceSource=True, storePickle=False)
            if isinstance(score, Opus):
                raise Rejection(Reason.BAD_SCORE, f"{len(score.scores)} scores in one file, expected one; split the file")
            return _events(streamToMidiFile(score, addEndDelay=False))
        except _SCORE_ERRORS as error:
            raise _bad_score(error, file.name, name) from error


def _check_zip(data: bytes) -> None:
    """Checks compressed MusicXML in memory, where an OSError can only mean damaged data and not a failing disk."""
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
        raise Rejection(Reason.BAD_SCORE, f"music21 cannot read the score: its member {damaged} is damaged")


def _bad_score(error: Exception, path: str, name: str) -> Rejection:
    # Temporary paths and addresses of objects differ between runs whose ledgers must be equal.
    text = str(error).replace(path, name) if path else str(error)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
    return Rejection(Reason.BAD_SCORE, f"music21 cannot read the score: {type(error).__name__}: {text}")


def _events(parsed: midi.MidiFile) -> Events:
    notes: list[tuple[int, int, int, int | bytes | None, bool]] = []
    tempos: list[tuple[int, int]] = []
    meters: list[tuple[int, int, int]] = []
    channel_events: list[tuple[int, int, int, int, int, int]] = []
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
            elif kind is midi.MetaEvents.TIME_SIGNATURE and isinstance(event.data, bytes) and len(event.data) >= 2:
                numerator, power = event.data[:2]
                meters += [(tick, numerator, power)] if numerator > 0 else []
            elif (channel_event := _channel_event(event)) is not None:
                channel_events.append((tick, len(notes), index, *channel_event))
        end_tick = max(end_tick, tick)
    note_columns = _columns(notes, 5)
    return Events(
        ticks_per_quarter=parsed.ticksPerQuarterNote,
        notes=NoteEvents(
            tick=note_columns[0],
            track=note_columns[1].astype(np.int32),
            channel=note_columns[2].astype(np.uint8),
            key=note_columns[3].astype(np.uint8),
            is_on=note_columns[4].astype(np.bool_),
        ),
        tempos=TempoEvents(*_columns(tempos, 2)),
        meters=MeterEvents(*_columns(meters, 3)),
        end_tick=end_tick,
        channel_events=np.array(channel_events, CHANNEL_EVENT),
    )


def _columns(rows: Sequence[tuple[Any, ...]], num_columns: int) -> np.ndarray:
    """(num_columns, N) int64 columns of N rows, each column contiguous."""
    return np.array(rows, np.int64).reshape(-1, num_columns).T.copy()


def _channel_event(event: midi.MidiEvent) -> tuple[int, int, Any] | None:
    """(channel, kind, value) of an event, as in CHANNEL_EVENT; None if the event does not matter."""
    kind = event.type
    if kind is midi.ChannelVoiceMessages.PROGRAM_CHANGE:
        return event.channel - 1, PROGRAM, event.data
    if kind is midi.ChannelVoiceMessages.CONTROLLER_CHANGE and event.parameter1 in _CONTROLLERS:
        return event.channel - 1, _CONTROLLERS[event.parameter1], event.parameter2
    if kind in (midi.ChannelModeMessages.ALL_NOTES_OFF, midi.ChannelModeMessages.ALL_SOUND_OFF):
        return event.channel - 1, NOTES_OFF, event.parameter2
    if kind is midi.SysExEvents.F0_SYSEX_EVENT and isinstance(event.data, bytes) and (part := _RHYTHM_MESSAGE.match(event.data)):
        number = part[1][0] & 0x0F
        return (number - 1 if number < 10 else number) if number else 9, RHYTHM, part[2][0]
    return None
