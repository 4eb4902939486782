"""A roll to a MIDI file with one piano track, encoded by music21."""

import functools
from collections.abc import Iterator

import numpy as np
from music21.midi import ChannelVoiceMessages, DeltaTime, MetaEvents, MidiEvent, MidiFile, MidiTrack

from pianogen.errors import PianogenError
from pianogen.roll import LOWEST_KEY, MAX_TEMPO_US, STEPS_PER_QUARTER, Roll, notes

TICKS_PER_QUARTER = 480
TICKS_PER_STEP = TICKS_PER_QUARTER // STEPS_PER_QUARTER
VELOCITY = 80
# The order of the events of one tick: notes end before others begin, so that every player sounds a repeated note.
_NOTE_OFF, _TEMPO, _NOTE_ON = range(3)


def write_midi(roll: Roll) -> bytes:
    """The content of a MIDI file: an onset starts a note, the holds after it extend the note, any other hold is silent.

    Raises:
        PianogenError: a tempo is outside 1..16,777,215 microseconds per quarter note.
    """
    wrong = np.flatnonzero((roll.tempo_us < 1) | (roll.tempo_us > MAX_TEMPO_US))
    if len(wrong):
        step = int(wrong[0])
        raise PianogenError(
            f"step {step} has a tempo of {roll.tempo_us[step]} us per quarter note; a MIDI file can hold 1 to {MAX_TEMPO_US}"
        )
    parts = []
    now = 0
    for step, kind, value in _timeline(roll):
        parts += [_delta((step - now) * TICKS_PER_STEP), _event(kind, value)]
        now = step
    parts += [_delta((len(roll) - now) * TICKS_PER_STEP), _end()]
    track = b"".join(parts)
    return _header() + MidiTrack.headerId + len(track).to_bytes(4, "big") + track


def _timeline(roll: Roll) -> Iterator[tuple[int, int, int]]:
    """(step, kind, MIDI note number or tempo) of every event, in the order of the file."""
    piano_notes = notes(roll.states)
    tempo_us = roll.tempo_us.astype(np.int64)
    changes = np.flatnonzero(np.diff(tempo_us, prepend=0))
    keys = piano_notes[:, 2] + LOWEST_KEY
    rows = np.concatenate(
        [
            np.stack([piano_notes[:, 1], np.full(len(piano_notes), _NOTE_OFF), keys], axis=1),
            np.stack([changes, np.full(len(changes), _TEMPO), tempo_us[changes]], axis=1),
            np.stack([piano_notes[:, 0], np.full(len(piano_notes), _NOTE_ON), keys], axis=1),
        ]
    )
    order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
    return iter(map(tuple, rows[order].tolist()))


# A piece has few different events; without the cache, encoding takes eight times as long.
@functools.lru_cache(maxsize=65_536)
def _event(kind: int, value: int) -> bytes:
    if kind == _TEMPO:
        event = MidiEvent(type=MetaEvents.SET_TEMPO)
        event.data = value.to_bytes(3, "big")
        return event.getBytes()
    is_on = kind == _NOTE_ON
    event = MidiEvent(type=ChannelVoiceMessages.NOTE_ON if is_on else ChannelVoiceMessages.NOTE_OFF, channel=1)
    event.pitch = value
    event.velocity = VELOCITY if is_on else 0
    return event.getBytes()


@functools.lru_cache(maxsize=65_536)
def _delta(ticks: int) -> bytes:
    return DeltaTime(time=ticks).getBytes()


def _end() -> bytes:
    event = MidiEvent(type=MetaEvents.END_OF_TRACK)
    event.data = b""
    return event.getBytes()


def _header() -> bytes:
    file = MidiFile()
    file.format, file.ticksPerQuarterNote, file.tracks = 0, TICKS_PER_QUARTER, [MidiTrack(0)]
    return file.writeMThdStr()
