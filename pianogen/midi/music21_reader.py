"""The events of MIDI files as music21 reads them.

A file never becomes a music21 stream, because streams move and merge notes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from music21 import midi

from pianogen.midi import smf
from pianogen.midi.events import Events, MeterEvents, NoteEvents, TempoEvents

_NOTE_ON, _NOTE_OFF = midi.ChannelVoiceMessages.NOTE_ON, midi.ChannelVoiceMessages.NOTE_OFF


def read(data: bytes) -> Events:
    """The events of a MIDI file.

    Raises:
        Rejection: as `pianogen.midi.smf.read`, which checks the file first, so that the reason does not depend on the parser.
    """
    parsed = midi.MidiFile()
    with _without_garbage_collection():
        parsed.readstr(smf.normalise(data))
        return _events(parsed)


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


def _events(parsed: midi.MidiFile) -> Events:
    notes: list[tuple[int, int, int, int | bytes | None, bool]] = []
    tempos: list[tuple[int, int]] = []
    meters: list[tuple[int, int, int]] = []
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
        end_tick = max(end_tick, tick)
    note_columns = np.array(notes, np.int64).reshape(-1, 5).T
    meter_columns = np.array(meters, np.int64).reshape(-1, 3).T.copy()
    tempo_columns = np.array(tempos, np.int64).reshape(-1, 2).T
    return Events(
        ticks_per_quarter=parsed.ticksPerQuarterNote,
        notes=NoteEvents(
            tick=note_columns[0].copy(),
            track=note_columns[1].astype(np.int32),
            channel=note_columns[2].astype(np.uint8),
            key=note_columns[3].astype(np.uint8),
            is_on=note_columns[4].astype(np.bool_),
        ),
        tempos=TempoEvents(tick=tempo_columns[0].copy(), tempo_us=tempo_columns[1].copy()),
        meters=MeterEvents(*meter_columns),
        end_tick=end_tick,
    )
