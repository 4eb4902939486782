"""The strict reader of Standard MIDI Files, compiled with numba.

Source of the format: Standard MIDI Files 1.0 (MIDI Manufacturers Association, 1988), and RP-29 for RIFF-wrapped files.
The reader checks every byte of every declared track: it returns all events of a file, or rejects the file with a reason and the
position of the byte at fault.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pianogen.midi.events import Events, NoteEvents, TempoEvents
from pianogen.midi.kernel_cache import kernel
from pianogen.midi.rejection import Reason, Rejection

_OK, _TRUNCATED, _MISSING_TRACKS, _RUNNING_STATUS, _BAD_STATUS, _DATA_BYTE, _BAD_LENGTH = range(7)
_FAILURES = {
    _TRUNCATED: (Reason.TRUNCATED, "a chunk or event extends past its end at byte {at}; the file is cut off or damaged"),
    _MISSING_TRACKS: (Reason.MISSING_TRACKS, "the file ends at byte {at} after {num_tracks} of {declared} declared tracks"),
    _RUNNING_STATUS: (
        Reason.RUNNING_STATUS,
        "data byte at {at} where a status byte is expected, and no running status is in force",
    ),
    _BAD_STATUS: (Reason.BAD_STATUS, "status 0x{byte:02X} at byte {at} is not allowed in a MIDI file"),
    _DATA_BYTE: (Reason.DATA_BYTE, "0x{byte:02X} at byte {at} where a channel message needs a data byte of at most 0x7F"),
    _BAD_LENGTH: (Reason.BAD_LENGTH, "a variable-length number at byte {at} has more than 4 bytes"),
}
_META, _SET_TEMPO, _END_OF_TRACK = 0xFF, 0x51, 0x2F
_END_OF_TRACK_EVENT = b"\x00\xff\x2f\x00"


def read(data: bytes) -> Events:
    """The note and tempo events of a MIDI file.

    Raises:
        Rejection: the file is not a MIDI file, or it is incomplete or breaks the rules of the format.
    """
    return _scan(data).events


def normalise(data: bytes) -> bytes:
    """The same music in the simplest form of the format, for readers that support only a part of it.

    The result has no RIFF wrapper, a header of 6 bytes, and only the declared tracks. Each track ends with an end-of-track event.

    Raises:
        Rejection: as `read`.
    """
    scan = _scan(data)
    chunks = [b"MThd", (6).to_bytes(4, "big"), scan.header[:6]]
    for begin, end, has_end in zip(*(column.tolist() for column in scan.tracks), strict=True):
        track = scan.midi[begin:end] + (b"" if has_end else _END_OF_TRACK_EVENT)
        chunks += [b"MTrk", len(track).to_bytes(4, "big"), track]
    return b"".join(chunks)


class _Tracks(NamedTuple):
    """The content of each track chunk: its first byte, the byte after its last event, and whether that is an end-of-track."""

    begin: np.ndarray
    end: np.ndarray
    has_end: np.ndarray


class _Buffers(NamedTuple):
    """Arrays that are filled from the front; each is as long as a file of this size could need."""

    notes: NoteEvents
    tempos: TempoEvents
    tracks: _Tracks


class _Filled(NamedTuple):
    """How many events the buffers hold."""

    notes: int
    tempos: int


class _Number(NamedTuple):
    """A variable-length number, the position after it, and _OK or what is wrong with it."""

    value: int
    at: int
    failure: int


class _MetaOrSysex(NamedTuple):
    """A meta or system exclusive event: status byte, meta type or -1, position and length of the content, failure or _OK."""

    status: int
    meta: int
    at: int
    length: int
    failure: int


class _TrackScan(NamedTuple):
    """What the scan of a track found: the failure, the position where it stopped, and the tick of the last event."""

    failure: int
    at: int
    has_end: bool
    end_tick: int
    filled: _Filled


class _FileScan(NamedTuple):
    """What the scan of all tracks found; `end_tick` is that of the longest track."""

    failure: int
    at: int
    end_tick: int
    notes: NoteEvents
    tempos: TempoEvents
    tracks: _Tracks


@dataclass(frozen=True, slots=True)
class _Scan:
    events: Events
    midi: bytes
    header: bytes
    tracks: _Tracks


def _scan(data: bytes) -> _Scan:
    midi = _unwrap_riff(data) if data[:4] == b"RIFF" else data
    header = _read_header(midi)
    num_tracks, ticks_per_quarter = _check_header(header)
    scan = _scan_tracks(np.frombuffer(midi, np.uint8), 8 + len(header), num_tracks)
    if scan.failure != _OK:
        reason, message = _FAILURES[scan.failure]
        byte = midi[scan.at] if scan.at < len(midi) else 0
        raise Rejection(reason, message.format(at=scan.at, byte=byte, num_tracks=len(scan.tracks.begin), declared=num_tracks))
    return _Scan(Events(ticks_per_quarter, scan.notes, scan.tempos, scan.end_tick), midi, header, scan.tracks)


def _read_header(midi: bytes) -> bytes:
    if midi[:4] != b"MThd":
        raise Rejection(Reason.NOT_MIDI, f"the file starts with {midi[:4]!r}, expected b'MThd' or b'RIFF'")
    length = int.from_bytes(midi[4:8], "big")
    if length < 6 or len(midi) < 8 + length:
        raise Rejection(
            Reason.TRUNCATED,
            f"the header declares {length} bytes (at least 6 are expected) and {max(len(midi) - 8, 0)} follow",
        )
    return midi[8 : 8 + length]


def _check_header(header: bytes) -> tuple[int, int]:
    """The number of tracks and the ticks per quarter note."""
    file_type, num_tracks, division = struct.unpack_from(">HHH", header)
    if file_type > 1:
        raise Rejection(Reason.UNSUPPORTED_TYPE, f"MIDI file type {file_type}; only types 0 and 1 are supported")
    if division & 0x8000:
        raise Rejection(
            Reason.SMPTE_DIVISION, f"time is measured in SMPTE frames (division 0x{division:04X}), not in ticks per quarter note"
        )
    if division == 0:
        raise Rejection(Reason.ZERO_DIVISION, "0 ticks per quarter note")
    return num_tracks, division


def _unwrap_riff(data: bytes) -> bytes:
    at = 12
    while data[8:12] == b"RMID" and at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            if at + 8 + size > len(data):
                raise Rejection(Reason.TRUNCATED, f"the RIFF data chunk declares {size} bytes and {len(data) - at - 8} follow")
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise Rejection(Reason.NOT_MIDI, "the RIFF file has no MIDI data chunk")


@kernel
def _allocate(num_bytes: int, num_tracks: int) -> _Buffers:
    # The shortest note event is a delta, a key and a velocity; the shortest tempo event a delta, FF 51 03 and three bytes.
    num_notes, num_tempos, num_chunks = num_bytes // 3 + 1, num_bytes // 7 + 1, min(num_tracks, num_bytes // 8)
    notes = NoteEvents(
        np.empty(num_notes, np.int64),
        np.empty(num_notes, np.int32),
        np.empty(num_notes, np.uint8),
        np.empty(num_notes, np.uint8),
        np.empty(num_notes, np.bool_),
    )
    tempos = TempoEvents(np.empty(num_tempos, np.int64), np.empty(num_tempos, np.int64))
    tracks = _Tracks(np.empty(num_chunks, np.int64), np.empty(num_chunks, np.int64), np.empty(num_chunks, np.bool_))
    return _Buffers(notes, tempos, tracks)


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
            return _Number(value, at, _TRUNCATED)
        byte = data[at + i]
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return _Number(value, at + i + 1, _OK)
    return _Number(value, at, _BAD_LENGTH)


@kernel
def _scan_tracks(data: np.ndarray, at: int, num_declared: int) -> _FileScan:
    """Reads chunks until the declared number of tracks is complete; chunks of other kinds are skipped."""
    buffers = _allocate(len(data), num_declared)
    num_tracks = end_tick = 0
    filled = _Filled(0, 0)
    failure = _OK
    while num_tracks < num_declared:
        if at + 8 > len(data):
            failure = _MISSING_TRACKS if at == len(data) else _TRUNCATED
            break
        is_track = data[at] == 0x4D and data[at + 1] == 0x54 and data[at + 2] == 0x72 and data[at + 3] == 0x6B  # MTrk
        begin = at + 8
        end = begin + _big_endian(data, at + 4, 4)
        if end > len(data):
            failure = _TRUNCATED
            break
        if is_track:
            track = _scan_track(data, begin, end, num_tracks, buffers, filled)
            if track.failure != _OK:
                failure, at = track.failure, track.at
                break
            buffers.tracks.begin[num_tracks] = begin
            buffers.tracks.end[num_tracks] = track.at
            buffers.tracks.has_end[num_tracks] = track.has_end
            end_tick = max(end_tick, track.end_tick)
            filled = track.filled
            num_tracks += 1
        at = end
    n, t, k = buffers.notes, buffers.tempos, buffers.tracks
    m = filled.notes
    notes = NoteEvents(n.tick[:m], n.track[:m], n.channel[:m], n.key[:m], n.is_on[:m])
    tempos = TempoEvents(t.tick[: filled.tempos], t.tempo_us[: filled.tempos])
    tracks = _Tracks(k.begin[:num_tracks], k.end[:num_tracks], k.has_end[:num_tracks])
    return _FileScan(failure, at, end_tick, notes, tempos, tracks)


@kernel
def _scan_track(data: np.ndarray, at: int, end: int, track: int, buffers: _Buffers, filled: _Filled) -> _TrackScan:
    """Reads the events between two positions up to an end-of-track event, and appends notes and tempos to the buffers."""
    notes, tempos = buffers.notes, buffers.tempos
    num_notes, num_tempos = filled.notes, filled.tempos
    tick = 0
    running_status = 0  # 0 is none
    failure = _OK
    has_end = False
    while at < end and not has_end:
        delta, at, failure = _variable_length(data, at, end)
        if failure != _OK:
            break
        if at >= end:
            failure = _TRUNCATED
            break
        tick += delta
        first = data[at]
        if first < 0xF0:
            if first >= 0x80:
                running_status = first
                at += 1
            elif running_status == 0:
                failure = _RUNNING_STATUS
                break
            size = 1 if 0xC0 <= running_status < 0xE0 else 2
            num_legal = _count_data_bytes(data, at, end, size)
            if num_legal < size:
                at += num_legal
                failure = _TRUNCATED if at == end else _DATA_BYTE
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
            if failure != _OK:
                break
            if event.status != _META:
                running_status = 0
            if event.meta == _SET_TEMPO and event.length == 3:
                tempo_us = _big_endian(data, at, 3)
                if tempo_us > 0:
                    tempos.tick[num_tempos] = tick
                    tempos.tempo_us[num_tempos] = tempo_us
                    num_tempos += 1
            at += event.length
            has_end = event.meta == _END_OF_TRACK
    return _TrackScan(failure, at, has_end, tick, _Filled(num_notes, num_tempos))


@kernel
def _count_data_bytes(data: np.ndarray, at: int, end: int, most: int) -> int:
    """How many data bytes, 0 to 0x7F, there are at this position."""
    for i in range(most):
        if at + i >= end or data[at + i] > 0x7F:
            return i
    return most


@kernel
def _read_meta_or_sysex(data: np.ndarray, at: int, end: int) -> _MetaOrSysex:
    status, meta = data[at], -1
    if status == _META:
        if at + 1 >= end:
            return _MetaOrSysex(status, meta, at, 0, _TRUNCATED)
        meta = data[at + 1]
        at += 2
    elif status == 0xF0 or status == 0xF7:
        at += 1
    else:
        return _MetaOrSysex(status, meta, at, 0, _BAD_STATUS)
    length, at, failure = _variable_length(data, at, end)
    if failure == _OK and at + length > end:
        failure = _TRUNCATED
    return _MetaOrSysex(status, meta, at, length, failure)
