"""A pool: the rows of some pieces in memory. tf.data gathers windows from one pool while the next one is read."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from pianogen.data.transposition import transpose
from pianogen.roll import PACKED_BYTES, Roll
from pianogen.window import Window

ROW_BYTES = PACKED_BYTES + 4
BLOCK_BYTES = 1 << 23  # of windows that are gathered at once; with half of it, NumPy uses no huge pages and takes twice as long
_PREFETCHED_BATCHES = 4
_ALIGNMENT = 64  # of memory that TensorFlow uses without copying it


class Pool(NamedTuple):
    """The windows of some pieces, numbered from 0 in the order of the pieces. NumPy arrays outside tf.data, tensors inside.

    Attributes:
        packed: (R, 22) uint8 rows of the pieces, end to end.
        tempo_us: (R,) int32.
        window_ends: (P,) int64 number of windows of each piece and those before it.
        row_offset: (P,) int64: window i, if it belongs to the piece, starts at row i * stride + row_offset.
        split_offset: (P,) int64: window i, if it belongs to the piece, is window i + split_offset of the split.
        epoch: () int64 epoch of the first window.
        number: () int64 number of the pool in its epoch.
        position: () int64 position of the first window in the order of all epochs.
        start: () int64 number of the first window of the stream that is gathered from this pool.
        stop: () int64 number of the first window of the stream after it.
    """

    packed: np.ndarray
    tempo_us: np.ndarray
    window_ends: np.ndarray
    row_offset: np.ndarray
    split_offset: np.ndarray
    epoch: int
    number: int
    position: int
    start: int
    stop: int


_Gather = Callable[[Pool, tf.Tensor], Window]
_INT64 = tf.TensorSpec((), tf.int64)
_POOL_SPEC = Pool(
    packed=tf.TensorSpec((None, PACKED_BYTES), tf.uint8),
    tempo_us=tf.TensorSpec((None,), tf.int32),
    window_ends=tf.TensorSpec((None,), tf.int64),
    row_offset=tf.TensorSpec((None,), tf.int64),
    split_offset=tf.TensorSpec((None,), tf.int64),
    epoch=_INT64,
    number=_INT64,
    position=_INT64,
    start=_INT64,
    stop=_INT64,
)


def allocate_roll(num_steps: int) -> Roll:
    """A roll of uninitialized rows, in memory that TensorFlow uses without copying it."""
    return Roll(_allocate((num_steps, PACKED_BYTES), np.uint8), _allocate((num_steps,), np.uint32))


def stream_windows(pools: Callable[[], Iterator[Pool]], gather: _Gather, length: int, batch: int) -> tf.data.Dataset:
    """Batches of the windows of one pool after another; only the last batch may be smaller.

    An iterator over the dataset must be deleted before the interpreter exits: a tf.data thread may be reading a pool at that
    time, and Python and TensorFlow would wait for each other.

    Args:
        pools: yields the pools; the next pool is read while one is in use, so two of them are in memory.
        gather: maps a pool and (n,) int64 numbers of windows of the stream to the windows.
        length: number of rows of a window.
        batch: number of windows of a batch.
    """
    # Blocks of whole batches, because then a batch is a slice of a block, without a copy.
    block = batch * max(1, BLOCK_BYTES // (batch * length * ROW_BYTES))

    def stream_pool(pool: Pool) -> tf.data.Dataset:
        def gather_block(start: tf.Tensor) -> Window:
            return gather(pool, tf.range(start, tf.minimum(start + block, pool.stop)))

        # In parallel to the consumer of the previous block, but never two blocks at once, which would take more memory.
        return tf.data.Dataset.range(pool.start, pool.stop, block).map(gather_block, num_parallel_calls=1)

    blocks = tf.data.Dataset.from_generator(pools, output_signature=_POOL_SPEC).prefetch(1).flat_map(stream_pool)
    return blocks.rebatch(batch).prefetch(_PREFETCHED_BATCHES)


def gather_windows(pool: Pool, index: tf.Tensor, length: int, stride: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The (n, length, 22) packed rows and (n, length) tempo_us of the (n,) windows of a pool."""

    def copy_windows(packed: np.ndarray, tempo_us: np.ndarray, first_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # NumPy copies a window at once; tf.gather copies row by row, at a fifth of the speed.
        rows = sliding_window_view(packed.reshape(-1), length * PACKED_BYTES)[::PACKED_BYTES]
        return rows[first_row].reshape(-1, length, PACKED_BYTES), sliding_window_view(tempo_us, length)[first_row]

    first_row = index * stride + tf.gather(pool.row_offset, _piece_of(pool, index))
    inputs = [pool.packed, pool.tempo_us, first_row]
    packed, tempo_us = tf.numpy_function(copy_windows, inputs, [tf.uint8, tf.int32], stateful=False)
    return tf.ensure_shape(packed, (None, length, PACKED_BYTES)), tf.ensure_shape(tempo_us, (None, length))


def transpose_windows(packed: tf.Tensor, random: tf.Tensor, max_semitones: int) -> tf.Tensor:
    """`transposition.transpose` inside tf.data."""
    transposed = tf.numpy_function(
        lambda packed, random: transpose(packed, random, max_semitones), [packed, random], tf.uint8, stateful=False
    )
    return tf.ensure_shape(transposed, packed.shape)


def split_index(pool: Pool, index: tf.Tensor) -> tf.Tensor:
    """(n,) int64 numbers of windows in the split, which do not depend on the pool that contains them."""
    return index + tf.gather(pool.split_offset, _piece_of(pool, index))


def _piece_of(pool: Pool, index: tf.Tensor) -> tf.Tensor:
    return tf.searchsorted(pool.window_ends, index, side="right")


def _allocate(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).reshape(shape)
