"""The reader of Standard MIDI Files.

Source of the format: Standard MIDI Files 1.0 (MIDI Manufacturers Association, 1988), and RP-29 for RIFF-wrapped files.
The reader checks every byte of every track: it returns all events of a file, or rejects the file with a reason and the position
of the byte at fault. It rejects a file only if a pitch or a time is in doubt, and repairs the rest:

    long_track     the last declared track claims more bytes than the file has, and contains its end-of-track
    extra_tracks   complete, legal tracks directly after the declared number of tracks; they are read
    counted_chunk  the declared number of tracks counts chunks of other kinds
    macbinary      a MacBinary header, which old Macs put before a file, is skipped
    riff_size      the size of the RIFF data chunk counts its own header

A file that ends in 32 zeros or more where a chunk or an event is expected is truncated: an unfinished download leaves zeros.
Note-ons that are not read are counted: behind the end-of-track of a track, behind a last track whose length is too small, and in
tracks behind the declared number that are damaged or do not follow directly.
"""

import struct
from dataclasses import dataclass

import numpy as np

from pianogen.midi import chunk_scanner, track_scanner
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
_REPAIRS = {
    chunk_scanner.LONG_TRACK: "long_track",
    chunk_scanner.EXTRA_TRACKS: "extra_tracks",
    chunk_scanner.COUNTED_CHUNK: "counted_chunk",
}
_END_OF_TRACK_EVENT = b"\x00\xff\x2f\x00"
_MACBINARY_BYTES = 128
_RIFF_HEADER_BYTES = 8  # of a chunk


@dataclass(frozen=True, slots=True)
class Scan:
    """A valid file.

    Attributes:
        events: all events.
        midi: the bytes from the header on.
        division: the two bytes of the header that give the ticks per quarter note.
        tracks: (N,) TRACK, the positions of the tracks in these bytes.
    """

    events: Events
    midi: bytes
    division: bytes
    tracks: np.ndarray

    def normalize(self) -> bytes:
        """The same music in the simplest form of the format, for readers that support only a part of it.

        The result has a header of 6 bytes, and after it only tracks, as many as declared. Each ends with an end-of-track event.
        """
        tracks = self.tracks.tolist()
        chunks = [b"MThd", (6).to_bytes(4, "big"), b"\0\1", len(tracks).to_bytes(2, "big"), self.division]
        for begin, end, has_end in tracks:
            track = self.midi[begin:end] + (b"" if has_end else _END_OF_TRACK_EVENT)
            chunks += [b"MTrk", len(track).to_bytes(4, "big"), track]
        return b"".join(chunks)


def scan(data: bytes, has_pedals: bool = True) -> Scan:
    """Reads a file.

    Args:
        has_pedals: whether the events contain those of pedals.

    Raises:
        Rejection: the file is not a MIDI file, or it is incomplete or breaks the rules of the format.
    """
    begin, midi, repairs = _unwrap(data)
    header = _read_header(midi)
    num_tracks, ticks_per_quarter = _check_header(header)
    found = chunk_scanner.scan_file(np.frombuffer(midi, np.uint8), 8 + len(header), num_tracks, has_pedals)
    content = found.content
    if found.failure != track_scanner.OK:
        raise _rejection(midi, begin, found, num_tracks)
    events = Events(
        ticks_per_quarter,
        content.notes,
        content.tempos,
        content.meters,
        found.end_tick,
        content.channel_events,
        notes_lost=found.notes_lost,
        repairs=repairs + tuple(word for repair, word in _REPAIRS.items() if found.repairs & repair),
    )
    return Scan(events, midi, header[4:6], content.tracks)


def _rejection(midi: bytes, begin: int, found: chunk_scanner.FileScan, num_declared: int) -> Rejection:
    """The rejection of a file whose byte `begin` is the first one of `midi`."""
    zeros = len(midi.rstrip(b"\0"))
    if zeros <= found.at < len(midi) and len(midi) - zeros >= chunk_scanner.MIN_ZEROS:
        return Rejection(
            Reason.TRUNCATED, f"the file has only zeros from byte {begin + zeros} on, as after an unfinished download"
        )
    reason, message = _FAILURES[found.failure]
    byte = midi[found.at] if found.at < len(midi) else 0
    num_tracks = len(found.content.tracks)
    return Rejection(reason, message.format(at=begin + found.at, byte=byte, num_tracks=num_tracks, declared=num_declared))


def _read_header(midi: bytes) -> bytes:
    if midi[:4] != b"MThd":
        raise Rejection(Reason.NOT_MIDI, f"the file starts with {midi[:4]!r}, expected b'MThd' or b'RIFF'")
    if len(midi) < 8:
        raise Rejection(Reason.TRUNCATED, f"the file ends after {len(midi)} of the 14 bytes of its header")
    length = int.from_bytes(midi[4:8], "big")
    if length < 6 or len(midi) < 8 + length:
        raise Rejection(
            Reason.TRUNCATED,
            f"the header declares {length} bytes (at least 6 are expected) and {len(midi) - 8} follow",
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


def _unwrap(data: bytes) -> tuple[int, bytes, tuple[str, ...]]:
    """The position and the bytes of the MIDI file in a file, and the repairs that were necessary to find it."""
    begin, repairs = 0, []
    if _is_macbinary(data):
        repairs.append("macbinary")
        size = int.from_bytes(data[83:87], "big")  # of the data fork; padding and a resource fork may follow
        begin = _MACBINARY_BYTES
        data = data[begin : begin + (size or len(data))]
    if data[:4] == b"RIFF":
        chunk_begin, data, has_wrong_size = _unwrap_riff(data)
        begin += chunk_begin
        repairs += ["riff_size"] if has_wrong_size else []
    return begin, data, tuple(repairs)


def _is_macbinary(data: bytes) -> bool:
    """Whether a MacBinary header, which begins with 0 and the length of a name of 1 to 63 bytes, precedes a MIDI file."""
    is_header = data[:1] == b"\0" and 1 <= int.from_bytes(data[1:2], "big") <= 63
    return is_header and data[_MACBINARY_BYTES : _MACBINARY_BYTES + 4] in (b"MThd", b"RIFF")


def _unwrap_riff(data: bytes) -> tuple[int, bytes, bool]:
    """The position and the bytes of the MIDI file in a RIFF file, and whether the size of its chunk counts the chunk's header."""
    at = 12
    while data[8:12] == b"RMID" and at + _RIFF_HEADER_BYTES <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        begin = at + _RIFF_HEADER_BYTES
        if data[at : at + 4] == b"data":
            num_missing = begin + size - len(data)
            if num_missing > _RIFF_HEADER_BYTES:
                raise Rejection(Reason.TRUNCATED, f"the RIFF data chunk declares {size} bytes and {len(data) - begin} follow")
            midi = data[begin : begin + size]
            if midi[:4] != b"MThd":
                raise Rejection(Reason.NOT_MIDI, f"the RIFF data chunk starts with {midi[:4]!r}, expected b'MThd'")
            return begin, midi, num_missing > 0
        at = begin + size + size % 2
    raise Rejection(Reason.NOT_MIDI, "the RIFF file has no MIDI data chunk")
