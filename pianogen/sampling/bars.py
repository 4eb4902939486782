"""The bar positions of samples, which are known before the samples are drawn."""

import numpy as np

from pianogen.meter import bar_steps
from pianogen.roll import MAX_BAR_POSITION, Roll, equal_bars


def continue_bars(before: Roll, meter: str | None, num_steps: int) -> np.ndarray:
    """(T,) uint8 bar positions of the steps after a roll: the bar in which the roll ends is completed, and equal bars follow.

    Args:
        before: the primer; a roll without steps, if there is none.
        meter: time signature; None means bars like the last complete bar of the roll, or 4/4 if the roll has none.

    Raises:
        UsageError: a bar of the meter has no whole number of steps, or too many.
    """
    bar_lines = np.flatnonzero(before.bar_position == 0)
    bar = 4 * before.steps_per_quarter
    if meter is not None:
        bar = bar_steps(meter, before.steps_per_quarter)
    elif len(bar_lines) > 1:
        bar = min(int(bar_lines[-1] - bar_lines[-2]), MAX_BAR_POSITION)
    first = int(before.bar_position[-1]) + 1 if len(before) else 0
    return equal_bars(num_steps, bar, first if first < bar else 0)
