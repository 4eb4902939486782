"""A pool: the rows of some pieces in memory. tf.data gathers windows from one pool while the next one is read."""

import ctypes
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pianogen.data.context import PITCH_CLASSES
from pianogen.data.gather import Places, Rows, gather_windows
from pianogen.data.matches import Matches
from pianogen.data.transposition import KeyRanges
from pianogen.roll import NUM_KEYS, PACKED_BYTES
from pianogen.window import PROFILE_DECAYS, Context, Window

BLOCK_BYTES = 1 << 23  # of windows that are gathered at once; with half of it, NumPy uses no huge pages and takes twice as long
_PREFETCHED_BATCHES = 4
_ALIGNMENT = 64  # of memory that TensorFlow uses without copying it
# M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3), in bytes: the largest values that the C library chooses by itself.
_MALLOC_THRESHOLDS = {-1: 1 << 26, -3: 1 << 25}


class Pool(NamedTuple):
    """The windows of some pieces, numbered from 0 in the order of the pieces. NumPy arrays outside tf.data, tensors inside.

    Attributes:
        rows: the rows of the pieces.
        row_starts: (P,) int64 number of the first row of each piece.
        row_stops: (P,) int64 number of the row after each piece.
        window_ends: (P,) int64 number of windows of each piece and those before it.
        step_offset: (P,) int64: window i, if it belongs to the piece, predicts rows from step i * stride + step_offset on in
            phase 0.
        num_phases: (P,) int64 number of phases, see `Windows`.
        split_pieces: (P,) int64 number of each piece in the split.
        split_offset: (P,) int64: window i, if it belongs to the piece, is window i + split_offset of the split.
        epoch: () int64 epoch of the first window.
        number: () int64 number of the pool in its epoch.
        position: () int64 position of the first window in the order of all epochs.
        start: () int64 number of the first window of the stream that is gathered from this pool.
        stop: () int64 number of the first window of the stream after it.
    """

    rows: Rows
    row_starts: np.ndarray
    row_stops: np.ndarray
    window_ends: np.ndarray
    step_offset: np.ndarray
    num_phases: np.ndarray
    split_pieces: np.ndarray
    split_offset: np.ndarray
    epoch: int
    number: int
    position: int
    start: int
    stop: int


_Gather = Callable[[Pool, tf.Tensor], Window]
_INT64 = tf.TensorSpec((), tf.int64)
_INT64S = tf.TensorSpec((None,), tf.int64)
_UINT8S = tf.TensorSpec((None,), tf.uint8)
_INT32S = tf.TensorSpec((None,), tf.int32)
_POOL_SPEC = Pool(
    rows=Rows(
        tf.TensorSpec((None, PACKED_BYTES), tf.uint8), _INT32S, _UINT8S, Matches(_INT32S, _INT32S), KeyRanges(_UINT8S, _UINT8S)
    ),
    row_starts=_INT64S,
    row_stops=_INT64S,
    window_ends=_INT64S,
    step_offset=_INT64S,
    num_phases=_INT64S,
    split_pieces=_INT64S,
    split_offset=_INT64S,
    epoch=_INT64,
    number=_INT64,
    position=_INT64,
    start=_INT64,
    stop=_INT64,
)


def allocate_rows(num_rows: int, has_matches: bool, has_ranges: bool) -> Rows:
    """Uninitialized rows, in memory that TensorFlow uses without copying it."""
    num_matches, num_ranges = (num_rows if has_matches else 0), (num_rows if has_ranges else 0)
    return Rows(
        packed=_allocate((num_rows, PACKED_BYTES), np.uint8),
        tempo_us=_allocate((num_rows,), np.int32),
        bar_position=_allocate((num_rows,), np.uint8),
        matches=Matches(*(_allocate((num_matches,), np.int32) for _ in Matches._fields)),
        ranges=KeyRanges(*(_allocate((num_ranges,), np.uint8) for _ in KeyRanges._fields)),
    )


def stream_windows(pools: Callable[[], Iterator[Pool]], gather: _Gather, spec: Window, batch: int) -> tf.data.Dataset:
    """Batches of the windows of one pool after another; only the last batch may be smaller.

    An iterator over the dataset must be deleted before the interpreter exits: a tf.data thread may be reading a pool at that
    time, and Python and TensorFlow would wait for each other.

    Args:
        pools: yields the pools; the next pool is read while one is in use, so two of them are in memory.
        gather: maps a pool and (n,) int64 numbers of windows of the stream to the windows.
        spec: the specifications of windows, see `window_spec`.
        batch: number of windows of a batch.
    """
    window_bytes = sum(math.prod(part.shape[1:]) * part.dtype.size for part in tf.nest.flatten(spec))
    # Blocks of whole batches, because then a batch is a slice of a block, without a copy.
    block = batch * max(1, BLOCK_BYTES // (batch * window_bytes))

    def stream_pool(pool: Pool) -> tf.data.Dataset:
        def gather_block(start: tf.Tensor) -> Window:
            return gather(pool, tf.range(start, tf.minimum(start + block, pool.stop)))

        # In parallel to the consumer of the previous block, but never two blocks at once, which would take more memory.
        return tf.data.Dataset.range(pool.start, pool.stop, block).map(gather_block, num_parallel_calls=1)

    def read_pools() -> Iterator[Pool]:
        _reuse_freed_memory()  # here, because the dataset that runs this generator has just prevented it
        yield from pools()

    blocks = tf.data.Dataset.from_generator(read_pools, output_signature=_POOL_SPEC).prefetch(1).flat_map(stream_pool)
    # There is nothing to tune. The thread that tunes can miss the end of its iterator, whose deletion then takes up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    return blocks.rebatch(batch).prefetch(_PREFETCHED_BATCHES).with_options(options)


def window_spec(length: int, has_context: bool) -> Window:
    """The tensor specifications of a number of windows."""

    def per_window(dtype: tf.DType, *shape: int) -> tf.TensorSpec:
        return tf.TensorSpec((None, *shape), dtype)

    context = Context(
        step=per_window(tf.int32),
        bars=per_window(tf.int32),
        semitones=per_window(tf.int32),
        match=per_window(tf.uint8, length - 1, PACKED_BYTES),
        match_steps=per_window(tf.int32, length - 1),
        match_distance=per_window(tf.int32, length - 1),
        since_onset=per_window(tf.uint8, NUM_KEYS),
        duration=per_window(tf.uint8, NUM_KEYS),
        profile=per_window(tf.float32, len(PROFILE_DECAYS), PITCH_CLASSES),
    )
    packed, tempo_us = per_window(tf.uint8, length, PACKED_BYTES), per_window(tf.int32, length)
    return Window(packed, tempo_us, per_window(tf.uint8, length), context if has_context else ())


def piece_of(pool: Pool, index: tf.Tensor) -> tf.Tensor:
    """(n,) int64 pieces of the pool that windows belong to."""
    return tf.searchsorted(pool.window_ends, index, side="right")


def places_of(pool: Pool, piece: tf.Tensor, step: tf.Tensor, random: tf.Tensor) -> Places:
    """The places of windows that predict rows from a step of a piece on."""
    return Places(tf.gather(pool.row_starts, piece), tf.gather(pool.row_stops, piece), tf.cast(step, tf.int32), random)


def gather_tensors(rows: Rows, places: Places, max_semitones: int, spec: Window) -> Window:
    """`gather_windows` inside tf.data.

    Args:
        spec: the specifications of the windows, see `window_spec`.
    """
    inputs, specs = (rows, places), tf.nest.flatten(spec)

    def gather(*arrays: np.ndarray) -> list[np.ndarray]:
        rows, places = tf.nest.pack_sequence_as(inputs, arrays)
        return list(tf.nest.flatten(gather_windows(rows, places, spec.tempo_us.shape[1], max_semitones)))

    tensors = tf.numpy_function(gather, tf.nest.flatten(inputs), [part.dtype for part in specs], stateful=False)
    shaped = [tf.ensure_shape(tensor, part.shape) for tensor, part in zip(tensors, specs, strict=True)]
    windows: Window = tf.nest.pack_sequence_as(spec, shaped)
    return windows


def _reuse_freed_memory() -> None:
    """Makes the C library keep freed memory for the next allocation.

    The first generator dataset of a process sets M_MMAP_THRESHOLD to 128 kB (ApplyPython311MemoryPatch in TensorFlow 2.21). From
    then on, every larger tensor is new memory of the kernel, whose page faults take up to half of the time of a training.
    """
    for parameter, num_bytes in _MALLOC_THRESHOLDS.items():
        ctypes.CDLL(None).mallopt(parameter, num_bytes)


def _allocate(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).reshape(shape)
