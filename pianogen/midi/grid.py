"""The grid of steps; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel


class Grid(NamedTuple):
    """Ticks and steps of a quarter note."""

    ticks: int
    steps: int


@kernel
def step_of_tick(tick: int, grid: Grid) -> int:
    """The step nearest to a tick, exact halves down."""
    # Unsigned, because a signed division rounds down, which takes longer.
    return int(np.int64(np.uint64(2 * grid.steps * tick + grid.ticks - 1) // np.uint64(2 * grid.ticks)))


@kernel
def first_step_from(tick: int, grid: Grid) -> int:
    """The first step that begins at a tick or after it."""
    return int(np.int64(np.uint64(grid.steps * tick + grid.ticks - 1) // np.uint64(grid.ticks)))
