"""The spans in which keys sound, from note events; compiled with numba.

Every (track, channel, key) is a stream. Its depth, the number of open notes, is updated once per tick, so that the order of the
events of one tick does not matter.
"""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.grid import Grid, step_of_tick
from pianogen.midi.pedals import Pedals, find_hold_end
from pianogen.roll import NUM_KEYS

NUM_STREAMS = 16 * NUM_KEYS  # (channel, key) within one track
DROPPED = NUM_STREAMS  # the stream of events that are not read
_NONE = -1
_NEVER = np.iinfo(np.int64).max


class StreamEvents(NamedTuple):
    """Note events of N ticks: (N,) int64, bool, uint16, int64, int32.

    The stream is channel * 88 + key, or DROPPED. It is unsigned because numba indexes faster with unsigned integers.
    """

    tick: np.ndarray
    is_on: np.ndarray
    stream: np.ndarray
    step: np.ndarray
    track: np.ndarray


class NotesOff(NamedTuple):
    """(M,) ticks, tracks and channels of All Notes Off and All Sound Off events, track after track."""

    tick: np.ndarray
    track: np.ndarray
    channel: np.ndarray


class Spans(NamedTuple):
    """(N,) int64 keys and steps of the spans in which a stream sounds, from `start` up to but not including `stop`."""

    key: np.ndarray
    start: np.ndarray
    stop: np.ndarray


class Sounding(NamedTuple):
    """The spans of all streams, and the number of streams that are never released."""

    spans: Spans
    num_unreleased: int


class _Streams(NamedTuple):
    """The state of the streams of a track, (NUM_STREAMS,) each.

    Attributes:
        tick, step: of the latest events, _NONE before the first ones.
        ons, offs, closes: note-ons and note-offs of that tick, and whether there was an All Notes Off.
        depth: open notes before that tick.
        rise: the latest tick at which the depth rose from 0.
        restart: the tick from which the stream is read a second time.
    """

    tick: np.ndarray
    step: np.ndarray
    ons: np.ndarray
    offs: np.ndarray
    closes: np.ndarray
    depth: np.ndarray
    rise: np.ndarray
    restart: np.ndarray


class _Reading(NamedTuple):
    """The number of spans written so far, and the state of the streams after their last events."""

    num_spans: int
    streams: _Streams


@kernel
def read_streams(events: StreamEvents, notes_off: NotesOff, pedals: Pedals, grid: Grid) -> Sounding:
    """The spans of all tracks, and the number of streams that are never released."""
    num_events = len(events.tick)
    # One span for each tick of a stream, and one more where a pedal holds the key after it.
    columns = np.empty((3, num_events * (2 if len(pedals.tick) else 1) + 1), np.int64)
    spans = Spans(columns[0], columns[1], columns[2])
    begin = begin_off = num_spans = num_unreleased = 0
    while begin < num_events:
        track, end = events.track[begin], begin
        while end < num_events and events.track[end] == track:
            end += 1
        while begin_off < len(notes_off.tick) and notes_off.track[begin_off] < track:
            begin_off += 1
        end_off = begin_off
        while end_off < len(notes_off.tick) and notes_off.track[end_off] == track:
            end_off += 1
        part = _Part(events, begin, end, notes_off, begin_off, end_off)
        restart = np.full(NUM_STREAMS, _NEVER, np.int64)
        reading = _read_track(part, restart, pedals, grid, spans, num_spans)
        if reading.streams.depth.any():  # the second reading overwrites the spans; up to the restart, it gives the same again
            for s in range(NUM_STREAMS):
                if reading.streams.depth[s] > 0:
                    restart[s] = reading.streams.rise[s]
            reading = _read_track(part, restart, pedals, grid, spans, num_spans)
            num_unreleased += (reading.streams.depth > 0).sum()
        num_spans = reading.num_spans
        begin, begin_off = end, end_off
    return Sounding(Spans(spans.key[:num_spans], spans.start[:num_spans], spans.stop[:num_spans]), num_unreleased)


class _Part(NamedTuple):
    """The events of one track: those from `begin` to `end`, and the All Notes Off from `begin_off` to `end_off`."""

    events: StreamEvents
    begin: int
    end: int
    notes_off: NotesOff
    begin_off: int
    end_off: int


@kernel
def _read_track(part: _Part, restart: np.ndarray, pedals: Pedals, grid: Grid, spans: Spans, num_spans: int) -> _Reading:
    """Writes the spans of one track after the first `num_spans`."""
    events, notes_off = part.events, part.notes_off
    streams = _new_streams(restart)
    off = part.begin_off
    for i in range(part.begin, part.end):
        tick = events.tick[i]
        while off < part.end_off and notes_off.tick[off] < tick:
            num_spans = _close(streams, notes_off.channel[off], notes_off.tick[off], pedals, grid, spans, num_spans)
            off += 1
        s = events.stream[i]
        if s == DROPPED:
            continue
        if streams.tick[s] != tick:
            num_spans = _end_tick(streams, s, events.step[i], pedals, grid, spans, num_spans)
            streams.tick[s], streams.step[s] = tick, events.step[i]
        streams.ons[s] += events.is_on[i]
        streams.offs[s] += not events.is_on[i]
    for i in range(off, part.end_off):
        num_spans = _close(streams, notes_off.channel[i], notes_off.tick[i], pedals, grid, spans, num_spans)
    for s in range(NUM_STREAMS):
        num_spans = _end_tick(streams, np.uint16(s), streams.step[s], pedals, grid, spans, num_spans)
    return _Reading(num_spans, streams)


@kernel
def _new_streams(restart: np.ndarray) -> _Streams:
    return _Streams(
        tick=np.full(NUM_STREAMS, _NONE, np.int64),
        step=np.zeros(NUM_STREAMS, np.int64),
        ons=np.zeros(NUM_STREAMS, np.int32),
        offs=np.zeros(NUM_STREAMS, np.int32),
        closes=np.zeros(NUM_STREAMS, np.bool_),
        depth=np.zeros(NUM_STREAMS, np.int32),
        rise=np.zeros(NUM_STREAMS, np.int64),
        restart=restart,
    )


@kernel
def _end_tick(streams: _Streams, s: np.uint16, next_step: int, pedals: Pedals, grid: Grid, spans: Spans, num_spans: int) -> int:
    """Updates a stream by the events of its latest tick, and writes its span up to the step of the next ones.

    Returns:
        The number of spans written so far.
    """
    before, ons = streams.depth[s], streams.ons[s]
    after = _next_depth(before, ons, streams.offs[s], streams.tick[s] >= streams.restart[s])
    if streams.closes[s]:
        after = min(after, ons)  # the notes that were open before are closed
        streams.closes[s] = False
    if before == 0 and after > 0:
        streams.rise[s] = streams.tick[s]
    streams.depth[s] = after
    streams.ons[s] = streams.offs[s] = 0
    key, step = s % NUM_KEYS, streams.step[s]
    # Written always and kept where the stream sounds: cheaper than a branch that is mispredicted half of the time.
    spans.key[num_spans], spans.start[num_spans], spans.stop[num_spans] = key, step, next_step
    num_spans += after > 0
    if len(pedals.tick) > 0 and after == 0 and (before > 0 or ons > 0):
        hold_end = step_of_tick(find_hold_end(pedals, int(s) // NUM_KEYS, streams.tick[s]), grid)
        spans.key[num_spans], spans.start[num_spans], spans.stop[num_spans] = key, step, hold_end
        num_spans += 1
    return num_spans


@kernel
def _close(streams: _Streams, channel: int, tick: int, pedals: Pedals, grid: Grid, spans: Spans, num_spans: int) -> int:
    """Closes the streams of a channel at a tick, all of whose note events were read; returns the number of spans."""
    step = step_of_tick(tick, grid)
    first = np.int64(channel) * NUM_KEYS
    for s in range(first, first + NUM_KEYS):
        if streams.tick[s] != tick:
            num_spans = _end_tick(streams, np.uint16(s), step, pedals, grid, spans, num_spans)
            if streams.depth[s] > 0:
                streams.tick[s], streams.step[s] = tick, step
        streams.closes[s] = streams.tick[s] == tick
    return num_spans


@kernel
def _next_depth(depth: int, ons: int, offs: int, is_second_reading: bool) -> int:
    """The open notes of a stream after a tick with these note-ons and note-offs."""
    if not is_second_reading:
        return max(0, depth + ons - offs)
    if ons > 0 and offs > 0:
        return depth
    return 1 if ons > 0 else 0
