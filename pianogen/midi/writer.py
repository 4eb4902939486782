"""A roll to a MIDI file with one piano track, encoded by music21.

A roll that begins within a bar is written after so much silence that its first bar begins with the file.
"""

import functools
from collections.abc import Iterator

import numpy as np
from music21.midi import ChannelVoiceMessages, DeltaTime, MetaEvents, MidiEvent, MidiFile, MidiTrack

from pianogen.errors import PianogenError
from pianogen.midi.time_signatures import TimeSignatures, find_time_signatures
from pianogen.roll import LOWEST_KEY, MAX_TEMPO_US, Roll, notes

TICKS_PER_QUARTER = 480
VELOCITY = 80
# The order of the events of one tick: notes end before others begin, so that every player sounds a repeated note.
_NOTE_OFF, _TEMPO, _TIME_SIGNATURE, _NOTE_ON = range(4)
_CLOCKS_PER_CLICK, _THIRTY_SECONDS_PER_QUARTER = 24, 8  # the usual last bytes of a time signature; the first is a quarter note


def write_midi(roll: Roll) -> bytes:
    """The content of a MIDI file: an onset starts a note, the holds after it extend the note, any other hold is silent.

    The time signatures reproduce the bar positions of the roll, see `find_time_signatures`.

    Raises:
        PianogenError: a tempo is outside 1..16,777,215 microseconds per quarter note, or a step is not a whole number of ticks.
    """
    if TICKS_PER_QUARTER % roll.steps_per_quarter:
        raise PianogenError(
            f"{roll.steps_per_quarter} steps per quarter note do not divide {TICKS_PER_QUARTER} ticks; convert the piece with "
            "another number"
        )
    wrong = np.flatnonzero((roll.tempo_us < 1) | (roll.tempo_us > MAX_TEMPO_US))
    if len(wrong):
        step = int(wrong[0])
        raise PianogenError(
            f"step {step} has a tempo of {roll.tempo_us[step]} us per quarter note; a MIDI file can hold 1 to "
            f"{MAX_TEMPO_US}; correct the tempo"
        )
    ticks_per_step = TICKS_PER_QUARTER // roll.steps_per_quarter
    signatures = find_time_signatures(roll.bar_position, roll.steps_per_quarter)
    parts = []
    now = 0
    for step, kind, value in _timeline(roll, signatures):
        parts += [_delta((step - now) * ticks_per_step), _event(kind, value)]
        now = step
    parts += [_delta((signatures.silent_steps + len(roll) - now) * ticks_per_step), _end()]
    track = b"".join(parts)
    return _header() + MidiTrack.headerId + len(track).to_bytes(4, "big") + track


def _timeline(roll: Roll, signatures: TimeSignatures) -> Iterator[tuple[int, int, int]]:
    """(step of the file, kind, MIDI note number or other value) of every event, in the order of the file."""
    piano_notes = notes(roll.states)
    tempo_us = roll.tempo_us.astype(np.int64)
    changes = np.flatnonzero(np.diff(tempo_us, prepend=0))
    keys = piano_notes[:, 2] + LOWEST_KEY
    silent_steps = signatures.silent_steps
    tempo_steps = np.where(changes > 0, changes + silent_steps, 0)
    rows = np.concatenate(
        [
            _rows(piano_notes[:, 1] + silent_steps, _NOTE_OFF, keys),
            _rows(tempo_steps, _TEMPO, tempo_us[changes]),
            _rows(signatures.step, _TIME_SIGNATURE, signatures.numerator << 8 | signatures.power),
            _rows(piano_notes[:, 0] + silent_steps, _NOTE_ON, keys),
        ]
    )
    order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
    return iter(map(tuple, rows[order].tolist()))


def _rows(steps: np.ndarray, kind: int, values: np.ndarray) -> np.ndarray:
    return np.stack([steps, np.full(len(steps), kind), values], axis=1)


# A piece has few different events; without the cache, encoding takes eight times as long.
@functools.lru_cache(maxsize=65_536)
def _event(kind: int, value: int) -> bytes:
    if kind == _TEMPO:
        event = MidiEvent(type=MetaEvents.SET_TEMPO)
        event.data = value.to_bytes(3, "big")
        return event.getBytes()
    if kind == _TIME_SIGNATURE:
        event = MidiEvent(type=MetaEvents.TIME_SIGNATURE)
        event.data = bytes([*value.to_bytes(2, "big"), _CLOCKS_PER_CLICK, _THIRTY_SECONDS_PER_QUARTER])
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
