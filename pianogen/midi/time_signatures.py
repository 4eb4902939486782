"""The time signatures that reproduce the bar positions of a roll."""

from typing import NamedTuple

import numpy as np

from pianogen.roll import MAX_BAR_POSITION

_QUARTER_POWER = 2


class TimeSignatures(NamedTuple):
    """The time signatures of a MIDI file.

    Attributes:
        silent_steps: steps of the file before the first step of the roll.
        step: (M,) int64 steps of the file, ascending from 0.
        numerator: (M,) int64, 1..255.
        power: (M,) int64; the denominator is 2**power.
    """

    silent_steps: int
    step: np.ndarray
    numerator: np.ndarray
    power: np.ndarray


def find_time_signatures(bar_position: np.ndarray, steps_per_quarter: int) -> TimeSignatures:
    """The time signatures whose bar lines are the steps with position 0.

    The positions are reproduced if each one is 0 or the successor of the one before it, and no bar is longer than 255 steps. The
    silence in front completes a bar that begins before the roll. A bar that no time signature can express, such as a fifth of a
    quarter note, gets the next longer one and ends early, at the time signature of the next bar. Positions that do not follow
    each other are written as if they did, and a bar of more than 255 steps as bars of 255.

    Args:
        bar_position: (T,) uint8.
    """
    num_steps = len(bar_position)
    bar_lines = np.flatnonzero(bar_position == 0)
    silent_steps = int(bar_position[0]) if num_steps else 0
    if silent_steps and silent_steps + int(bar_lines[0] if len(bar_lines) else num_steps) > MAX_BAR_POSITION:
        silent_steps = 0  # a bar line in front could not be the start of the first bar
    starts = np.unique(np.append(0, bar_lines + silent_steps)).tolist()
    ends = [*starts[1:], silent_steps + num_steps]
    rows: list[tuple[int, int]] = []
    bar, is_complete = 4 * steps_per_quarter, True  # the bar in force, and whether it ended as long as it should
    for start, end in zip(starts, ends, strict=True):
        is_last, length = end == ends[-1], end - start
        fits = length <= bar if is_last else length == bar
        if not fits:
            bar = _shortest_bar(length, steps_per_quarter, is_last)
        if not (rows and fits and is_complete):
            rows.append((start, bar))
        is_complete = length == bar
    steps, bars = np.array(rows, np.int64).reshape(-1, 2).T
    power = np.array([_power(bar, steps_per_quarter) for bar in bars.tolist()], np.int64)
    return TimeSignatures(silent_steps, steps, (bars << power) // (4 * steps_per_quarter), power)


def _shortest_bar(length: int, steps_per_quarter: int, is_last: bool) -> int:
    """The shortest bar of at least this length, up to 255, that a time signature expresses; the last one in quarter notes."""
    num_steps = min(length, MAX_BAR_POSITION)
    quarters = -(-num_steps // steps_per_quarter) * steps_per_quarter
    if is_last and quarters <= MAX_BAR_POSITION:
        return quarters
    odd_part = 4 * steps_per_quarter // (4 * steps_per_quarter & -4 * steps_per_quarter)
    return -(-num_steps // odd_part) * odd_part


def _power(bar: int, steps_per_quarter: int) -> int:
    """The smallest power of 2, from quarter notes on, that is the denominator of a bar."""
    power = _QUARTER_POWER
    while (bar << power) % (4 * steps_per_quarter):
        power += 1
    return power
