"""The bar positions of samples, which are known before the samples are drawn."""

import numpy as np

from pianogen.meter import bar_steps
from pianogen.roll import MAX_BAR_POSITION, Roll, equal_bars


def continue_bars(primer: Roll, num_read: int, meter: str | None, num_steps: int) -> np.ndarray:
    """(T,) uint8 bar positions of the steps after the first rows of a primer: their last bar is completed, and equal bars follow.

    Args:
        primer: the complete primer; a roll without steps, if there is none.
        num_read: number of its rows that the steps follow.
        meter: time signature; None means bars like the one in which the rows end or, if it is not complete in the primer, the one
            before it; 4/4 if the primer has no bar that a bar line ends.

    Raises:
        UsageError: a bar of the meter is not a whole number of steps, or is too long.
    """
    bar_lines = np.flatnonzero(primer.bar_position == 0)
    # Up to the end of the bar in which the rows end; of rows before the first bar line, that of the first bar.
    bar_lines = bar_lines[: max(2, int(np.searchsorted(bar_lines, num_read)) + 1)]
    bar = 4 * primer.steps_per_quarter
    if meter is not None:
        bar = bar_steps(meter, primer.steps_per_quarter)
    elif len(bar_lines) > 1:
        bar = min(int(bar_lines[-1] - bar_lines[-2]), MAX_BAR_POSITION)
    first = int(primer.bar_position[num_read - 1]) + 1 if num_read else 0
    return equal_bars(num_steps, bar, first if first < bar else 0)
