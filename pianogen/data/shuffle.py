"""The order of windows: pure functions of sizes, a seed and an epoch."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

# With 4, the default, neighbouring epochs, seeds and windows are correlated by up to 1, with 8 by up to 0.1, with 12 no more.
_ROUNDS = 16


def pools_of_epoch(steps: np.ndarray, limit: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Pieces in an order of the epoch's own, cut into pools.

    Args:
        steps: (P,) int64, rows of each piece.
        limit: rows of a pool, at least those of the longest piece.

    Returns:
        Of each pool, its pieces ascending: an int64 array of 0..P - 1.
    """
    # The raw numbers, because a generator's permutation may change with the version of NumPy.
    shuffled = np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(len(steps)), kind="stable")
    return [np.sort(shuffled[run]) for run in runs(steps[shuffled], limit)]


def runs(steps: np.ndarray, limit: int) -> Iterator[slice]:
    """Consecutive pieces that have at most `limit` rows together; a piece that has more is alone."""
    ends = np.cumsum(steps)
    first = 0
    while first < len(steps):
        fitting = int(np.searchsorted(ends, ends[first] - steps[first] + limit, side="right"))
        after = max(fitting, first + 1)
        yield slice(first, after)
        first = after


def permuted(index: tf.Tensor, count: tf.Tensor, seed: int, epoch: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Where a permutation of 0..count - 1 puts each index.

    Args:
        index: (B,) int64.
        count: int64, up to 2**32.
        seed: with `epoch`, () or (B,), and `number`, both int64, it decides the permutation.

    Returns:
        (B,) int64.
    """
    key = [tf.broadcast_to(tf.cast(part, tf.int64), tf.shape(index)) for part in (seed, epoch, number)]
    # The raw operation, because tf.random.experimental.index_shuffle pads a vector of seeds along the wrong axis.
    last = tf.cast(count, tf.int64) - 1
    return tf.raw_ops.RandomIndexShuffle(index=index, seed=tf.stack(key, axis=1), max_index=last, rounds=_ROUNDS)
