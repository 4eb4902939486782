"""The onsets of a roll and the spans in which its keys sound, from note events; compiled with numba.

Every (track, channel, key) is a stream. Its depth, the number of open notes, is updated once per tick, so that the order of the
events of one tick does not matter.
"""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import CLOSE, ON
from pianogen.midi.grid import Grid, step_of_tick
from pianogen.midi.pedals import find_hold_end
from pianogen.midi.programs import DRUM, KEPT, OTHER_PROGRAM
from pianogen.roll import LOWEST_KEY, NUM_KEYS

NUM_STREAMS = 16 * NUM_KEYS  # (channel, key) within one track
ONSET = np.dtype([("step", np.int64), ("key", np.int64)])  # an accepted note-on
# The steps in which a stream of a key sounds, from `start` up to but not including `stop`.
SPAN = np.dtype([("start", np.int64), ("stop", np.int64), ("key", np.int64)])
# The state of a stream.
#   tick, step  those of its latest events; the tick is _UNUSED before its first ones in the track
#   ons, offs   the note-ons and note-offs of that tick so far
#   depth       open notes before that tick
#   rise        the latest tick before which the depth was 0: if the depth is not 0, the tick at which it rose
#   second      the tick from which on the rule of the second reading holds
#   hold        the span in which a pedal holds the key after its latest release, _NONE if there is none
_STREAM = np.dtype(
    [
        *(("tick", np.int64), ("step", np.int64), ("rise", np.int64), ("second", np.int64), ("hold", np.int64)),
        *(("ons", np.int32), ("offs", np.int32), ("depth", np.int32)),
    ],
    align=True,
)
_MANY = 1 << 24  # the number of note-offs that a CLOSE counts as, more than a file has
_UNUSED = _NONE = -1
_NEVER = np.iinfo(np.int64).max


class Dropped(NamedTuple):
    """The numbers of dropped note-ons."""

    drum: int
    other_program: int
    out_of_range: int


class Sounding(NamedTuple):
    """(N,) ONSET, (S,) SPAN, dropped note-ons, and the number of streams that are never released."""

    onsets: np.ndarray
    spans: np.ndarray
    dropped: Dropped
    num_unreleased: int


class _Buffers(NamedTuple):
    """Arrays that are filled from the start: (streams,) _STREAM, (streams,) int64 numbers of those in use, onsets and spans."""

    streams: np.ndarray
    used: np.ndarray
    onsets: np.ndarray
    spans: np.ndarray


class _Filled(NamedTuple):
    """The numbers of onsets and spans so far, and dropped note-ons."""

    onsets: int
    spans: int
    dropped: Dropped


class _Reading(NamedTuple):
    """A reading of a track, and the numbers of its streams and of those that remain open."""

    filled: _Filled
    num_used: int
    num_open: int


@kernel
def read_streams(notes: np.ndarray, classes: np.ndarray, grid: Grid, pedals: np.ndarray) -> Sounding:
    """The onsets and spans of all tracks.

    Args:
        notes: (N,) NOTE_EVENT, with CLOSE events.
        classes: (N,) uint8, as in programs.py.
        pedals: (P,) PEDAL_STATE.
    """
    streams, used = np.empty(NUM_STREAMS, _STREAM), np.empty(NUM_STREAMS, np.int64)
    streams["tick"][:], streams["second"][:] = _UNUSED, _NEVER
    # One span for each tick of a stream, and one more where a pedal holds the key after it. One more onset, see `_read_track`.
    spans = np.empty(len(notes) * (2 if len(pedals) > 0 else 1) + 1, SPAN)
    buffers = _Buffers(streams, used, np.empty(len(notes) + 1, ONSET), spans)
    filled = _Filled(0, 0, Dropped(0, 0, 0))
    begin = num_unreleased = 0
    while begin < len(notes):
        end = begin
        while end < len(notes) and notes[end].track == notes[begin].track:
            end += 1
        reading = _read_track(notes[begin:end], classes[begin:end], grid, pedals, buffers, filled)
        if reading.num_open > 0:  # the second reading overwrites the first; before its start, it gives the same again
            for i in range(reading.num_used):
                stream = streams[used[i]]
                stream.tick, stream.second = _UNUSED, stream.rise if stream.depth > 0 else _NEVER
            reading = _read_track(notes[begin:end], classes[begin:end], grid, pedals, buffers, filled)
            num_unreleased += reading.num_open
        for i in range(reading.num_used):
            streams[used[i]].tick, streams[used[i]].second = _UNUSED, _NEVER
        filled = reading.filled
        begin = end
    return Sounding(buffers.onsets[: filled.onsets], spans[: filled.spans], filled.dropped, num_unreleased)


@kernel
def _read_track(
    notes: np.ndarray, classes: np.ndarray, grid: Grid, pedals: np.ndarray, buffers: _Buffers, filled: _Filled
) -> _Reading:
    """Writes the onsets and spans of one track after those that the buffers contain."""
    streams, used, onsets, spans = buffers
    num_onsets, num_spans, dropped = filled
    num_drum, num_other_program, num_out_of_range = dropped
    has_pedals = len(pedals) > 0
    num_used = 0
    for i in range(len(notes)):
        note = notes[i]
        is_on, key = note.kind == ON, np.int64(note.key) - LOWEST_KEY
        if is_on and classes[i] != KEPT:  # a note-off of a dropped note does nothing, and may end an earlier note
            num_drum += classes[i] == DRUM
            num_other_program += classes[i] == OTHER_PROGRAM
            continue
        if key < 0 or key >= NUM_KEYS:
            num_out_of_range += is_on
            continue
        s, step = note.channel * NUM_KEYS + key, step_of_tick(note.tick, grid)
        # Written for every event and kept for note-ons: cheaper than a branch that is mispredicted half of the time.
        onsets[num_onsets].step, onsets[num_onsets].key = step, key
        num_onsets += is_on
        stream = streams[s]
        if stream.tick != note.tick:
            if stream.tick == _UNUSED:
                stream.depth, stream.hold = 0, _NONE
                used[num_used] = s
                num_used += 1
            else:
                is_released = _end_tick(stream)
                span = spans[num_spans]  # written always and kept where the stream sounds, as above
                span.key, span.start, span.stop = key, stream.step, step
                num_spans += stream.depth > 0
                if has_pedals and is_released:
                    _write_hold(stream, s, pedals, spans[num_spans])
                    stream.hold = num_spans
                    num_spans += 1
            stream.tick, stream.step = note.tick, step
            stream.ons = stream.offs = 0
        if is_on and stream.hold != _NONE:  # a new onset ends the hold
            spans[stream.hold].stop = min(spans[stream.hold].stop, step)
            stream.hold = _NONE
        stream.ons += is_on
        stream.offs += (not is_on) + (note.kind == CLOSE) * _MANY
    num_open = 0
    for i in range(num_used):
        stream = streams[used[i]]
        is_released = _end_tick(stream)
        num_open += stream.depth > 0
        if has_pedals and is_released:
            _write_hold(stream, used[i], pedals, spans[num_spans])
            num_spans += 1
    dropped = Dropped(num_drum, num_other_program, num_out_of_range)
    return _Reading(_Filled(num_onsets, num_spans, dropped), num_used, num_open)


# The kernels that are called for every event take no arrays, because numba counts the references to arrays at every call.
@kernel
def _end_tick(stream: np.record) -> bool:
    """Updates the depth of a stream after the events of a tick; returns whether they released the key."""
    before, ons = stream.depth, stream.ons
    stream.rise = stream.tick if before == 0 else stream.rise
    stream.depth = _next_depth(before, ons, stream.offs, stream.tick >= stream.second)
    return bool((stream.depth == 0) & ((before > 0) | (ons > 0)))


@kernel
def _write_hold(stream: np.record, s: int, pedals: np.ndarray, span: np.record) -> None:
    """Writes the span in which a pedal holds a key after its release, which may have no steps."""
    hold_end = find_hold_end(pedals, s // NUM_KEYS, stream.tick)
    span.key, span.start, span.stop = s % NUM_KEYS, stream.step, max(stream.step, hold_end)


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
