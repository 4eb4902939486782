"""The strict reader of Standard MIDI Files, compiled with numba.

Source of the format: Standard MIDI Files 1.0 (MIDI Manufacturers Association, 1988), and RP-29 for RIFF-wrapped files.
Every byte of every track is checked: a file is read whole and exactly, or refused with its reason and the byte it failed at.
"""

from dataclasses import dataclass

import numpy as np

from pianogen.midi.events import Events
from pianogen.midi.kernel import kernel
from pianogen.midi.rejection import Reason, Rejection

_OK, _TRUNCATED, _MISSING_TRACKS, _RUNNING_STATUS, _BAD_STATUS, _DATA_BYTE, _BAD_LENGTH = range(7)
_FAILURES = {
    _TRUNCATED: (Reason.TRUNCATED, "a chunk or event runs past its end at byte {at}; the file was cut off or damaged"),
    _MISSING_TRACKS: (Reason.MISSING_TRACKS, "the file ends at byte {at} after {found} of {declared} declared tracks"),
    _RUNNING_STATUS: (Reason.RUNNING_STATUS, "data byte at {at} where a status is expected, and no running status is in force"),
    _BAD_STATUS: (Reason.BAD_STATUS, "status 0x{byte:02X} at byte {at} does not exist in a MIDI file"),
    _DATA_BYTE: (Reason.DATA_BYTE, "0x{byte:02X} at byte {at} where a channel message needs a data byte of at most 0x7F"),
    _BAD_LENGTH: (Reason.BAD_LENGTH, "a variable-length number at byte {at} has more than 4 bytes"),
}
_END_OF_TRACK = b"\x00\xff\x2f\x00"


def read(data: bytes) -> Events:
    """The events of a file, after every byte of it was checked.

    Raises:
        Rejection: the file is no MIDI file, or not a whole and legal one.
    """
    return _scan(data).events


def normalise(data: bytes) -> bytes:
    """The same music in the plainest form, for readers that know less of the format.

    No RIFF wrapping, a header of 6 bytes, the declared tracks alone, each cut after its end-of-track event, which is added
    where it is missing.

    Raises:
        Rejection: as `read`.
    """
    scan = _scan(data)
    chunks = [b"MThd", (6).to_bytes(4, "big"), scan.header[:6]]
    for start, stop, has_end in scan.spans.tolist():
        track = scan.midi[start:stop] + (b"" if has_end else _END_OF_TRACK)
        chunks += [b"MTrk", len(track).to_bytes(4, "big"), track]
    return b"".join(chunks)


@dataclass(frozen=True, slots=True)
class _Scan:
    events: Events
    midi: bytes
    header: bytes
    spans: np.ndarray


def _scan(data: bytes) -> _Scan:
    midi = _unwrap_riff(data) if data[:4] == b"RIFF" else data
    header = _header(midi)
    file_type, num_tracks, division = (int.from_bytes(header[at : at + 2], "big") for at in (0, 2, 4))
    if file_type > 1:
        raise Rejection(Reason.UNSUPPORTED_TYPE, f"MIDI file type {file_type}; types 0 and 1 are read")
    if division & 0x8000:
        raise Rejection(
            Reason.SMPTE_DIVISION, f"time is counted in SMPTE frames (division 0x{division:04X}), not in ticks per quarter note"
        )
    if division == 0:
        raise Rejection(Reason.ZERO_DIVISION, "0 ticks per quarter note")
    # Shortest note event: delta, key, velocity. Shortest tempo: delta, FF 51 03, three bytes.
    most_notes, most_tempos = len(midi) // 3 + 1, len(midi) // 7 + 1
    tick, track = np.empty(most_notes, np.int64), np.empty(most_notes, np.int32)
    channel, key, is_on = np.empty(most_notes, np.uint8), np.empty(most_notes, np.uint8), np.empty(most_notes, np.bool_)
    tempo_tick, tempo_us = np.empty(most_tempos, np.int64), np.empty(most_tempos, np.int64)
    spans = np.empty((min(num_tracks, len(midi) // 8), 3), np.int64)
    failure, at, found, num_notes, num_tempos, end_tick = _scan_tracks(
        np.frombuffer(midi, np.uint8), 8 + len(header), num_tracks, spans, tick, track, channel, key, is_on, tempo_tick, tempo_us
    )
    if failure != _OK:
        reason, message = _FAILURES[failure]
        byte = midi[at] if at < len(midi) else 0
        raise Rejection(reason, message.format(at=at, byte=byte, found=found, declared=num_tracks))
    events = Events(
        ticks_per_quarter=division,
        tick=tick[:num_notes],
        track=track[:num_notes],
        channel=channel[:num_notes],
        key=key[:num_notes],
        is_on=is_on[:num_notes],
        tempo_tick=tempo_tick[:num_tempos],
        tempo_us=tempo_us[:num_tempos],
        end_tick=end_tick,
    )
    return _Scan(events, midi, header, spans[:found])


def _header(midi: bytes) -> bytes:
    if midi[:4] != b"MThd":
        raise Rejection(Reason.NOT_MIDI, f"starts with {midi[:4]!r}, not with b'MThd' or b'RIFF'")
    length = int.from_bytes(midi[4:8], "big")
    if length < 6 or len(midi) < 8 + length:
        raise Rejection(
            Reason.TRUNCATED, f"the header claims {length} bytes (at least 6 expected) and {max(len(midi) - 8, 0)} follow"
        )
    return midi[8 : 8 + length]


def _unwrap_riff(data: bytes) -> bytes:
    at = 12
    while data[8:12] == b"RMID" and at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            if at + 8 + size > len(data):
                raise Rejection(Reason.TRUNCATED, f"the RIFF data chunk claims {size} bytes and {len(data) - at - 8} follow")
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise Rejection(Reason.NOT_MIDI, "a RIFF file without a MIDI data chunk")


@kernel
def _big_endian(data, at, count):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(count):
        value = (value << 8) | np.int64(data[at + i])
    return value


@kernel
def _variable_length(data, at, end):  # type: ignore[no-untyped-def]
    """Value, the position behind it, and the failure if there is one."""
    value = np.int64(0)
    for i in range(4):
        if at + i >= end:
            return value, at, _TRUNCATED
        byte = np.int64(data[at + i])
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, at + i + 1, _OK
    return value, at, _BAD_LENGTH


@kernel
def _scan_tracks(data, at, num_tracks, spans, tick, track, channel, key, is_on, tempo_tick, tempo_us):  # type: ignore[no-untyped-def]
    """Failure, byte, tracks found, note events, tempo events, last tick.

    spans gets (start, stop, ends with end-of-track) of each track.
    """
    found = num_notes = num_tempos = 0
    end_tick = 0
    while found < num_tracks:
        if at == len(data):
            return _MISSING_TRACKS, at, found, num_notes, num_tempos, end_tick
        if at + 8 > len(data):
            return _TRUNCATED, at, found, num_notes, num_tempos, end_tick
        is_track = data[at] == 0x4D and data[at + 1] == 0x54 and data[at + 2] == 0x72 and data[at + 3] == 0x6B
        chunk_end = at + 8 + _big_endian(data, at + 4, 4)
        if chunk_end > len(data):
            return _TRUNCATED, at, found, num_notes, num_tempos, end_tick
        at += 8
        if is_track:
            failure, stop, has_end, num_notes, num_tempos, last_tick = _scan_track(
                data, at, chunk_end, found, tick, track, channel, key, is_on, tempo_tick, tempo_us, num_notes, num_tempos
            )
            if failure != _OK:
                return failure, stop, found, num_notes, num_tempos, end_tick
            spans[found, 0], spans[found, 1], spans[found, 2] = at, stop, has_end
            end_tick = max(end_tick, last_tick)
            found += 1
        at = chunk_end
    return _OK, at, found, num_notes, num_tempos, end_tick


@kernel
def _scan_track(data, at, end, index, tick, track, channel, key, is_on, tempo_tick, tempo_us, num_notes, num_tempos):  # type: ignore[no-untyped-def]
    """Failure, byte, whether end-of-track was met, note events and tempo events so far, last tick."""
    now = 0
    status = np.int64(0)  # the running status; 0 is none
    while at < end:
        delta, at, failure = _variable_length(data, at, end)
        if failure != _OK:
            return failure, at, 0, num_notes, num_tempos, now
        if at >= end:
            return _TRUNCATED, at, 0, num_notes, num_tempos, now
        now += delta
        first = np.int64(data[at])
        if first < 0xF0:
            if first >= 0x80:
                status = first
                at += 1
            elif status == 0:
                return _RUNNING_STATUS, at, 0, num_notes, num_tempos, now
            size = 1 if 0xC0 <= status < 0xE0 else 2
            for i in range(size):
                if at + i >= end:
                    return _TRUNCATED, at + i, 0, num_notes, num_tempos, now
                if data[at + i] > 0x7F:
                    return _DATA_BYTE, at + i, 0, num_notes, num_tempos, now
            if status < 0xA0:
                tick[num_notes] = now
                track[num_notes] = index
                channel[num_notes] = status & 0x0F
                key[num_notes] = data[at]
                is_on[num_notes] = status >= 0x90 and data[at + 1] != 0
                num_notes += 1
            at += size
            continue
        meta = np.int64(-1)
        if first == 0xFF:
            if at + 1 >= end:
                return _TRUNCATED, at, 0, num_notes, num_tempos, now
            meta = np.int64(data[at + 1])
            at += 2
        elif first == 0xF0 or first == 0xF7:
            status = np.int64(0)
            at += 1
        else:
            return _BAD_STATUS, at, 0, num_notes, num_tempos, now
        length, at, failure = _variable_length(data, at, end)
        if failure != _OK:
            return failure, at, 0, num_notes, num_tempos, now
        if at + length > end:
            return _TRUNCATED, at, 0, num_notes, num_tempos, now
        if meta == 0x51 and length == 3:
            value = _big_endian(data, at, 3)
            if value > 0:
                tempo_tick[num_tempos] = now
                tempo_us[num_tempos] = value
                num_tempos += 1
        at += length
        if meta == 0x2F:
            return _OK, at, 1, num_notes, num_tempos, now
    return _OK, at, 0, num_notes, num_tempos, now
