"""The scanner of the chunks of a MIDI file, compiled with numba: finds its tracks, and has each of them scanned."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import ON
from pianogen.midi.scan_buffers import Buffers, Filled, allocate, filled_part
from pianogen.midi.track_scanner import MISSING_TRACKS, OK, TRUNCATED, TrackScan, TrackStart, big_endian, scan_track

LONG_TRACK, EXTRA_TRACKS, COUNTED_CHUNK = 1, 2, 4  # repairs, as bits
_TRACK = (0x4D, 0x54, 0x72, 0x6B)  # MTrk
_MAX_TRACKS = 65_535  # a header cannot declare more
MIN_ZEROS = 32  # of an unfinished download, at the end of the file; the last events of a complete file may have some


class FileScan(NamedTuple):
    """The scan of a file.

    Attributes:
        failure: the failure or OK.
        at: the position where the scan stopped.
        end_tick: the end of the longest track.
        notes_lost: note-ons that are not read: those behind the end of a track, and those of dropped tracks.
        repairs: bits.
        content: the events and tracks.
    """

    failure: int
    at: int
    end_tick: int
    notes_lost: int
    repairs: int
    content: Buffers


class _Chunk(NamedTuple):
    """A chunk: whether it is a track, its first byte of content, and the byte after it, which may lie beyond the file."""

    is_track: bool
    begin: int
    end: int


class _Rest(NamedTuple):
    """The bytes behind the events of a track that are read, which may contain more events.

    Attributes:
        at: the first byte.
        end: the byte after them.
        running_status: the status in force at the first byte.
        has_end: whether the track has an end-of-track event.
    """

    at: int
    end: int
    running_status: int
    has_end: bool


@kernel
def scan_file(data: np.ndarray, at: int, num_declared: int, has_pedals: bool) -> FileScan:
    """Reads chunks until the declared number of tracks is complete, and the tracks that follow; see `pianogen.midi.smf`.

    Args:
        at: position of the first chunk.
        has_pedals: whether pedals are read; few files have more events of another kind.
    """
    buffers, filled = allocate(len(data)), Filled(0, 0, 0, 0)
    zeros = _find_zeros(data)
    num_tracks = num_other = end_tick = notes_lost = repairs = 0
    failure, rest = OK, _Rest(at, at, 0, True)
    while num_tracks < _MAX_TRACKS:
        chunk = _read_chunk(data, at)
        is_complete = chunk.end <= len(data) and at < zeros
        is_extra = num_tracks >= num_declared
        if is_extra and not (chunk.is_track and is_complete):
            break
        if not (chunk.is_track or is_complete):  # the end of the file, or bytes that are not a chunk
            # Up to three bytes before the zeros may be the start of a chunk.
            if num_tracks + num_other < num_declared or zeros <= at + 3 < len(data):
                failure = MISSING_TRACKS if at == len(data) else TRUNCATED
            repairs |= COUNTED_CHUNK
            break
        if not chunk.is_track:
            notes_lost += _count_unread_notes(data, rest, at, buffers, filled)
            num_other += 1
            at = chunk.end
            rest = _Rest(at, at, 0, True)
            continue
        is_last = num_tracks + num_other + 1 >= num_declared
        end = chunk.end if is_complete or not is_last else len(data)
        if end > len(data) or chunk.begin > len(data):
            failure = TRUNCATED
            break
        track = _scan_content(data, chunk.begin, end, zeros, TrackStart(num_tracks, 0, has_pedals), buffers, filled)
        # Another track behind the end-of-track shows that this one, which claims the rest of the file, is not the last.
        is_last_to_end = track.has_end and not _read_chunk(data, track.at).is_track
        if track.failure != OK or not (is_complete or is_last_to_end):
            if is_complete and not is_extra:
                failure, at = track.failure, track.at
            elif not is_extra:
                failure = TRUNCATED
            break
        repairs |= (0 if is_complete else LONG_TRACK) | (EXTRA_TRACKS if is_extra else 0)
        place = buffers.tracks[num_tracks]
        place.begin, place.end, place.has_end = chunk.begin, track.at, track.has_end
        filled = track.filled
        notes_lost += _count_unread_notes(data, rest, at, buffers, filled)
        end_tick = max(end_tick, track.end_tick)
        num_tracks += 1
        at, rest = end, _Rest(track.at, end, track.running_status, track.has_end)
    if failure == OK:
        if not (rest.has_end or _is_text(data, at)):
            rest = _Rest(rest.at, len(data), rest.running_status, False)  # its length may be too small
        notes_lost += _count_unread_notes(data, rest, len(data), buffers, filled)
    return FileScan(failure, at, end_tick, notes_lost, repairs, filled_part(buffers, filled, num_tracks))


@kernel
def _read_chunk(data: np.ndarray, at: int) -> _Chunk:
    """The chunk at a position; a header that is cut off is that of a chunk beyond the end of the file."""
    num_bytes = min(len(data) - at, 8)
    is_track = num_bytes > 0
    for i in range(min(num_bytes, 4)):
        is_track &= data[at + i] == _TRACK[i]
    size = big_endian(data, at + 4, 4) if num_bytes == 8 else len(data)
    return _Chunk(is_track, at + 8, at + 8 + size)


@kernel
def _is_text(data: np.ndarray, at: int) -> bool:
    """Whether four printable ASCII characters follow, as in the type of a chunk that a program has written."""
    is_text = at + 4 <= len(data)
    for i in range(at, min(at + 4, len(data))):
        is_text &= 0x20 <= data[i] <= 0x7E
    return is_text


@kernel
def _find_zeros(data: np.ndarray) -> int:
    """The position from which on the file has zeros alone, as an unfinished download; its end if they are few."""
    at = len(data)
    while at > 0 and data[at - 1] == 0:
        at -= 1
    return at if len(data) - at >= MIN_ZEROS else len(data)


@kernel
def _scan_content(
    data: np.ndarray, begin: int, end: int, zeros: int, start: TrackStart, buffers: Buffers, filled: Filled
) -> TrackScan:
    """The scan of a track. Without an end-of-track, it fails if some bytes are legal as events and show that they are not events.

    These are the header of another track, which begins before the end of this one, and the zeros at the end of the file.

    Args:
        zeros: see `_find_zeros`.
    """
    track = scan_track(data, begin, end, start, buffers, filled)
    last = track.last_event
    if track.failure != OK or track.has_end or last >= len(data):
        return track
    failure, at = OK, track.at
    is_note = 0x80 <= data[last] < 0xA0  # zeros behind its status are a note-off of key 0
    if zeros <= last + is_note < len(data):
        failure = TRUNCATED
    next_track = _find_track(data, begin, end)
    if next_track < end and next_track + len(_TRACK) <= len(data):
        failure, at = TRUNCATED, next_track
    return TrackScan(failure, at, False, last, track.end_tick, track.running_status, track.filled)


@kernel
def _count_unread_notes(data: np.ndarray, rest: _Rest, stop: int, buffers: Buffers, filled: Filled) -> int:
    """The note-ons between the events of a track that are read and a position: of its rest, and of the tracks behind it.

    The rest is read up to the first illegal event, or to an end-of-track if the track has none; a track behind it up to the first
    illegal event, whatever its length is.
    """
    next_track = _find_track(data, rest.at, stop)
    end = min(rest.end, next_track)
    count = _count_notes(data, _Rest(rest.at, end, rest.running_status, rest.has_end), buffers, filled)
    while next_track < stop:
        begin = next_track + 8
        next_track = _find_track(data, begin, stop)
        count += _count_notes(data, _Rest(begin, next_track, 0, True), buffers, filled)
    return count


@kernel
def _count_notes(data: np.ndarray, rest: _Rest, buffers: Buffers, filled: Filled) -> int:
    """The note-ons of a rest up to the first illegal event, or to an end-of-track if the track has none before it."""
    count, at, running_status = 0, rest.at, rest.running_status
    while at < rest.end:
        track = scan_track(data, at, rest.end, TrackStart(0, running_status, False), buffers, filled)
        count += _count_ons(buffers, filled.notes, track.filled.notes)
        at, running_status = track.at, track.running_status
        if track.failure != OK or not rest.has_end:
            break
    return count


@kernel
def _find_track(data: np.ndarray, at: int, stop: int) -> int:
    """The position of the first track between two positions, the second position if there is none."""
    while at < stop and not _read_chunk(data, at).is_track:
        at += 1
    return min(at, stop)


@kernel
def _count_ons(buffers: Buffers, first: int, stop: int) -> int:
    """The note-ons among some of the notes in the buffers."""
    count = 0
    for i in range(first, stop):
        count += buffers.notes[i].kind == ON
    return count
