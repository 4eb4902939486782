"""Complete pieces, in batches of similar length, chunk after chunk."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pianogen.data.gather import Places, gather_windows
from pianogen.data.windows import Windows
from pianogen.window import Window

NUM_PIECES, CHUNK_STEPS = 16, 64  # a good size on a CPU: pieces that are read together, and predicted rows of a chunk


class Chunk(NamedTuple):
    """The same steps of B pieces.

    Attributes:
        window: B windows in NumPy arrays, not transposed; the first one of a piece predicts its rows from step 0 on.
        is_row: (B, chunk_steps) bool; False for predicted rows that do not exist.
        is_start: whether the chunk is the first one of its pieces.
    """

    window: Window
    is_row: np.ndarray
    is_start: bool


def piece_chunks(windows: Windows, batch: int, chunk_steps: int) -> Iterator[Chunk]:
    """Every row of every piece of a split once, also of pieces that are shorter than a window.

    Batches consist of pieces of similar length. All chunks have the same shape: chunks go beyond the ends of shorter pieces, and
    the last batch is filled up with copies of its last piece.

    Args:
        windows: the pieces, and whether chunks have a context; the sizes of windows are not used.
        batch: number of pieces of a batch.
        chunk_steps: number of predicted rows of a chunk.

    Raises:
        StoreError: a checksum fails.
    """
    by_length = np.argsort(windows.steps, kind="stable")
    for first in range(0, len(by_length), batch):
        pieces = np.sort(by_length[first : first + batch])
        yield from _chunks(windows, pieces, batch, chunk_steps)


def _chunks(windows: Windows, pieces: np.ndarray, batch: int, chunk_steps: int) -> Iterator[Chunk]:
    rows, stops = windows.read_rows(pieces), np.cumsum(windows.steps[pieces])
    copied = np.minimum(np.arange(batch), len(pieces) - 1)
    is_copy = np.arange(batch) >= len(pieces)
    steps = windows.steps[pieces][copied]
    for step in range(0, int(steps.max()), chunk_steps):
        places = Places(
            start=stops[copied] - steps,
            stop=stops[copied],
            step=np.full(batch, step, np.int32),
            random=np.zeros(batch, np.int64),
        )
        window = gather_windows(rows, places, chunk_steps + 1, max_semitones=0)
        is_row = (np.arange(step, step + chunk_steps) < steps[:, np.newaxis]) & ~is_copy[:, np.newaxis]
        yield Chunk(window, is_row, is_start=step == 0)
