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


class FileScan(NamedTuple):
    """The scan of a file.

    Attributes:
        failure: the failure or OK.
        at: the position where the scan stopped.
        end_tick: the end of the longest track.
        notes_after_end: note-ons that follow the end-of-track event of their track.
        repairs: bits.
        content: the events and tracks.
    """

    failure: int
    at: int
    end_tick: int
    notes_after_end: int
    repairs: int
    content: Buffers


class _Chunk(NamedTuple):
    """A chunk: whether it is a track, its first byte of content, and the byte after it, which may lie beyond the file."""

    is_track: bool
    begin: int
    end: int


@kernel
def scan_file(data: np.ndarray, at: int, num_declared: int, has_pedals: bool) -> FileScan:
    """Reads chunks until the declared number of tracks is complete, and the tracks that follow; see `pianogen.midi.smf`.

    Args:
        at: position of the first chunk.
        has_pedals: whether pedals are read; few files have more events of another kind.
    """
    buffers, filled = allocate(len(data)), Filled(0, 0, 0, 0)
    num_tracks = num_other = end_tick = notes_after_end = repairs = 0
    failure = OK
    while num_tracks < _MAX_TRACKS:
        chunk = _read_chunk(data, at)
        is_complete, is_extra = chunk.end <= len(data), num_tracks >= num_declared
        if is_extra and not (chunk.is_track and is_complete):
            break
        if not (chunk.is_track or is_complete):  # the end of the file, or bytes that are not a chunk
            if num_tracks + num_other < num_declared:
                failure = MISSING_TRACKS if at == len(data) else TRUNCATED
            repairs |= COUNTED_CHUNK
            break
        if not chunk.is_track:
            num_other += 1
            at = chunk.end
            continue
        is_last = num_tracks + num_other + 1 >= num_declared
        end = chunk.end if is_complete or not is_last else len(data)
        if end > len(data) or chunk.begin > len(data):
            failure = TRUNCATED
            break
        track = scan_track(data, chunk.begin, end, TrackStart(num_tracks, 0, has_pedals), buffers, filled)
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
        if track.at < end:
            notes_after_end += _count_notes_after_end(data, track, end, buffers)
        end_tick = max(end_tick, track.end_tick)
        num_tracks += 1
        at = end
    return FileScan(failure, at, end_tick, notes_after_end, repairs, filled_part(buffers, filled, num_tracks))


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
def _count_notes_after_end(data: np.ndarray, track: TrackScan, end: int, buffers: Buffers) -> int:
    """The note-ons between the end-of-track event of a track and its end, up to the first illegal event."""
    count = 0
    first = track.filled.notes
    while track.failure == OK and track.at < end:
        track = scan_track(data, track.at, end, TrackStart(0, track.running_status, False), buffers, track.filled)
    for i in range(first, track.filled.notes):
        count += buffers.notes[i].kind == ON
    return count
