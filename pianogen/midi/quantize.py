"""Events to a roll, exactly and in integers; compiled with numba.

Every (track, channel, key) is a stream. Its depth, the number of open notes, is updated once per tick, so that the order of the
events of one tick does not matter. Ticks are rounded to the nearest step, exact halves down.
"""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.counts import Counts
from pianogen.midi.events import Events, MeterEvents, NoteEvents, TempoEvents
from pianogen.midi.options import ReadOptions
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import DEFAULT_TEMPO_US, LOWEST_KEY, MAX_BAR_POSITION, NUM_KEYS, PACKED_BYTES, Roll

MAX_STEPS = 131_072
_DRUM_CHANNEL = 9
_HOLD_BYTE = PACKED_BYTES // 2
_NUM_STREAMS = 16 * NUM_KEYS  # (channel, key) within one track
_DROPPED = _NUM_STREAMS  # the stream of events that are not read
_NONE = -1
_MAX_POWER = 15  # 2**15 parts of a whole note are more than the steps of the longest bar
_LATEST = np.iinfo(np.int64).max


def quantize(events: Events, options: ReadOptions) -> tuple[Roll, Counts]:
    """The roll of a file's events, and the counts for its row in the ledger.

    Without rests, the silence before the first onset and after the last note is trimmed; with them, the roll lasts from the start
    to the end of the longest track.

    Raises:
        Rejection: no notes are left after dropping, or the roll has more than 131,072 steps.
    """
    grid = _Grid(events.ticks_per_quarter, options.steps_per_quarter)
    notes = _read_notes(events.notes, events.end_tick, grid)
    num_onsets = len(notes.onsets.step)
    if num_onsets == 0:
        raise Rejection(
            Reason.NO_NOTES,
            f"no notes on the 88 keys ({notes.num_drum} drum notes and {notes.num_out_of_range} notes out of range were dropped)",
        )
    first, stop = notes.first_step, notes.stop_step
    if options.keep_rests:
        first, stop = 0, max(stop, notes.end_step)
    num_steps = stop - first
    if num_steps > MAX_STEPS:
        raise Rejection(Reason.TOO_LONG, f"{num_steps} steps; at most {MAX_STEPS} are supported")
    cells = _fill(first, num_steps, notes.spans, notes.onsets)
    tempo = _fill_tempo(first, num_steps, grid, TempoEvents(*_by_tick(events.tempos)))
    bar_position = _fill_bar_position(first, num_steps, grid, MeterEvents(*_by_tick(events.meters)))
    counts = Counts(
        notes=cells.num_onsets,
        notes_out_of_range=notes.num_out_of_range,
        notes_drum=notes.num_drum,
        notes_merged=num_onsets - cells.num_onsets,
        notes_unreleased=notes.num_unreleased,
        tempo_seen=len(events.tempos.tick),
        tempo_kept=tempo.num_in_force,
    )
    return Roll(cells.packed, tempo.tempo_us, bar_position, first, options.steps_per_quarter), counts


def _by_tick(events: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """The columns of events, sorted by tick; the order of track and position is kept at equal ticks."""
    order = np.argsort(events[0], kind="stable")
    return [column[order] for column in events]


class _Grid(NamedTuple):
    """Ticks and steps of a quarter note."""

    ticks: int
    steps: int


class _StreamEvents(NamedTuple):
    """Note events with the stream and the step of each: (N,) int64, bool, uint16, int64.

    The stream is channel * 88 + key, or _DROPPED. It is unsigned because numba indexes faster with unsigned integers.
    """

    tick: np.ndarray
    is_on: np.ndarray
    stream: np.ndarray
    step: np.ndarray


class _Onsets(NamedTuple):
    """(N,) int64 keys and steps of the accepted note-ons."""

    key: np.ndarray
    step: np.ndarray


class _Spans(NamedTuple):
    """(N,) int64 keys and steps of the spans in which a stream sounds, from `start` up to but not including `stop`."""

    key: np.ndarray
    start: np.ndarray
    stop: np.ndarray


class _Placed(NamedTuple):
    """Note events and onsets in steps, and the numbers of dropped note-ons."""

    events: _StreamEvents
    onsets: _Onsets
    num_drum: int
    num_out_of_range: int


class _Sounding(NamedTuple):
    """The spans of all streams, and the number of streams that are never released."""

    spans: _Spans
    num_unreleased: int


class _Notes(NamedTuple):
    """The onsets and spans of a roll, the steps where it begins and ends, and the counts for the ledger.

    Attributes:
        stop_step: the step after the last one that sounds.
        end_step: the step at which the longest track ends.
    """

    onsets: _Onsets
    spans: _Spans
    first_step: int
    stop_step: int
    end_step: int
    num_drum: int
    num_out_of_range: int
    num_unreleased: int


class _Reading(NamedTuple):
    """The number of spans written so far, and (streams,) bool of which streams are open after their last event."""

    num_spans: int
    is_open: np.ndarray


class _Cells(NamedTuple):
    """(T, 22) uint8 packed rows, and the number of onset cells."""

    packed: np.ndarray
    num_onsets: int


class _Tempo(NamedTuple):
    """(T,) uint32 tempo of each step, and the number of tempo events that are in force at one step at least."""

    tempo_us: np.ndarray
    num_in_force: int


@kernel
def _step_of_tick(tick: int, grid: _Grid) -> int:
    """The step nearest to a tick, exact halves down."""
    return (2 * grid.steps * tick + grid.ticks - 1) // (2 * grid.ticks)


@kernel
def _read_notes(notes: NoteEvents, end_tick: int, grid: _Grid) -> _Notes:
    placed = _place(notes, grid)
    sounding = _read_streams(placed.events, notes.track)
    onset_steps, stop_steps = placed.onsets.step, sounding.spans.stop
    first_step, stop_step = _LATEST, 0
    for i in range(len(onset_steps)):
        first_step, stop_step = min(first_step, onset_steps[i]), max(stop_step, onset_steps[i] + 1)
    for i in range(len(stop_steps)):
        stop_step = max(stop_step, stop_steps[i])
    return _Notes(
        placed.onsets,
        sounding.spans,
        first_step,
        stop_step,
        _step_of_tick(end_tick, grid),
        placed.num_drum,
        placed.num_out_of_range,
        sounding.num_unreleased,
    )


@kernel
def _place(notes: NoteEvents, grid: _Grid) -> _Placed:
    """The stream and step of each event, the onsets, and the counts of dropped note-ons."""
    num_events = len(notes.tick)
    stream, step = np.empty(num_events, np.uint16), np.empty(num_events, np.int64)
    columns = np.empty((2, num_events), np.int64)
    onsets = _Onsets(columns[0], columns[1])
    num_onsets = num_drum = num_out_of_range = 0
    for i in range(num_events):
        key = np.int64(notes.key[i]) - LOWEST_KEY
        stream[i] = _DROPPED
        if notes.channel[i] == _DRUM_CHANNEL:
            num_drum += notes.is_on[i]
        elif key < 0 or key >= NUM_KEYS:
            num_out_of_range += notes.is_on[i]
        else:
            stream[i] = np.int64(notes.channel[i]) * NUM_KEYS + key
            step[i] = _step_of_tick(notes.tick[i], grid)
            # Written for every event and kept for note-ons: cheaper than a branch that is mispredicted half of the time.
            onsets.key[num_onsets], onsets.step[num_onsets] = key, step[i]
            num_onsets += notes.is_on[i]
    events = _StreamEvents(notes.tick, notes.is_on, stream, step)
    return _Placed(events, _Onsets(onsets.key[:num_onsets], onsets.step[:num_onsets]), num_drum, num_out_of_range)


@kernel
def _read_streams(events: _StreamEvents, track: np.ndarray) -> _Sounding:
    """The spans of all tracks, and the number of streams that are never released."""
    num_events = len(track)
    columns = np.empty((3, num_events), np.int64)
    spans = _Spans(columns[0], columns[1], columns[2])
    no_streams = np.zeros(_NUM_STREAMS, np.bool_)
    begin = num_spans = num_unreleased = 0
    while begin < num_events:
        end = begin
        while end < num_events and track[end] == track[begin]:
            end += 1
        part = _StreamEvents(events.tick[begin:end], events.is_on[begin:end], events.stream[begin:end], events.step[begin:end])
        reading = _read_track(part, no_streams, spans, num_spans)
        if reading.is_open.any():  # the second reading overwrites the spans; streams that were released give the same spans again
            reading = _read_track(part, reading.is_open, spans, num_spans)
            num_unreleased += reading.is_open.sum()
        num_spans = reading.num_spans
        begin = end
    return _Sounding(_Spans(spans.key[:num_spans], spans.start[:num_spans], spans.stop[:num_spans]), num_unreleased)


@kernel
def _read_track(events: _StreamEvents, is_second_reading: np.ndarray, spans: _Spans, num_spans: int) -> _Reading:
    """Writes the spans of one track after the first `num_spans`."""
    # Per stream: the tick of its latest events and the step of that tick, its note-ons and note-offs, and the depth before it.
    last_tick, last_step = np.full(_NUM_STREAMS, _NONE, np.int64), np.zeros(_NUM_STREAMS, np.int64)
    ons, offs, depth = np.zeros(_NUM_STREAMS, np.int32), np.zeros(_NUM_STREAMS, np.int32), np.zeros(_NUM_STREAMS, np.int32)
    for i in range(len(events.tick)):
        s = events.stream[i]
        if s == _DROPPED:
            continue
        if last_tick[s] != events.tick[i]:
            depth[s] = _next_depth(depth[s], ons[s], offs[s], is_second_reading[s])
            spans.key[num_spans], spans.start[num_spans], spans.stop[num_spans] = s % NUM_KEYS, last_step[s], events.step[i]
            num_spans += depth[s] > 0  # written always and kept where the stream sounds, as in `_place`
            last_tick[s], last_step[s] = events.tick[i], events.step[i]
            ons[s] = offs[s] = 0
        ons[s] += events.is_on[i]
        offs[s] += not events.is_on[i]
    is_open = np.empty(_NUM_STREAMS, np.bool_)
    for s in range(_NUM_STREAMS):
        is_open[s] = _next_depth(depth[s], ons[s], offs[s], is_second_reading[s]) > 0
    return _Reading(num_spans, is_open)


@kernel
def _next_depth(depth: int, ons: int, offs: int, is_second_reading: bool) -> int:
    """The open notes of a stream after a tick with these note-ons and note-offs."""
    if not is_second_reading:
        return max(0, depth + ons - offs)
    if ons > 0 and offs > 0:
        return depth
    return 1 if ons > 0 else 0


@kernel
def _fill(first: int, num_steps: int, spans: _Spans, onsets: _Onsets) -> _Cells:
    packed = np.zeros((num_steps, PACKED_BYTES), np.uint8)
    for i in range(len(spans.key)):
        key = spans.key[i]
        byte, bit = _HOLD_BYTE + (key >> 3), np.uint8(0x80 >> (key & 7))
        for step in range(spans.start[i] - first, spans.stop[i] - first):
            packed[step, byte] |= bit
    num_onsets = 0
    for i in range(len(onsets.key)):
        key, step = onsets.key[i], onsets.step[i] - first
        byte, bit = key >> 3, np.uint8(0x80 >> (key & 7))
        num_onsets += (packed[step, byte] & bit) == 0
        packed[step, byte] |= bit
        packed[step, _HOLD_BYTE + byte] &= ~bit
    return _Cells(packed, num_onsets)


@kernel
def _fill_tempo(first: int, num_steps: int, grid: _Grid, tempos: TempoEvents) -> _Tempo:
    tempo_us = np.empty(num_steps, np.uint32)
    current = previous = _NONE
    num_in_force = 0
    for step in range(num_steps):
        while current + 1 < len(tempos.tick) and grid.steps * tempos.tick[current + 1] <= (first + step) * grid.ticks:
            current += 1
        num_in_force += current != previous
        previous = current
        tempo_us[step] = tempos.tempo_us[current] if current >= 0 else DEFAULT_TEMPO_US
    return _Tempo(tempo_us, num_in_force)


@kernel
def _fill_bar_position(first: int, num_steps: int, grid: _Grid, meters: MeterEvents) -> np.ndarray:
    """(T,) uint8 positions in the bars of the last time signature, or since the last bar line."""
    positions = np.empty(num_steps, np.uint8)
    bar_line, bar = 0, 4 * grid.steps  # 4/4 before the first event
    at = 0
    for step in range(num_steps):
        while at < len(meters.tick) and _step_of_tick(meters.tick[at], grid) <= first + step:
            bar_steps = _bar_steps(meters.numerator[at], meters.power[at], grid.steps)
            if bar_steps != _NONE:
                bar_line, bar = _step_of_tick(meters.tick[at], grid), bar_steps
            at += 1
        position = first + step - bar_line
        positions[step] = min(position, MAX_BAR_POSITION) if bar == 0 else position % bar
    return positions


@kernel
def _bar_steps(numerator: int, power: int, steps_per_quarter: int) -> int:
    """The steps of a bar: 0, without end, after the bar line of a score; _NONE for a time signature that is ignored."""
    num_parts = 4 * steps_per_quarter * numerator
    if power > _MAX_POWER or num_parts % (1 << power) != 0 or num_parts >> power > MAX_BAR_POSITION:
        return _NONE
    return num_parts >> power
