"""Events to a roll, exactly and in integers; compiled with numba.

Every (track, channel, key) is a stream with its own depth of open notes, updated once per tick, so that the order of
events inside a tick does not matter. Ticks become steps by nearest sixteenth, exact halves down.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from pianogen.events import DEFAULT_TEMPO_US, Events
from pianogen.rejection import Reason, Rejection
from pianogen.roll import LOWEST_KEY, NUM_KEYS, PACKED_BYTES, STEPS_PER_QUARTER, Roll

MAX_STEPS = 131_072
_DRUM_CHANNEL = 9
_HOLD_BYTE = PACKED_BYTES // 2
_NUM_STREAMS = 16 * 128  # (channel, key) within one track
_NEVER = -1


@dataclass(frozen=True, slots=True)
class Counts:
    """What a piece holds and what was left out of its roll, as the ledger shows it.

    Attributes:
        notes: onset cells of the roll.
        notes_out_of_range: note-ons outside the 88 keys, dropped.
        notes_drum: note-ons on the drum channel, dropped.
        notes_merged: accepted note-ons that fell on a cell another one had struck already.
        notes_unreleased: notes still open after the second reading, ended at their stream's last event.
        tempo_seen: tempo events of the file.
        tempo_kept: those in force at one step of the roll or more.
    """

    notes: int
    notes_out_of_range: int
    notes_drum: int
    notes_merged: int
    notes_unreleased: int
    tempo_seen: int
    tempo_kept: int


def quantize(events: Events, keep_rests: bool = False) -> tuple[Roll, Counts]:
    """The roll of a file's events.

    Args:
        keep_rests: keep the silence before the first onset and behind the last note, up to the end of the longest track.

    Raises:
        Rejection: no notes are left after dropping, or the roll has more than 131,072 steps.
    """
    tpq = events.ticks_per_quarter
    key, start, stop, onset_key, onset_step, dropped_drum, dropped_range, unreleased = _read_streams(
        tpq, events.tick, events.track, events.channel, events.key, events.is_on
    )
    if len(onset_step) == 0:
        raise Rejection(
            Reason.NO_NOTES, f"no notes on the 88 keys ({dropped_drum} drum notes and {dropped_range} out of range dropped)"
        )
    first = 0 if keep_rests else int(onset_step.min())
    last = max(int(onset_step.max()) + 1, int(stop.max(initial=0)))
    if keep_rests:
        last = max(last, int(step_of_tick(events.end_tick, tpq)))
    if last - first > MAX_STEPS:
        raise Rejection(Reason.TOO_LONG, f"{last - first} steps; at most {MAX_STEPS} are kept")
    packed, notes = _fill(first, last - first, key, start, stop, onset_key, onset_step)
    by_tick = np.argsort(events.tempo_tick, kind="stable")  # file order is (track, order), so ties stay as they should
    tempo_us, tempo_kept = _fill_tempo(first, last - first, tpq, events.tempo_tick[by_tick], events.tempo_us[by_tick])
    counts = Counts(
        notes=notes,
        notes_out_of_range=dropped_range,
        notes_drum=dropped_drum,
        notes_merged=len(onset_step) - notes,
        notes_unreleased=unreleased,
        tempo_seen=len(events.tempo_tick),
        tempo_kept=tempo_kept,
    )
    return Roll(packed, tempo_us, first), counts


@njit(cache=True)
def step_of_tick(tick, tpq):  # type: ignore[no-untyped-def]
    """Nearest step of a tick, exact halves down: `(8 * tick + tpq - 1) // (2 * tpq)`."""
    return (2 * STEPS_PER_QUARTER * tick + tpq - 1) // (2 * tpq)


@njit(cache=True)
def _next_depth(depth, ons, offs, is_second_reading):  # type: ignore[no-untyped-def]
    """Open notes of a stream after a tick with these note-ons and note-offs."""
    if not is_second_reading:
        return max(0, depth + ons - offs)
    if ons > 0 and offs > 0:
        return depth
    return 1 if ons > 0 else 0


@njit(cache=True)
def _read_streams(tpq, tick, track, channel, key, is_on):  # type: ignore[no-untyped-def]
    """Held spans (key, start step, stop step), onsets (key, step), and the counts of what was dropped or never released."""
    num_events = len(tick)
    span_key, span_start, span_stop = (
        np.empty(num_events, np.uint8),
        np.empty(num_events, np.int64),
        np.empty(num_events, np.int64),
    )
    onset_key, onset_step = np.empty(num_events, np.uint8), np.empty(num_events, np.int64)
    num_spans = num_onsets = num_drum = num_out_of_range = num_unreleased = 0
    # Per stream of the track at hand: the tick being gathered, what it holds so far, and the depth before it.
    gathered_tick = np.full(_NUM_STREAMS, _NEVER, np.int64)
    ons, offs, depth = np.zeros(_NUM_STREAMS, np.int32), np.zeros(_NUM_STREAMS, np.int32), np.zeros(_NUM_STREAMS, np.int32)
    is_second_reading = np.zeros(_NUM_STREAMS, np.bool_)
    begin = 0
    while begin < num_events:
        end = begin
        while end < num_events and track[end] == track[begin]:
            end += 1
        for reading in range(2):
            writes = reading == 1  # which streams stay open must be known before anything of them is written
            for i in range(begin, end):
                if channel[i] == _DRUM_CHANNEL:
                    num_drum += writes and is_on[i]
                    continue
                piano_key = np.int64(key[i]) - LOWEST_KEY
                if piano_key < 0 or piano_key >= NUM_KEYS:
                    num_out_of_range += writes and is_on[i]
                    continue
                s = np.int64(channel[i]) * 128 + key[i]
                if gathered_tick[s] != tick[i]:
                    depth[s] = _next_depth(depth[s], ons[s], offs[s], is_second_reading[s])
                    if writes and depth[s] > 0:
                        span_key[num_spans] = piano_key
                        span_start[num_spans] = step_of_tick(gathered_tick[s], tpq)
                        span_stop[num_spans] = step_of_tick(tick[i], tpq)
                        num_spans += 1
                    gathered_tick[s] = tick[i]
                    ons[s] = offs[s] = 0
                if is_on[i]:
                    ons[s] += 1
                    if writes:
                        onset_key[num_onsets] = piano_key
                        onset_step[num_onsets] = step_of_tick(tick[i], tpq)
                        num_onsets += 1
                else:
                    offs[s] += 1
            for i in range(begin, end):
                s = np.int64(channel[i]) * 128 + key[i]
                if gathered_tick[s] == _NEVER:
                    continue
                is_open = _next_depth(depth[s], ons[s], offs[s], is_second_reading[s]) > 0
                num_unreleased += writes and is_open
                is_second_reading[s] = is_open and not writes
                gathered_tick[s] = _NEVER
                ons[s] = offs[s] = depth[s] = 0
        begin = end
    return (
        span_key[:num_spans],
        span_start[:num_spans],
        span_stop[:num_spans],
        onset_key[:num_onsets],
        onset_step[:num_onsets],
        num_drum,
        num_out_of_range,
        num_unreleased,
    )


@njit(cache=True)
def _fill(first, num_steps, span_key, span_start, span_stop, onset_key, onset_step):  # type: ignore[no-untyped-def]
    """(T, 22) packed rows, and the number of onset cells."""
    packed = np.zeros((num_steps, PACKED_BYTES), np.uint8)
    for i in range(len(span_key)):
        byte, bit = _HOLD_BYTE + (span_key[i] >> 3), np.uint8(0x80 >> (span_key[i] & 7))
        for step in range(span_start[i] - first, span_stop[i] - first):
            packed[step, byte] |= bit
    num_cells = 0
    for i in range(len(onset_key)):
        byte, bit = onset_key[i] >> 3, np.uint8(0x80 >> (onset_key[i] & 7))
        step = onset_step[i] - first
        num_cells += (packed[step, byte] & bit) == 0
        packed[step, byte] |= bit
        packed[step, _HOLD_BYTE + byte] &= ~bit
    return packed, num_cells


@njit(cache=True)
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
