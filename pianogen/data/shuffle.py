"""The order of windows: pure functions of sizes, a seed and an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# With the default of 4 rounds, the orders of consecutive epochs, seeds and pools have correlations of up to 1, with 8 rounds of
# up to 0.1, and with 12 rounds there is none.
_ROUNDS = 16


def pools_of_epoch(steps: np.ndarray, max_rows: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Shuffles the pieces of an epoch and divides them into pools.

    Args:
        steps: (P,) int64 number of rows of each piece.
        max_rows: largest number of rows of a pool, at least those of the longest piece.

    Returns:
        For each pool, the (p,) int64 ascending indices of its pieces.
    """
    # Raw random numbers, because the permutation of a generator may change with the version of NumPy.
    shuffled = np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(len(steps)), kind="stable")
    return [np.sort(shuffled[pieces]) for pieces in consecutive_pieces(steps[shuffled], max_rows)]


def consecutive_pieces(steps: np.ndarray, max_rows: int) -> Iterator[slice]:
    """Divides pieces into slices of at most `max_rows` rows; a longer piece gets a slice of its own.

    Args:
        steps: (P,) int64 number of rows of each piece.
    """
    ends = np.cumsum(steps)
    start = 0
    while start < len(steps):
        fitting = int(np.searchsorted(ends, ends[start] - steps[start] + max_rows, side="right"))
        stop = max(fitting, start + 1)
        yield slice(start, stop)
        start = stop


def permute(index: tf.Tensor, count: tf.Tensor, seed: int, epoch: tf.Tensor, substream: tf.Tensor) -> tf.Tensor:
    """Applies a pseudorandom permutation of 0..count - 1 to indices, without computing the permutation of the others.

    Args:
        index: (B,) int64.
        count: int64, up to 2**32.
        seed: selects the permutation, together with `epoch` and `substream`.
        epoch: () or (B,) int64.
        substream: () int64; permutations of different substreams are independent.

    Returns:
        (B,) int64.
    """
    key = [tf.broadcast_to(tf.cast(part, tf.int64), tf.shape(index)) for part in (seed, epoch, substream)]
    # The raw operation, because tf.random.experimental.index_shuffle pads a vector of seeds along the wrong axis.
    max_index = tf.cast(count, tf.int64) - 1
    return tf.raw_ops.RandomIndexShuffle(index=index, seed=tf.stack(key, axis=1), max_index=max_index, rounds=_ROUNDS)


@dataclass(frozen=True, slots=True)
class LocalPart:
    """The part of every global batch that one process gathers. Its stream numbers the windows of these parts from 0.

    Attributes:
        batch: number of windows of a global batch.
        first: number of windows of a global batch before the part.
        size: number of windows of the part.
    """

    batch: int
    first: int
    size: int

    def number(self, position: int) -> int:
        """The number of windows of the stream before a position in the order."""
        return position // self.batch * self.size + min(max(position % self.batch - self.first, 0), self.size)

    def position(self, number: tf.Tensor) -> tf.Tensor:
        """The positions in the order of the windows with these numbers in the stream."""
        return number // self.size * self.batch + self.first + number % self.size
