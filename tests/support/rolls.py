"""Rolls with bars of 4/4, the meter of MIDI files without a time signature."""

import numpy as np

from pianogen.roll import Roll, equal_bars


def roll_in_4_4(packed: np.ndarray, tempo_us: np.ndarray, first_step: int = 0, steps_per_quarter: int = 4) -> Roll:
    """A roll whose source has bars of 4/4 from its start, before the steps that were trimmed."""
    bar_position = equal_bars(len(packed), 4 * steps_per_quarter, first_step)
    return Roll(packed, tempo_us, bar_position, first_step, steps_per_quarter)
