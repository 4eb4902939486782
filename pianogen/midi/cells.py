"""The rows, tempos and bar positions of a roll, from what lies on its grid; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import MeterEvents, TempoEvents
from pianogen.midi.grid import Grid, step_of_tick
from pianogen.midi.streams import Spans
from pianogen.roll import DEFAULT_TEMPO_US, MAX_BAR_POSITION, PACKED_BYTES

_HOLD_BYTE = PACKED_BYTES // 2
_MAX_POWER = 15  # 2**15 parts of a whole note are more than the steps of the longest bar
_NONE = -1
_NEVER = np.iinfo(np.int64).max


class Onsets(NamedTuple):
    """(N,) int64 keys and steps of the accepted note-ons."""

    key: np.ndarray
    step: np.ndarray


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
def fill_roll(steps: Range, grid: Grid, onsets: Onsets, spans: Spans, tempos: TempoEvents, meters: MeterEvents) -> Cells:
    """The content of the steps of a roll."""
    packed, tempo_us = np.zeros((steps.num_steps, PACKED_BYTES), np.uint8), np.empty(steps.num_steps, np.uint32)
    bar_position = np.empty(steps.num_steps, np.uint8)
    num_onsets = _fill_cells(steps, spans, onsets, packed)
    num_tempos = _fill_tempo(steps, grid, tempos, tempo_us)
    _fill_bar_position(steps, grid, meters, bar_position)
    return Cells(packed, tempo_us, bar_position, num_onsets, num_tempos)


@kernel
def _fill_cells(steps: Range, spans: Spans, onsets: Onsets, packed: np.ndarray) -> int:
    """Fills rows of silence, and returns the number of onset cells; an onset replaces a hold in its cell."""
    first = steps.first
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
    return num_onsets


@kernel
def _fill_tempo(steps: Range, grid: Grid, tempos: TempoEvents, tempo_us: np.ndarray) -> int:
    """Fills the tempos, and returns the number of events that are in force at one step at least."""
    order = _order_of(tempos.tick)
    current = previous = _NONE
    num_in_force = 0
    for step in range(steps.num_steps):
        end = (steps.first + step) * grid.ticks
        while current + 1 < len(order) and grid.steps * tempos.tick[order[current + 1]] <= end:
            current += 1
        num_in_force += current != previous
        previous = current
        tempo_us[step] = tempos.tempo_us[order[current]] if current >= 0 else DEFAULT_TEMPO_US
    return num_in_force


@kernel
def _fill_bar_position(steps: Range, grid: Grid, meters: MeterEvents, bar_position: np.ndarray) -> None:
    """Fills the positions in the bars of the last time signature, or since the last bar line."""
    order = _order_of(meters.tick)
    bar = 4 * grid.steps  # 4/4 before the first event
    position = (steps.first - 1) % bar
    at, event_step = 0, _event_step(meters, order, 0, grid)
    for i in range(steps.num_steps):  # counts, because a division takes as long as the rest of a step
        position += 1
        if position == bar:
            position = 0
        while event_step <= steps.first + i:
            bar_steps = _bar_steps(meters.numerator[order[at]], meters.power[order[at]], grid.steps)
            if bar_steps != _NONE:
                bar, position = bar_steps, steps.first + i - event_step
                if bar > 0:
                    position %= bar
            at += 1
            event_step = _event_step(meters, order, at, grid)
        bar_position[i] = min(position, MAX_BAR_POSITION)


@kernel
def _event_step(meters: MeterEvents, order: np.ndarray, at: int, grid: Grid) -> int:
    """The step of an event, _NEVER after the last one."""
    return step_of_tick(meters.tick[order[at]], grid) if at < len(order) else _NEVER


@kernel
def _order_of(tick: np.ndarray) -> np.ndarray:
    """The indices of events by tick; the order of track and position is kept at equal ticks."""
    for i in range(1, len(tick)):
        if tick[i] < tick[i - 1]:
            return np.argsort(tick, kind="mergesort")
    return np.arange(len(tick))


@kernel
def _bar_steps(numerator: int, power: int, steps_per_quarter: int) -> int:
    """The steps of a bar: 0, without end, after the bar line of a score; _NONE for a time signature that is ignored."""
    num_parts = 4 * steps_per_quarter * numerator
    if power > _MAX_POWER or num_parts % (1 << power) != 0 or num_parts >> power > MAX_BAR_POSITION:
        return _NONE
    return num_parts >> power
