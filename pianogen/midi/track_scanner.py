"""The scanner of MIDI tracks, compiled with numba: every byte of every declared track is checked, and its events are returned.

A kernel cannot raise a rejection with a message. It returns a failure code and the position of the byte at fault instead.
"""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import MeterEvents, NoteEvents, TempoEvents

OK, TRUNCATED, MISSING_TRACKS, RUNNING_STATUS, BAD_STATUS, DATA_BYTE, BAD_LENGTH = range(7)
_META, _SET_TEMPO, _TIME_SIGNATURE, _END_OF_TRACK = 0xFF, 0x51, 0x58, 0x2F


class Tracks(NamedTuple):
    """The content of each track chunk: its first byte, the byte after its last event, and whether that is an end-of-track."""

    begin: np.ndarray
    end: np.ndarray
    has_end: np.ndarray


class _Buffers(NamedTuple):
    """Arrays that the kernels fill from the start; each is long enough for any file of this size."""

    notes: NoteEvents
    tempos: TempoEvents
    meters: MeterEvents
    tracks: Tracks


class _Filled(NamedTuple):
    """The numbers of events that the buffers contain."""

    num_notes: int
    num_tempos: int
    num_meters: int


class _Number(NamedTuple):
    """A variable-length number, the position after it, and the failure or OK."""

    value: int
    at: int
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


class _TrackScan(NamedTuple):
    """The scan of a track: the failure or OK, the position where the scan stopped, and the tick of the last event."""

    failure: int
    at: int
    has_end: bool
    end_tick: int
    filled: _Filled


class FileScan(NamedTuple):
    """The scan of all tracks; `end_tick` is that of the longest track."""

    failure: int
    at: int
    end_tick: int
    notes: NoteEvents
    tempos: TempoEvents
    meters: MeterEvents
    tracks: Tracks


@kernel
def _allocate(num_bytes: int, num_tracks: int) -> _Buffers:
    # The shortest note event is a delta, a key and a velocity; the shortest tempo event a delta, FF 51 03 and three bytes; the
    # shortest time signature a delta, FF 58 02 and two bytes.
    num_notes, num_tempos, num_meters = num_bytes // 3 + 1, num_bytes // 7 + 1, num_bytes // 6 + 1
    num_chunks = min(num_tracks, num_bytes // 8)
    notes = NoteEvents(
        np.empty(num_notes, np.int64),
        np.empty(num_notes, np.int32),
        np.empty(num_notes, np.uint8),
        np.empty(num_notes, np.uint8),
        np.empty(num_notes, np.bool_),
    )
    tempos = TempoEvents(np.empty(num_tempos, np.int64), np.empty(num_tempos, np.int64))
    meters = MeterEvents(np.empty(num_meters, np.int64), np.empty(num_meters, np.int64), np.empty(num_meters, np.int64))
    tracks = Tracks(np.empty(num_chunks, np.int64), np.empty(num_chunks, np.int64), np.empty(num_chunks, np.bool_))
    return _Buffers(notes, tempos, meters, tracks)


@kernel
def _big_endian(data: np.ndarray, at: int, count: int) -> int:
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
def scan_tracks(data: np.ndarray, at: int, num_declared: int) -> FileScan:
    """Reads chunks until the declared number of tracks is complete; chunks of other kinds are skipped."""
    buffers = _allocate(len(data), num_declared)
    num_tracks = end_tick = 0
    filled = _Filled(0, 0, 0)
    failure = OK
    while num_tracks < num_declared:
        if at + 8 > len(data):
            failure = MISSING_TRACKS if at == len(data) else TRUNCATED
            break
        is_track = data[at] == 0x4D and data[at + 1] == 0x54 and data[at + 2] == 0x72 and data[at + 3] == 0x6B  # MTrk
        begin = at + 8
        end = begin + _big_endian(data, at + 4, 4)
        if end > len(data):
            failure = TRUNCATED
            break
        if is_track:
            track = _scan_track(data, begin, end, num_tracks, buffers, filled)
            if track.failure != OK:
                failure, at = track.failure, track.at
                break
            buffers.tracks.begin[num_tracks] = begin
            buffers.tracks.end[num_tracks] = track.at
            buffers.tracks.has_end[num_tracks] = track.has_end
            end_tick = max(end_tick, track.end_tick)
            filled = track.filled
            num_tracks += 1
        at = end
    notes, tempos, meters, tracks = buffers
    num_notes, num_tempos, num_meters = filled
    return FileScan(
        failure,
        at,
        end_tick,
        NoteEvents(
            notes.tick[:num_notes],
            notes.track[:num_notes],
            notes.channel[:num_notes],
            notes.key[:num_notes],
            notes.is_on[:num_notes],
        ),
        TempoEvents(tempos.tick[:num_tempos], tempos.tempo_us[:num_tempos]),
        MeterEvents(meters.tick[:num_meters], meters.numerator[:num_meters], meters.power[:num_meters]),
        Tracks(tracks.begin[:num_tracks], tracks.end[:num_tracks], tracks.has_end[:num_tracks]),
    )


@kernel
def _scan_track(data: np.ndarray, at: int, end: int, track: int, buffers: _Buffers, filled: _Filled) -> _TrackScan:
    """Reads the events between two positions up to an end-of-track event, and appends them to the buffers."""
    notes, tempos, meters = buffers.notes, buffers.tempos, buffers.meters
    num_notes, num_tempos, num_meters = filled
    tick = 0
    running_status = 0  # 0 is none
    failure = OK
    has_end = False
    while at < end and not has_end:
        delta, at, failure = _variable_length(data, at, end)
        if failure != OK:
            break
        if at >= end:
            failure = TRUNCATED
            break
        tick += delta
        first = data[at]
        if first < 0xF0:
            if first >= 0x80:
                running_status = first
                at += 1
            elif running_status == 0:
                failure = RUNNING_STATUS
                break
            size = 1 if 0xC0 <= running_status < 0xE0 else 2
            num_legal = _count_data_bytes(data, at, end, size)
            if num_legal < size:
                at += num_legal
                failure = TRUNCATED if at == end else DATA_BYTE
                break
            if running_status < 0xA0:
                notes.tick[num_notes] = tick
                notes.track[num_notes] = track
                notes.channel[num_notes] = running_status & 0x0F
                notes.key[num_notes] = data[at]
                notes.is_on[num_notes] = running_status >= 0x90 and data[at + 1] != 0
                num_notes += 1
            at += size
        else:
            event = _read_meta_or_sysex(data, at, end)
            at, failure = event.at, event.failure
            if failure != OK:
                break
            if event.status != _META:
                running_status = 0
            if event.meta == _SET_TEMPO and event.length == 3:
                tempo_us = _big_endian(data, at, 3)
                if tempo_us > 0:
                    tempos.tick[num_tempos] = tick
                    tempos.tempo_us[num_tempos] = tempo_us
                    num_tempos += 1
            elif event.meta == _TIME_SIGNATURE and event.length >= 2 and data[at] > 0:
                meters.tick[num_meters] = tick
                meters.numerator[num_meters] = data[at]
                meters.power[num_meters] = data[at + 1]
                num_meters += 1
            at += event.length
            has_end = event.meta == _END_OF_TRACK
    return _TrackScan(failure, at, has_end, tick, _Filled(num_notes, num_tempos, num_meters))


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
    elif status == 0xF0 or status == 0xF7:
        at += 1
    else:
        return _MetaOrSysex(status, meta, at, 0, BAD_STATUS)
    length, at, failure = _variable_length(data, at, end)
    if failure == OK and at + length > end:
        failure = TRUNCATED
    return _MetaOrSysex(status, meta, at, length, failure)
