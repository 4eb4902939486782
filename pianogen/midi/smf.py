"""The strict reader of Standard MIDI Files.

Source of the format: Standard MIDI Files 1.0 (MIDI Manufacturers Association, 1988), and RP-29 for RIFF-wrapped files.
The reader checks every byte of every declared track: it returns all events of a file, or rejects the file with a reason and the
position of the byte at fault.
"""

import struct
from dataclasses import dataclass

import numpy as np

from pianogen.midi import track_scanner
from pianogen.midi.events import Events
from pianogen.midi.rejection import Reason, Rejection

_FAILURES = {
    track_scanner.TRUNCATED: (
        Reason.TRUNCATED,
        "a chunk or event extends past its end at byte {at}; the file is cut off or damaged",
    ),
    track_scanner.MISSING_TRACKS: (
        Reason.MISSING_TRACKS,
        "the file ends at byte {at} after {num_tracks} of {declared} declared tracks",
    ),
    track_scanner.RUNNING_STATUS: (
        Reason.RUNNING_STATUS,
        "data byte at {at} where a status byte is expected, and no running status is in force",
    ),
    track_scanner.BAD_STATUS: (Reason.BAD_STATUS, "status 0x{byte:02X} at byte {at} is not allowed in a MIDI file"),
    track_scanner.DATA_BYTE: (
        Reason.DATA_BYTE,
        "0x{byte:02X} at byte {at} where a channel message needs a data byte of at most 0x7F",
    ),
    track_scanner.BAD_LENGTH: (Reason.BAD_LENGTH, "a variable-length number at byte {at} has more than 4 bytes"),
}
_END_OF_TRACK_EVENT = b"\x00\xff\x2f\x00"


def read(data: bytes) -> Events:
    """The events of a MIDI file.

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


@dataclass(frozen=True, slots=True)
class _Scan:
    events: Events
    midi: bytes
    header: bytes
    tracks: track_scanner.Tracks


def _scan(data: bytes) -> _Scan:
    midi = _unwrap_riff(data) if data[:4] == b"RIFF" else data
    header = _read_header(midi)
    num_tracks, ticks_per_quarter = _check_header(header)
    scan = track_scanner.scan_tracks(np.frombuffer(midi, np.uint8), 8 + len(header), num_tracks)
    if scan.failure != track_scanner.OK:
        reason, message = _FAILURES[scan.failure]
        byte = midi[scan.at] if scan.at < len(midi) else 0
        raise Rejection(reason, message.format(at=scan.at, byte=byte, num_tracks=len(scan.tracks.begin), declared=num_tracks))
    return _Scan(Events(ticks_per_quarter, scan.notes, scan.tempos, scan.meters, scan.end_tick), midi, header, scan.tracks)


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
