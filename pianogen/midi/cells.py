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


class Onsets(NamedTuple):
    """(N,) int64 keys and steps of the accepted note-ons."""

    key: np.ndarray
    step: np.ndarray


class Cells(NamedTuple):
    """(T, 22) uint8 packed rows, and the number of onset cells."""

    packed: np.ndarray
    num_onsets: int


class Tempo(NamedTuple):
    """(T,) uint32 tempo of each step, and the number of tempo events that are in force at one step at least."""

    tempo_us: np.ndarray
    num_in_force: int


@kernel
def fill_cells(first: int, num_steps: int, spans: Spans, onsets: Onsets) -> Cells:
    """The rows of the steps from `first` on; an onset replaces a hold in its cell."""
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
    return Cells(packed, num_onsets)


@kernel
def fill_tempo(first: int, num_steps: int, grid: Grid, tempos: TempoEvents) -> Tempo:
    """The tempos of the steps from `first` on; the events are ordered by tick."""
    tempo_us = np.empty(num_steps, np.uint32)
    current = previous = _NONE
    num_in_force = 0
    for step in range(num_steps):
        while current + 1 < len(tempos.tick) and grid.steps * tempos.tick[current + 1] <= (first + step) * grid.ticks:
            current += 1
        num_in_force += current != previous
        previous = current
        tempo_us[step] = tempos.tempo_us[current] if current >= 0 else DEFAULT_TEMPO_US
    return Tempo(tempo_us, num_in_force)


@kernel
def fill_bar_position(first: int, num_steps: int, grid: Grid, meters: MeterEvents) -> np.ndarray:
    """(T,) uint8 positions in the bars of the last time signature, or since the last bar line."""
    positions = np.empty(num_steps, np.uint8)
    bar_line, bar = 0, 4 * grid.steps  # 4/4 before the first event
    at = 0
    for step in range(num_steps):
        while at < len(meters.tick) and step_of_tick(meters.tick[at], grid) <= first + step:
            bar_steps = _bar_steps(meters.numerator[at], meters.power[at], grid.steps)
            if bar_steps != _NONE:
                bar_line, bar = step_of_tick(meters.tick[at], grid), bar_steps
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
