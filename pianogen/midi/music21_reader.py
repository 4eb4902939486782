"""The events of MIDI files as music21 reads them.

A file never becomes a music21 stream, because streams move and merge notes.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from music21 import midi

from pianogen.midi.events import (
    BANK,
    CHANNEL_EVENT,
    METER_EVENT,
    NOTE_EVENT,
    NOTES_OFF,
    OFF,
    ON,
    PEDAL,
    PROGRAM,
    RHYTHM,
    TEMPO_EVENT,
    Events,
)
from pianogen.midi.smf import Scan

_CONTROLLERS = {0: BANK, 64: PEDAL}
# The GS message "use for rhythm part": the part, of which 0 is the percussion channel, and the map, of which 0 is none.
_RHYTHM_MESSAGE = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15(.)", re.DOTALL)
_NOTE_ON, _NOTE_OFF = midi.ChannelVoiceMessages.NOTE_ON, midi.ChannelVoiceMessages.NOTE_OFF


def read(scan: Scan) -> Events:
    """The events of a MIDI file, which is checked: the verdict does not depend on the parser."""
    parsed = midi.MidiFile()
    with _without_garbage_collection():
        parsed.readstr(scan.normalize())
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


def _events(parsed: midi.MidiFile) -> Events:
    notes: list[tuple[int, int, int, int | bytes | None, int]] = []
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
                is_on = kind is _NOTE_ON and event.parameter2 != 0
                notes.append((tick, index, event.channel - 1, event.parameter1, ON if is_on else OFF))
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
    return Events(
        ticks_per_quarter=parsed.ticksPerQuarterNote,
        notes=np.array(notes, NOTE_EVENT),
        tempos=np.array(tempos, TEMPO_EVENT),
        meters=np.array(meters, METER_EVENT),
        end_tick=end_tick,
        channel_events=np.array(channel_events, CHANNEL_EVENT),
    )


def _channel_event(event: midi.MidiEvent) -> tuple[int, int, Any] | None:
    """(channel, kind, value) of an event, as in CHANNEL_EVENT; None if the event does not change a roll."""
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
