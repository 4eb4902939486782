"""The scanner of one MIDI track, compiled with numba: every byte of the track is checked, and its events are returned.

A kernel cannot raise a rejection with a message. It returns a failure code and the position of the byte at fault instead.
"""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import BANK, DRUM_CHANNEL, NOTES_OFF, OFF, ON, PEDAL, PROGRAM, RHYTHM
from pianogen.midi.scan_buffers import Buffers, Filled

OK, TRUNCATED, MISSING_TRACKS, RUNNING_STATUS, BAD_STATUS, DATA_BYTE, BAD_LENGTH = range(7)
_SYSEX, _SYSEX_CONTINUATION, _META = 0xF0, 0xF7, 0xFF
_SET_TEMPO, _TIME_SIGNATURE, _END_OF_TRACK = 0x51, 0x58, 0x2F
_BANK_SELECT, _HOLD_PEDAL, _ALL_SOUND_OFF, _ALL_NOTES_OFF = 0, 64, 120, 123
_OTHER = 255


class _Number(NamedTuple):
    """A variable-length number, the position after it, and the failure or OK."""

    value: int
    at: int
    failure: int


class _ChannelMessage(NamedTuple):
    """A channel message: its status, the position and number of its data bytes, and the failure or OK."""

    status: int
    at: int
    size: int
    failure: int


class _MetaOrSysex(NamedTuple):
    """A meta or system exclusive event.

    Attributes:
        meta: the type of a meta event, -1 for a system exclusive event.
        at: the position of the content.
        length: the number of bytes of the content.
    """

    status: int
    meta: int
    at: int
    length: int
    failure: int


class TrackStart(NamedTuple):
    """The number of a track, the status in force at its start (0 is none), and whether pedals are read."""

    track: int
    running_status: int
    has_pedals: bool


class TrackScan(NamedTuple):
    """The scan of a track.

    Attributes:
        failure: the failure or OK.
        at: the position where the scan stopped.
        has_end: whether it stopped at an end-of-track event.
        last_event: the position of the last event, behind its delta time; that of the track if it has no events.
        end_tick: the tick of the last event.
        running_status: the status in force, 0 if there is none.
        filled: the events in the buffers, with those of this track.
    """

    failure: int
    at: int
    has_end: bool
    last_event: int
    end_tick: int
    running_status: int
    filled: Filled


@kernel
def big_endian(data: np.ndarray, at: int, count: int) -> int:
    """The number in some bytes."""
    value = 0
    for i in range(count):
        value = (value << 8) | data[at + i]
    return value


@kernel
def _variable_length(data: np.ndarray, at: int, end: int) -> _Number:
    value = 0
    for i in range(4):
        if at + i >= end:
            return _Number(value, at, TRUNCATED)
        byte = data[at + i]
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return _Number(value, at + i + 1, OK)
    return _Number(value, at, BAD_LENGTH)


@kernel
def scan_track(data: np.ndarray, at: int, end: int, start: TrackStart, buffers: Buffers, filled: Filled) -> TrackScan:
    """Reads the events between two positions up to an end-of-track event, and appends them to the buffers."""
    track, running_status, has_pedals = start
    notes, tempos, meters, channel_events, _ = buffers
    num_notes, num_tempos, num_meters, num_channel_events = filled
    tick = 0
    failure = OK
    has_end = False
    last_event = at
    while at < end and not has_end:
        delta, at, failure = _variable_length(data, at, end)
        if failure != OK:
            break
        if at >= end:
            failure = TRUNCATED
            break
        last_event = at
        tick += delta
        if data[at] < 0xF0:
            running_status, at, size, failure = _read_channel_message(data, at, end, running_status)
            if failure != OK:
                break
            if running_status < 0xA0:
                note = notes[num_notes]
                note.tick, note.track, note.channel, note.key = tick, track, running_status & 0x0F, data[at]
                note.kind = ON if running_status >= 0x90 and data[at + 1] != 0 else OFF
                num_notes += 1
            elif 0xB0 <= running_status < 0xD0:
                kind = _kind_of(running_status, data[at], has_pedals)
                if kind != _OTHER:
                    event = channel_events[num_channel_events]
                    event.tick, event.num_notes, event.track = tick, num_notes, track
                    event.channel, event.kind, event.value = running_status & 0x0F, kind, data[at + size - 1]
                    num_channel_events += 1
            at += size
        else:
            message = _read_meta_or_sysex(data, at, end)
            at, failure = message.at, message.failure
            if failure != OK:
                break
            if message.status != _META:
                running_status = 0
                if _is_rhythm_message(data, at, message):
                    event = channel_events[num_channel_events]
                    event.tick, event.num_notes, event.track = tick, num_notes, track
                    event.channel, event.kind, event.value = _part_channel(data[at + 5] & 0x0F), RHYTHM, data[at + 7]
                    num_channel_events += 1
            elif message.meta == _SET_TEMPO:
                tempo_us = big_endian(data, at, 3) if message.length == 3 else 0
                tempos[num_tempos].tick, tempos[num_tempos].tempo_us = tick, tempo_us
                num_tempos += tempo_us > 0
            elif message.meta == _TIME_SIGNATURE:
                num_meters += _write_meter(data, message, tick, meters[num_meters])
            at += message.length
            has_end = message.meta == _END_OF_TRACK
    filled = Filled(num_notes, num_tempos, num_meters, num_channel_events)
    return TrackScan(failure, at, has_end, last_event, tick, running_status, filled)


@kernel
def _kind_of(status: int, first: int, has_pedals: bool) -> int:
    """The kind of a controller or program change with this first data byte; _OTHER if it does not change a roll."""
    if status >= 0xC0:
        return PROGRAM
    if first == _BANK_SELECT:
        return BANK
    if first == _HOLD_PEDAL:
        return PEDAL if has_pedals else _OTHER
    return NOTES_OFF if first in (_ALL_SOUND_OFF, _ALL_NOTES_OFF) else _OTHER


@kernel
def _is_rhythm_message(data: np.ndarray, at: int, message: _MetaOrSysex) -> bool:
    """Whether a system exclusive event is the GS message "use for rhythm part": 41 dd 42 12 40 1x 15 mm."""
    if message.status != _SYSEX or message.length < 8:
        return False
    is_gs = data[at] == 0x41 and data[at + 2] == 0x42 and data[at + 3] == 0x12
    return bool(is_gs and data[at + 4] == 0x40 and data[at + 5] & 0xF0 == 0x10 and data[at + 6] == 0x15)


@kernel
def _part_channel(part: int) -> int:
    """The channel of a GS part: part 0 is the percussion channel, the others are the remaining channels in order."""
    return DRUM_CHANNEL if part == 0 else part - (part <= DRUM_CHANNEL)


@kernel
def _write_meter(data: np.ndarray, message: _MetaOrSysex, tick: int, event: np.record) -> int:
    """Writes a time signature with a numerator, and returns the number of time signatures written, 0 or 1."""
    if message.length < 2 or data[message.at] == 0:
        return 0
    event.tick, event.numerator, event.power = tick, data[message.at], data[message.at + 1]
    return 1


@kernel
def _read_channel_message(data: np.ndarray, at: int, end: int, running_status: int) -> _ChannelMessage:
    status = running_status
    if data[at] >= 0x80:
        status = data[at]
        at += 1
    elif running_status == 0:
        return _ChannelMessage(status, at, 0, RUNNING_STATUS)
    size = 1 if 0xC0 <= status < 0xE0 else 2
    num_legal = _count_data_bytes(data, at, end, size)
    if num_legal < size:
        at += num_legal
        return _ChannelMessage(status, at, size, TRUNCATED if at == end else DATA_BYTE)
    return _ChannelMessage(status, at, size, OK)


@kernel
def _count_data_bytes(data: np.ndarray, at: int, end: int, most: int) -> int:
    """The number of consecutive data bytes (0 to 0x7F) at this position, at most `most`."""
    for i in range(most):
        if at + i >= end or data[at + i] > 0x7F:
            return i
    return most


@kernel
def _read_meta_or_sysex(data: np.ndarray, at: int, end: int) -> _MetaOrSysex:
    status, meta = data[at], -1
    if status == _META:
        if at + 1 >= end:
            return _MetaOrSysex(status, meta, at, 0, TRUNCATED)
        meta = data[at + 1]
        at += 2
    elif status in (_SYSEX, _SYSEX_CONTINUATION):
        at += 1
    else:
        return _MetaOrSysex(status, meta, at, 0, BAD_STATUS)
    length, at, failure = _variable_length(data, at, end)
    if failure == OK and at + length > end:
        failure = TRUNCATED
    return _MetaOrSysex(status, meta, at, length, failure)
