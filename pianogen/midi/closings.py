"""All Notes Off and All Sound Off (controllers 123 and 120), which close the streams of their channel; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import NOTES_OFF
from pianogen.midi.grid import Grid, step_of_tick
from pianogen.midi.streams import CLOSE, DROPPED, NUM_STREAMS, ON, StreamEvents
from pianogen.roll import NUM_KEYS

_NONE = -1
_NEVER = np.iinfo(np.int64).max


class _NotesOff(NamedTuple):
    """(M,) int64 ticks, tracks and channels, track after track, ordered by tick within a track."""

    tick: np.ndarray
    track: np.ndarray
    channel: np.ndarray


class _Open(NamedTuple):
    """The streams of each channel of a track that may be open.

    Attributes:
        streams: (16, 88) uint16; the first `num_streams` of a channel are in use.
        num_streams: (16,) int64.
        on_tick: (streams,) int64 tick of the latest note-on, _NONE if the stream cannot be open.
        close_tick: (16,) int64 tick of the latest All Notes Off, _NONE before the first one.
    """

    streams: np.ndarray
    num_streams: np.ndarray
    on_tick: np.ndarray
    close_tick: np.ndarray


@kernel
def add_closings(events: StreamEvents, channel_events: np.ndarray, grid: Grid) -> StreamEvents:
    """The events with a CLOSE for each stream that may be open at an All Notes Off of its channel in its track."""
    num = 0
    for i in range(len(channel_events)):
        num += channel_events[i].kind == NOTES_OFF
    if num == 0:
        return events
    notes_off = _NotesOff(np.empty(num, np.int64), np.empty(num, np.int64), np.empty(num, np.int64))
    num = 0
    for i in range(len(channel_events)):
        event = channel_events[i]
        if event.kind == NOTES_OFF:
            notes_off.tick[num], notes_off.track[num], notes_off.channel[num] = event.tick, event.track, event.channel
            num += 1
    return _add_closings(events, notes_off, grid)


@kernel
def _add_closings(events: StreamEvents, notes_off: _NotesOff, grid: Grid) -> StreamEvents:
    # For each tick with note-ons, a stream is closed at most twice: at that tick, and later.
    size = 3 * len(events.tick)
    into = StreamEvents(
        np.empty(size, np.int64),
        np.empty(size, np.uint8),
        np.empty(size, np.uint16),
        np.empty(size, np.int64),
        np.empty(size, np.int32),
    )
    num = off = 0
    track, opened = -1, _no_open_streams()
    for i in range(len(events.tick)):
        if events.track[i] != track:
            num, off = _close_before(into, num, opened, notes_off, off, track, _NEVER, grid)
            track, opened = events.track[i], _no_open_streams()
            while off < len(notes_off.tick) and notes_off.track[off] < track:
                off += 1
        num, off = _close_before(into, num, opened, notes_off, off, track, events.tick[i], grid)
        s = events.stream[i]
        into.tick[num], into.kind[num], into.stream[num] = events.tick[i], events.kind[i], s
        into.step[num], into.track[num] = events.step[i], track
        num += 1
        if events.kind[i] == ON and s != DROPPED:
            channel = s // NUM_KEYS
            if opened.on_tick[s] == _NONE:
                opened.streams[channel, opened.num_streams[channel]] = s
                opened.num_streams[channel] += 1
            opened.on_tick[s] = events.tick[i]
    num, off = _close_before(into, num, opened, notes_off, off, track, _NEVER, grid)
    return StreamEvents(into.tick[:num], into.kind[:num], into.stream[:num], into.step[:num], into.track[:num])


@kernel
def _no_open_streams() -> _Open:
    return _Open(
        np.empty((16, NUM_KEYS), np.uint16),
        np.zeros(16, np.int64),
        np.full(NUM_STREAMS, _NONE, np.int64),
        np.full(16, _NONE, np.int64),
    )


@kernel
def _close_before(
    into: StreamEvents, num: int, opened: _Open, notes_off: _NotesOff, off: int, track: int, tick: int, grid: Grid
) -> tuple[int, int]:
    """Appends the closings of a track before a tick; returns the number of events, and of All Notes Off that are done."""
    while off < len(notes_off.tick) and notes_off.track[off] == track and notes_off.tick[off] < tick:
        channel, at = notes_off.channel[off], notes_off.tick[off]
        off += 1
        if opened.close_tick[channel] == at:
            continue
        opened.close_tick[channel] = at
        num_open, opened.num_streams[channel] = opened.num_streams[channel], 0
        for i in range(num_open):
            s = opened.streams[channel, i]
            into.tick[num], into.kind[num], into.stream[num] = at, CLOSE, s
            into.step[num], into.track[num] = step_of_tick(at, grid), track
            num += 1
            if opened.on_tick[s] == at:  # a note of the same tick stays open
                opened.streams[channel, opened.num_streams[channel]] = s
                opened.num_streams[channel] += 1
            else:
                opened.on_tick[s] = _NONE
    return num, off
