"""The grid of steps; compiled with numba."""

from typing import NamedTuple

from pianogen.kernel_cache import kernel


class Grid(NamedTuple):
    """Ticks and steps of a quarter note."""

    ticks: int
    steps: int


@kernel
def step_of_tick(tick: int, grid: Grid) -> int:
    """The step nearest to a tick, exact halves down."""
    return (2 * grid.steps * tick + grid.ticks - 1) // (2 * grid.ticks)
