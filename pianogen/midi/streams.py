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

OFF, ON, CLOSE = range(3)  # kinds of stream events
NUM_STREAMS = 16 * NUM_KEYS  # (channel, key) within one track
DROPPED = NUM_STREAMS  # the stream of events that are not read
_FIRST, _FIND_RISES, _SECOND = range(3)  # readings of a track
_MANY = 1 << 24  # a CLOSE counts as so many note-offs, more than a file has
_NONE = -1
_NEVER = np.iinfo(np.int64).max


class StreamEvents(NamedTuple):
    """Note events, and closings of streams, track after track, ordered by tick within a track.

    Attributes:
        tick: (N,) int64.
        kind: (N,) uint8: OFF, ON, or CLOSE, which ends all notes that were open before its tick.
        stream: (N,) uint16, channel * 88 + key, or DROPPED; unsigned because numba indexes faster with unsigned integers.
        step: (N,) int64.
        track: (N,) int32.
    """

    tick: np.ndarray
    kind: np.ndarray
    stream: np.ndarray
    step: np.ndarray
    track: np.ndarray


class Spans(NamedTuple):
    """(N,) int64 keys and steps of the spans in which a stream sounds, from `start` up to but not including `stop`."""

    key: np.ndarray
    start: np.ndarray
    stop: np.ndarray


class Sounding(NamedTuple):
    """The spans of all streams, and the number of streams that are never released."""

    spans: Spans
    num_unreleased: int


class _Reading(NamedTuple):
    """A reading of a track: the number of spans written so far, and (streams,) open notes after the last event."""

    num_spans: int
    depth: np.ndarray


@kernel
def read_streams(events: StreamEvents, pedals: Pedals, grid: Grid) -> Sounding:
    """The spans of all tracks, and the number of streams that are never released."""
    num_events = len(events.tick)
    # One span for each tick of a stream, and one more where a pedal holds the key after it.
    columns = np.empty((3, num_events * (2 if len(pedals.tick) > 0 else 1) + 1), np.int64)
    spans = Spans(columns[0], columns[1], columns[2])
    rise = np.full(NUM_STREAMS, _NEVER, np.int64)
    begin = num_spans = num_unreleased = 0
    while begin < num_events:
        end = begin
        while end < num_events and events.track[end] == events.track[begin]:
            end += 1
        part = StreamEvents(
            events.tick[begin:end],
            events.kind[begin:end],
            events.stream[begin:end],
            events.step[begin:end],
            events.track[begin:end],
        )
        reading = _read_track(part, _FIRST, rise, pedals, grid, spans, num_spans)
        if reading.depth.any():  # the other readings overwrite the spans; before its start, the second one gives the same again
            _read_track(part, _FIND_RISES, rise, pedals, grid, spans, num_spans)
            second_start = np.where(reading.depth > 0, rise, _NEVER)
            reading = _read_track(part, _SECOND, second_start, pedals, grid, spans, num_spans)
            num_unreleased += (reading.depth > 0).sum()
        num_spans = reading.num_spans
        begin = end
    return Sounding(Spans(spans.key[:num_spans], spans.start[:num_spans], spans.stop[:num_spans]), num_unreleased)


@kernel
def _read_track(
    events: StreamEvents, mode: int, rise: np.ndarray, pedals: Pedals, grid: Grid, spans: Spans, num_spans: int
) -> _Reading:
    """Writes the spans of one track after the first `num_spans`.

    Args:
        mode: _FIRST, _FIND_RISES or _SECOND reading.
        rise: (streams,) the latest tick at which the depth of a stream rose from 0. _FIND_RISES writes it; in the _SECOND
            reading, the rule of the second reading holds from this tick on.
    """
    # Per stream: the tick and the step of its latest events, those events, and the depth before them.
    last_tick, last_step = np.full(NUM_STREAMS, _NONE, np.int64), np.zeros(NUM_STREAMS, np.int64)
    ons, offs, depth = np.zeros(NUM_STREAMS, np.int32), np.zeros(NUM_STREAMS, np.int32), np.zeros(NUM_STREAMS, np.int32)
    has_pedals = len(pedals.tick) > 0
    for i in range(len(events.tick)):
        s = events.stream[i]
        if s == DROPPED:
            continue
        if last_tick[s] != events.tick[i]:
            before = depth[s]
            depth[s] = after = _next_depth(before, ons[s], offs[s], mode == _SECOND and last_tick[s] >= rise[s])
            # Written always and kept where the stream sounds: cheaper than a branch that is mispredicted half of the time.
            spans.key[num_spans], spans.start[num_spans], spans.stop[num_spans] = s % NUM_KEYS, last_step[s], events.step[i]
            num_spans += after > 0
            if has_pedals and after == 0 and (before > 0 or ons[s] > 0):
                hold_end = step_of_tick(find_hold_end(pedals, s // NUM_KEYS, last_tick[s]), grid)
                spans.key[num_spans], spans.start[num_spans], spans.stop[num_spans] = s % NUM_KEYS, last_step[s], hold_end
                num_spans += 1
            if mode == _FIND_RISES and before == 0 and after > 0:
                rise[s] = last_tick[s]
            last_tick[s], last_step[s] = events.tick[i], events.step[i]
            ons[s] = offs[s] = 0
        kind = events.kind[i]
        ons[s] += kind == ON
        offs[s] += (kind != ON) + (kind == CLOSE) * _MANY
    for s in range(NUM_STREAMS):
        before = depth[s]
        depth[s] = after = _next_depth(before, ons[s], offs[s], mode == _SECOND and last_tick[s] >= rise[s])
        if has_pedals and after == 0 and (before > 0 or ons[s] > 0):
            hold_end = step_of_tick(find_hold_end(pedals, s // NUM_KEYS, last_tick[s]), grid)
            spans.key[num_spans], spans.start[num_spans], spans.stop[num_spans] = s % NUM_KEYS, last_step[s], hold_end
            num_spans += 1
        if mode == _FIND_RISES and before == 0 and after > 0:
            rise[s] = last_tick[s]
    return _Reading(num_spans, depth)


@kernel
def _next_depth(depth: int, ons: int, offs: int, is_second_reading: bool) -> int:
    """The open notes of a stream after a tick with these note-ons and note-offs."""
    if offs >= _MANY:  # closed: only notes of this tick may be open
        return min(_next_depth_of_notes(depth, ons, (offs & (_MANY - 1)) - 1, is_second_reading), ons)
    return _next_depth_of_notes(depth, ons, offs, is_second_reading)


@kernel
def _next_depth_of_notes(depth: int, ons: int, offs: int, is_second_reading: bool) -> int:
    if not is_second_reading:
        return max(0, depth + ons - offs)
    if ons > 0 and offs > 0:
        return depth
    return 1 if ons > 0 else 0
