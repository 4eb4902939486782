"""Rolls end to end, cut into the blocks in which they are written."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pianogen.roll import Roll, join
from pianogen.store.pieces import Pieces, StoreError


def cut_blocks(pieces: Pieces, rolls: Iterable[Roll], chunk_steps: int, block_steps: int) -> Iterator[Roll]:
    """The rows of all rolls in blocks of complete chunks; only the last block may end within a chunk.

    Args:
        rolls: the rolls of the pieces, in order; one roll may contain several pieces, end to end.
        chunk_steps: rows of a chunk of the file.
        block_steps: a block ends at the last complete chunk of the piece that makes it at least this long.

    Raises:
        StoreError: the rolls do not have the lengths of the pieces, or quarter notes of different numbers of steps.
    """
    ends = np.cumsum(pieces.steps, dtype=np.int64)
    remaining = iter(rolls)
    pending: list[Roll] = []
    block_start = end = 0
    for block_stop in _block_stops(ends, chunk_steps, block_steps):
        while end < block_stop:
            roll = next(remaining, None)
            if roll is None:
                raise StoreError(f"the rolls have {end} steps, expected {ends[-1]}")
            if pending and roll.steps_per_quarter != pending[0].steps_per_quarter:
                raise StoreError(
                    f"one roll has {roll.steps_per_quarter} steps per quarter note, others {pending[0].steps_per_quarter}"
                )
            pending.append(roll)
            end += len(roll)
            last = min(int(np.searchsorted(ends, end)), len(ends) - 1)
            if ends[last] != end:
                raise StoreError(f"the rolls up to piece {pieces.name[last]} have {end} steps, expected {ends[last]}")
        joined, size = join(pending), block_stop - block_start
        yield joined.rows(None, size)
        pending = [joined.rows(size, None)]
        block_start = block_stop
    if any(len(roll) for roll in remaining):
        raise StoreError(f"there are more rolls than the expected {len(pieces)}")


def read_ahead(blocks: Iterator[Roll]) -> Iterator[Roll]:
    """The same blocks, each prepared in a thread while the previous one is written, which may take as long."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, blocks, None)
        while (block := future.result()) is not None:
            future = thread.submit(next, blocks, None)
            yield block


def _block_stops(ends: np.ndarray, chunk_steps: int, block_steps: int) -> Iterator[int]:
    """The row after each block.

    The rows depend only on the lengths of the pieces, not on how many pieces a roll contains. So the chunks are always written in
    the same order, which determines their positions in the file, and equal arguments give equal bytes.
    """
    start = 0
    while start < ends[-1]:
        piece = np.searchsorted(ends, start + block_steps)
        start = int(ends[piece]) // chunk_steps * chunk_steps if piece < len(ends) else int(ends[-1])
        yield start
