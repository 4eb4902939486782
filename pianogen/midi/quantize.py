"""Events to a roll, exactly and in integers; compiled with numba.

Every (track, channel, key) is a stream with its own depth of open notes, updated once per tick, so that the order of
events inside a tick does not matter. Ticks become steps by nearest sixteenth, exact halves down.
"""

import numpy as np

from pianogen.midi.counts import Counts
from pianogen.midi.events import DEFAULT_TEMPO_US, Events
from pianogen.midi.kernel import kernel
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import LOWEST_KEY, NUM_KEYS, PACKED_BYTES, STEPS_PER_QUARTER, Roll

MAX_STEPS = 131_072
_DRUM_CHANNEL = 9
_HOLD_BYTE = PACKED_BYTES // 2
_NUM_STREAMS = 16 * NUM_KEYS  # (channel, key) within one track
_DROPPED = _NUM_STREAMS  # the stream of events that are not read
_NEVER = -1


def quantize(events: Events, keep_rests: bool = False) -> tuple[Roll, Counts]:
    """The roll of a file's events.

    Args:
        keep_rests: keep the silence before the first onset and behind the last note, up to the end of the longest track.

    Raises:
        Rejection: no notes are left after dropping, or the roll has more than 131,072 steps.
    """
    tpq = events.ticks_per_quarter
    stream, step, onsets, dropped_drum, dropped_range = _place(tpq, events.tick, events.channel, events.key, events.is_on)
    if onsets.size == 0:
        raise Rejection(
            Reason.NO_NOTES, f"no notes on the 88 keys ({dropped_drum} drum notes and {dropped_range} out of range dropped)"
        )
    spans, unreleased = _read_streams(events.tick, events.track, events.is_on, stream, step)
    first, last = int(onsets[1].min()), max(int(onsets[1].max()) + 1, int(spans[2].max(initial=0)))
    if keep_rests:
        first, last = 0, max(last, int(step_of_tick(events.end_tick, tpq)))
    if last - first > MAX_STEPS:
        raise Rejection(Reason.TOO_LONG, f"{last - first} steps; at most {MAX_STEPS} are kept")
    packed, notes = _fill(first, last - first, spans, onsets)
    by_tick = np.argsort(events.tempo_tick, kind="stable")  # file order is (track, order), so ties stay as they should
    tempo_us, tempo_kept = _fill_tempo(first, last - first, tpq, events.tempo_tick[by_tick], events.tempo_us[by_tick])
    counts = Counts(
        notes=notes,
        notes_out_of_range=dropped_range,
        notes_drum=dropped_drum,
        notes_merged=len(onsets[0]) - notes,
        notes_unreleased=unreleased,
        tempo_seen=len(events.tempo_tick),
        tempo_kept=tempo_kept,
    )
    return Roll(packed, tempo_us, first), counts


@kernel
def step_of_tick(tick, tpq):  # type: ignore[no-untyped-def]
    """Nearest step of a tick, exact halves down: `(8 * tick + tpq - 1) // (2 * tpq)`."""
    return (2 * STEPS_PER_QUARTER * tick + tpq - 1) // (2 * tpq)


@kernel
def _place(tpq, tick, channel, key, is_on):  # type: ignore[no-untyped-def]
    """(N,) stream and (N,) step of each event, (2, O) keys and steps of the onsets, drum notes and notes out of range dropped."""
    num_events = len(tick)
    stream, step = np.empty(num_events, np.uint16), np.empty(num_events, np.int64)  # unsigned: numba indexes faster with it
    onsets = np.empty((2, num_events), np.int64)
    num_onsets = num_drum = num_out_of_range = 0
    for i in range(num_events):
        piano_key = np.int64(key[i]) - LOWEST_KEY
        stream[i] = _DROPPED
        if channel[i] == _DRUM_CHANNEL:
            num_drum += is_on[i]
        elif piano_key < 0 or piano_key >= NUM_KEYS:
            num_out_of_range += is_on[i]
        else:
            stream[i] = np.int64(channel[i]) * NUM_KEYS + piano_key
            step[i] = step_of_tick(tick[i], tpq)
            # Written for every event and kept for note-ons: cheaper than a branch that is mispredicted half of the time.
            onsets[0, num_onsets], onsets[1, num_onsets] = piano_key, step[i]
            num_onsets += is_on[i]
    return stream, step, onsets[:, :num_onsets], num_drum, num_out_of_range


@kernel
def _read_streams(tick, track, is_on, stream, step):  # type: ignore[no-untyped-def]
    """(3, S) keys, start steps and stop steps of the held spans, and how many streams were never released."""
    num_events = len(tick)
    spans = np.empty((3, num_events), np.int64)
    first_reading = np.zeros(_NUM_STREAMS, np.bool_)
    begin = num_spans = num_unreleased = 0
    while begin < num_events:
        end = begin
        while end < num_events and track[end] == track[begin]:
            end += 1
        num_read, is_open = _read_track(begin, end, tick, is_on, stream, step, first_reading, spans, num_spans)
        if is_open.any():  # the whole track again over the spans just written; streams that were released give the same ones
            num_read, is_open = _read_track(begin, end, tick, is_on, stream, step, is_open, spans, num_spans)
            num_unreleased += is_open.sum()
        num_spans = num_read
        begin = end
    return spans[:, :num_spans], num_unreleased


@kernel
def _read_track(begin, end, tick, is_on, stream, step, is_second_reading, spans, num_spans):  # type: ignore[no-untyped-def]
    """Spans so far, and (streams,) which streams are open behind their last event."""
    # Per stream: the tick being gathered and its step, what it holds so far, and the depth before it.
    gathered_tick, gathered_step = np.full(_NUM_STREAMS, _NEVER, np.int64), np.zeros(_NUM_STREAMS, np.int64)
    ons, offs, depth = np.zeros(_NUM_STREAMS, np.int32), np.zeros(_NUM_STREAMS, np.int32), np.zeros(_NUM_STREAMS, np.int32)
    for i in range(begin, end):
        s = stream[i]
        if s == _DROPPED:
            continue
        if gathered_tick[s] != tick[i]:
            depth[s] = _next_depth(depth[s], ons[s], offs[s], is_second_reading[s])
            spans[0, num_spans], spans[1, num_spans], spans[2, num_spans] = s % NUM_KEYS, gathered_step[s], step[i]
            num_spans += depth[s] > 0  # as with the onsets
            gathered_tick[s], gathered_step[s] = tick[i], step[i]
            ons[s] = offs[s] = 0
        ons[s] += is_on[i]
        offs[s] += not is_on[i]
    is_open = np.empty(_NUM_STREAMS, np.bool_)
    for s in range(_NUM_STREAMS):
        is_open[s] = _next_depth(depth[s], ons[s], offs[s], is_second_reading[s]) > 0
    return num_spans, is_open


@kernel
def _next_depth(depth, ons, offs, is_second_reading):  # type: ignore[no-untyped-def]
    """Open notes of a stream after a tick with these note-ons and note-offs."""
    if not is_second_reading:
        return max(0, depth + ons - offs)
    if ons > 0 and offs > 0:
        return depth
    return 1 if ons > 0 else 0


@kernel
def _fill(first, num_steps, spans, onsets):  # type: ignore[no-untyped-def]
    """(T, 22) packed rows, and the number of onset cells."""
    packed = np.zeros((num_steps, PACKED_BYTES), np.uint8)
    for key, start, stop in spans.T:
        byte, bit = _HOLD_BYTE + (key >> 3), np.uint8(0x80 >> (key & 7))
        for step in range(start - first, stop - first):
            packed[step, byte] |= bit
    num_cells = 0
    for key, onset in onsets.T:
        byte, bit = key >> 3, np.uint8(0x80 >> (key & 7))
        step = onset - first
        num_cells += (packed[step, byte] & bit) == 0
        packed[step, byte] |= bit
        packed[step, _HOLD_BYTE + byte] &= ~bit
    return packed, num_cells


@kernel
def _fill_tempo(first, num_steps, tpq, tempo_tick, tempo_us):  # type: ignore[no-untyped-def]
    """(T,) uint32 tempo in force at each step, and how many events are."""
    filled = np.empty(num_steps, np.uint32)
    current = _NEVER
    kept = 0
    counted = _NEVER
    for step in range(num_steps):
        while current + 1 < len(tempo_tick) and STEPS_PER_QUARTER * tempo_tick[current + 1] <= (first + step) * tpq:
            current += 1
        kept += current != counted
        counted = current
        filled[step] = tempo_us[current] if current >= 0 else DEFAULT_TEMPO_US
    return filled, kept
