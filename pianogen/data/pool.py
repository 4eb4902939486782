"""A pool: the rows of some pieces in memory, from which tf.data gathers windows while the next pool is read."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from pianogen.data.transposition import transposed
from pianogen.roll import PACKED_BYTES, Roll

ROW_BYTES = PACKED_BYTES + 4
_GATHERED_BYTES = 1 << 23  # gathered at a time; at half of it NumPy would not ask for huge pages, and take twice as long
_READY_BATCHES = 4
_ALIGNMENT = 64  # of memory that TensorFlow takes over without a copy


class Pool(NamedTuple):
    """The windows of some pieces, numbered from 0 within the pool; arrays where it is made, tensors within tf.data.

    Attributes:
        packed: (R, 22) uint8.
        tempo_us: (R,) int32.
        ends: (p,) int64, windows of the pieces up to and with each.
        row_offset: (p,) int64: window i of a piece begins at row i * stride + row_offset.
        split_offset: (p,) int64: window i is window i + split_offset of the split.
        place: (3,) int64, where in the order it is: the epoch, the number of the pool in it, the position of its first window.
        span: (2,) int64, begin and end of what is streamed from it, in numbers of the stream.
    """

    packed: np.ndarray
    tempo_us: np.ndarray
    ends: np.ndarray
    row_offset: np.ndarray
    split_offset: np.ndarray
    place: np.ndarray
    span: np.ndarray


_Gather = Callable[[Pool, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
_SPEC = Pool(
    packed=tf.TensorSpec((None, PACKED_BYTES), tf.uint8),
    tempo_us=tf.TensorSpec((None,), tf.int32),
    ends=tf.TensorSpec((None,), tf.int64),
    row_offset=tf.TensorSpec((None,), tf.int64),
    split_offset=tf.TensorSpec((None,), tf.int64),
    place=tf.TensorSpec((3,), tf.int64),
    span=tf.TensorSpec((2,), tf.int64),
)


def empty_roll(steps: int) -> Roll:
    """Rows to be filled, in memory that TensorFlow takes over as it is."""
    return Roll(_aligned((steps, PACKED_BYTES), np.uint8), _aligned((steps,), np.uint32))


def streamed(pools: Callable[[], Iterator[Pool]], gather: _Gather, length: int, batch: int) -> tf.data.Dataset:
    """Batches of what `gather` makes of the numbers of one pool after another; only the last may be smaller.

    An iterator over them is to be let go before the interpreter ends: a thread of tf.data may be in the midst of reading then,
    and Python and TensorFlow would wait for each other.

    Args:
        pools: the next one is asked for while one is in use, so two are in memory.
        gather: the (n, length, 22) packed rows and (n, length) tempos of (n,) numbers of the stream.
        length: rows of a window.
        batch: windows of a batch.
    """
    # Whole batches, because they become slices of what was gathered, without a copy.
    num = batch * max(1, _GATHERED_BYTES // (batch * length * ROW_BYTES))

    def blocks_of(pool: Pool) -> tf.data.Dataset:
        def block_at(begin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return gather(pool, tf.range(begin, tf.minimum(begin + num, pool.span[1])))

        # In parallel to whoever takes the block before, but no two blocks at a time: their memory counts.
        return tf.data.Dataset.range(pool.span[0], pool.span[1], num).map(block_at, num_parallel_calls=1)

    blocks = tf.data.Dataset.from_generator(pools, output_signature=_SPEC).prefetch(1).flat_map(blocks_of)
    return blocks.rebatch(batch).prefetch(_READY_BATCHES)


def gathered(pool: Pool, index: tf.Tensor, length: int, stride: int) -> tuple[tf.Tensor, tf.Tensor]:
    """(n, length, 22) packed rows and (n, length) tempos of the (n,) windows of a pool."""

    def copied(packed: np.ndarray, tempo_us: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # In NumPy, because it copies a window at once, and tf.gather row by row at a fifth of the speed.
        rows = sliding_window_view(packed.reshape(-1), length * PACKED_BYTES)[::PACKED_BYTES]
        return rows[first].reshape(-1, length, PACKED_BYTES), sliding_window_view(tempo_us, length)[first]

    first = index * stride + tf.gather(pool.row_offset, _piece(pool, index))
    packed, tempo_us = tf.numpy_function(copied, [pool.packed, pool.tempo_us, first], [tf.uint8, tf.int32], stateful=False)
    return tf.ensure_shape(packed, (None, length, PACKED_BYTES)), tf.ensure_shape(tempo_us, (None, length))


def moved(packed: tf.Tensor, draws: tf.Tensor, most: int) -> tf.Tensor:
    """`transposition.transposed` within tf.data."""
    inputs = [packed, draws]
    rows = tf.numpy_function(lambda packed, draws: transposed(packed, draws, most), inputs, tf.uint8, stateful=False)
    return tf.ensure_shape(rows, packed.shape)


def number_in_split(pool: Pool, index: tf.Tensor) -> tf.Tensor:
    """(n,) int64, by which a window is known whatever pool it is in."""
    return index + tf.gather(pool.split_offset, _piece(pool, index))


def _piece(pool: Pool, index: tf.Tensor) -> tf.Tensor:
    return tf.searchsorted(pool.ends, index, side="right")


def _aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).reshape(shape)
