"""The rows, tempos and bar positions of a roll, from what lies on its grid; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.grid import Grid, first_step_from, step_of_tick
from pianogen.roll import DEFAULT_TEMPO_US, MAX_BAR_POSITION, PACKED_BYTES

_HOLD_BYTE = PACKED_BYTES // 2
_MAX_POWER = 15  # 2**15 parts of a whole note are more than the steps of the longest bar
_NONE = -1
_NEVER = np.iinfo(np.int64).max


class Cells(NamedTuple):
    """The content of a roll.

    Attributes:
        packed: (T, 22) uint8.
        tempo_us: (T,) uint32.
        bar_position: (T,) uint8.
        num_onsets: number of onset cells.
        num_tempos: number of tempo events that are in force at one step at least.
    """

    packed: np.ndarray
    tempo_us: np.ndarray
    bar_position: np.ndarray
    num_onsets: int
    num_tempos: int


class Range(NamedTuple):
    """The first step of a roll, and its number of steps."""

    first: int
    num_steps: int


@kernel
def no_cells() -> Cells:
    """The content of no steps."""
    return Cells(np.empty((0, PACKED_BYTES), np.uint8), np.empty(0, np.uint32), np.empty(0, np.uint8), 0, 0)


@kernel
def fill_roll(steps: Range, grid: Grid, onsets: np.ndarray, spans: np.ndarray, tempos: np.ndarray, meters: np.ndarray) -> Cells:
    """The content of the steps of a roll.

    Args:
        onsets: (N,) ONSET.
        spans: (S,) SPAN.
        tempos: (P,) TEMPO_EVENT.
        meters: (M,) METER_EVENT.
    """
    packed, tempo_us = np.zeros((steps.num_steps, PACKED_BYTES), np.uint8), np.zeros(steps.num_steps, np.uint32)
    bar_position = np.empty(steps.num_steps, np.uint8)
    num_onsets = _fill_cells(steps, spans, onsets, packed)
    num_tempos = _fill_tempo(steps, grid, tempos, tempo_us)
    _fill_bar_position(steps, grid, meters, bar_position)
    return Cells(packed, tempo_us, bar_position, num_onsets, num_tempos)


@kernel
def _fill_cells(steps: Range, spans: np.ndarray, onsets: np.ndarray, packed: np.ndarray) -> int:
    """Fills rows of silence, and returns the number of onset cells; an onset replaces a hold in its cell."""
    first = steps.first
    for i in range(len(spans)):
        key = spans[i].key
        byte, bit = _HOLD_BYTE + (key >> 3), np.uint8(0x80 >> (key & 7))
        for step in range(spans[i].start - first, spans[i].stop - first):
            packed[step, byte] |= bit
    num_onsets = 0
    for i in range(len(onsets)):
        key, step = onsets[i].key, onsets[i].step - first
        byte, bit = key >> 3, np.uint8(0x80 >> (key & 7))
        num_onsets += (packed[step, byte] & bit) == 0
        packed[step, byte] |= bit
        packed[step, _HOLD_BYTE + byte] &= ~bit
    return num_onsets


@kernel
def _fill_tempo(steps: Range, grid: Grid, tempos: np.ndarray, tempo_us: np.ndarray) -> int:
    """Fills zeros with the tempos, and returns the number of events that are in force at one step at least."""
    num_in_force = 0
    for event in _by_tick(tempos):
        step = max(0, first_step_from(event.tick, grid) - steps.first)
        if step < steps.num_steps:
            num_in_force += tempo_us[step] == 0
            tempo_us[step] = event.tempo_us
    current = np.uint32(DEFAULT_TEMPO_US)
    for step in range(steps.num_steps):
        current = tempo_us[step] if tempo_us[step] != 0 else current
        tempo_us[step] = current
    return num_in_force


@kernel
def _fill_bar_position(steps: Range, grid: Grid, meters: np.ndarray, bar_position: np.ndarray) -> None:
    """Fills the positions in the bars of the last time signature, or since the last bar line."""
    events = _by_tick(meters)
    bar = 4 * grid.steps  # 4/4 before the first event
    position = (steps.first - 1) % bar
    at, event_step = 0, _event_step(events, 0, grid)
    for i in range(steps.num_steps):  # counts, because a division takes as long as the rest of a step
        position += 1
        if position == bar:
            position = 0
        while event_step <= steps.first + i:
            bar_steps = _bar_steps(events[at].numerator, events[at].power, grid.steps)
            if bar_steps != _NONE:
                bar, position = bar_steps, steps.first + i - event_step
                if bar > 0:
                    position %= bar
            at += 1
            event_step = _event_step(events, at, grid)
        bar_position[i] = min(position, MAX_BAR_POSITION)


@kernel
def _event_step(events: np.ndarray, at: int, grid: Grid) -> int:
    """The step of an event, _NEVER after the last one."""
    return step_of_tick(events[at].tick, grid) if at < len(events) else _NEVER


@kernel
def _by_tick(events: np.ndarray) -> np.ndarray:
    """The events ordered by tick; the order of track and position is kept at equal ticks."""
    for i in range(1, len(events)):
        if events[i].tick < events[i - 1].tick:
            return events[np.argsort(events["tick"], kind="mergesort")]
    return events


@kernel
def _bar_steps(numerator: int, power: int, steps_per_quarter: int) -> int:
    """The steps of a bar: 0, without end, after the bar line of a score; _NONE for a time signature that is ignored."""
    num_parts = 4 * steps_per_quarter * numerator
    if power > _MAX_POWER or num_parts % (1 << power) != 0 or num_parts >> power > MAX_BAR_POSITION:
        return _NONE
    return num_parts >> power
