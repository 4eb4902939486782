"""Windows of pieces, in an endless order that is a function of the seed and the sizes alone, streamed in bounded memory.

An epoch has every window of the split once. Its pieces, in an order of the epoch's own, are packed into pools that fit into half
of `memory_mb`, as one pool is used while the next one is read; within its pool a window's place is drawn uniformly. A corpus
that fits as a whole is one pool, read once. So position p of the order follows from p by arithmetic, batch b is positions
b·B to b·B + B - 1, and a stream resumes from its next batch number. Rows stay packed, 22 bytes a step and a tempo, until a
layer of the model unpacks them.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.errors import PianogenError
from pianogen.order import permuted, pools_of_epoch, runs
from pianogen.roll import PACKED_BYTES, Roll
from pianogen.store import Split, Store
from pianogen.transposition import transposed

_ROW_BYTES = PACKED_BYTES + 4
_BLOCK_ROWS = 1 << 19  # 14 MB: read at a time where the order is that of the store
_GATHERED_BYTES = 1 << 22  # gathered at a time: thousands of windows, and little beside the pools
_GATHERING_AT_A_TIME = 4
_ALIGNMENT = 64  # of the memory that TensorFlow takes over without a copy
_READY_BATCHES = 4
_ENDLESS = np.iinfo(np.int64).max
_TRANSPOSITION = (1 << 32) - 1  # takes the place of a pool's number where no order is drawn


class WindowError(PianogenError):
    """A store has no windows to train on, or they do not fit into memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of some pieces of a store.

    Attributes:
        store: open, and open as long as they are used.
        pieces: (P,) int64, ascending indices of the store's pieces.
        steps: (P,) int64, of each.
        num_windows: (P,) int64, how many windows each has; none if it is shorter than one.
        window_steps: rows of input of a window; the row after them is part of it too.
        stride: rows from one window to the next.
        transpose: semitones by which a window may be moved in training.
        memory_mb: rows in memory at a time.
    """

    store: Store
    pieces: np.ndarray
    steps: np.ndarray
    num_windows: np.ndarray
    window_steps: int
    stride: int
    transpose: int
    memory_mb: float

    def __len__(self) -> int:
        return int(self.num_windows.sum())

    def blocks(self) -> Iterator[tuple[Roll, np.ndarray]]:
        """All pieces in the order of the store, some of them joined at a time: their rows, and (p,) int64 where each begins.

        Raises:
            StoreError: a checksum fails.
        """
        for run in runs(self.steps, _BLOCK_ROWS):
            steps = self.steps[run]
            yield self.read(np.arange(run.start, run.stop)), np.cumsum(steps) - steps

    def read(self, chosen: np.ndarray) -> Roll:
        """The rows of some of the pieces, end to end; `chosen` is ascending, of 0..P - 1."""
        rows = int(self.steps[chosen].sum())
        roll = Roll(_aligned((rows, PACKED_BYTES), np.uint8), _aligned((rows,), np.uint32))
        self.store.read_pieces(self.pieces[chosen], roll)
        return roll


class _Pool(NamedTuple):
    """Rows in memory, and which numbers of a stream are gathered from them; arrays here, tensors in tf.data."""

    packed: np.ndarray  # (R, 22) uint8
    tempo_us: np.ndarray  # (R,) int32
    first_row: np.ndarray  # (p,) int64, where each piece begins
    first_window: np.ndarray  # (p,) int64, the number of its first window within the split
    ends: np.ndarray  # (p,) int64, the windows of the pieces up to and with it
    number: int  # within its epoch
    epoch: int
    position: int  # at which the pool begins in the order of all windows
    begin: int  # numbers begin..end of the stream
    end: int


@dataclass(frozen=True, slots=True)
class _Share:
    """The windows of every global batch that are gathered here, and how a stream of them alone numbers them.

    Attributes:
        batch: windows of a global batch.
        before: how many of it come before the ones here.
        here: how many are here.
    """

    batch: int
    before: int
    here: int

    def number(self, position: int) -> int:
        """How many windows of the stream come before a position of the order."""
        return position // self.batch * self.here + min(max(position % self.batch - self.before, 0), self.here)

    def position(self, number: tf.Tensor) -> tf.Tensor:
        """Where the windows with these numbers are in the order."""
        return number // self.here * self.batch + self.before + number % self.here


_Gather = Callable[[_Pool, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
_NUMBER = tf.TensorSpec((), tf.int64)
_NUMBERS = tf.TensorSpec((None,), tf.int64)
_POOL_SPEC = _Pool(
    packed=tf.TensorSpec((None, PACKED_BYTES), tf.uint8),
    tempo_us=tf.TensorSpec((None,), tf.int32),
    first_row=_NUMBERS,
    first_window=_NUMBERS,
    ends=_NUMBERS,
    number=_NUMBER,
    epoch=_NUMBER,
    position=_NUMBER,
    begin=_NUMBER,
    end=_NUMBER,
)


def find_windows(store: Store, split: Split, config: DataConfig) -> Windows:
    """The windows of one split, of the configured groups; no row is read.

    Raises:
        WindowError: a group does not exist.
    """
    pieces = store.pieces
    unknown = sorted(set(config.groups) - set(pieces.group))
    if unknown:
        raise WindowError(f"{store.path} has no group {unknown[0]!r}; there are: {', '.join(sorted(set(pieces.group)))}")
    is_chosen = pieces.split == split
    if config.groups:
        is_chosen &= np.isin(pieces.group, config.groups)
    chosen = np.flatnonzero(is_chosen)
    steps = pieces.steps[chosen].astype(np.int64)
    return Windows(
        store=store,
        pieces=chosen,
        steps=steps,
        num_windows=np.maximum(0, (steps - config.window_steps - 1) // config.stride + 1),
        window_steps=config.window_steps,
        stride=config.stride,
        transpose=config.transpose,
        memory_mb=config.memory_mb,
    )


def training_batches(
    windows: Windows, batch: int, seed: int, first_batch: int = 0, num_parts: int = 1, parts: range = range(1)
) -> tf.data.Dataset:
    """The endless shuffled stream of some parts of every global batch, from batch number `first_batch` on.

    Args:
        batch: windows of a global batch, a multiple of `num_parts`.
        num_parts: how many consecutive parts, of n windows each, a global batch is cut into: one a replica, of all processes.
        parts: consecutive ones that are wanted here, by turns.

    Returns:
        (packed, tempo_us): (n, W + 1, 22) uint8 and (n, W + 1) int32.

    Raises:
        WindowError: there is no window, or `memory_mb` does not hold the longest piece twice.
    """
    limit = _pool_rows(windows)
    part = batch // num_parts
    share = _Share(batch, part * parts.start, part * len(parts))

    def pools() -> Iterator[_Pool]:
        return _training_pools(windows, limit, share, seed, first_batch * batch)

    def gather(pool: _Pool, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        position, count = share.position(number) - pool.position, pool.ends[-1]
        epoch = pool.epoch + position // count
        packed, tempo_us, window = _rows_of(windows, pool, permuted(position % count, count, seed, epoch, pool.number))
        if windows.transpose:
            draws = permuted(window, 1 << 32, seed, epoch, _TRANSPOSITION)
            moved = tf.numpy_function(transposed, [packed, draws, windows.transpose], tf.uint8)
            packed = tf.ensure_shape(moved, packed.shape)
        return packed, tempo_us

    return _stream(windows, pools, gather).rebatch(part).prefetch(_READY_BATCHES)


def evaluation_batches(windows: Windows, batch: int) -> tf.data.Dataset:
    """Every window once, in order, unmoved; the last batch may be smaller.

    Returns:
        (packed, tempo_us): (B, W + 1, 22) uint8 and (B, W + 1) int32.
    """

    def pools() -> Iterator[_Pool]:
        for run in runs(windows.steps, _BLOCK_ROWS):
            chosen = np.arange(run.start, run.stop)
            yield _read_pool(windows, chosen, (0, int(windows.num_windows[chosen].sum())))

    def gather(pool: _Pool, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _rows_of(windows, pool, number)[:2]

    return _stream(windows, pools, gather).rebatch(batch).prefetch(_READY_BATCHES)


def _pool_rows(windows: Windows) -> int:
    """The most rows of a pool: all there are, or else what fits twice into memory."""
    steps = windows.steps[windows.num_windows > 0]
    if len(steps) == 0:
        raise WindowError(
            f"no piece of the train split has the {windows.window_steps + 1} steps of a window; "
            "choose a smaller data.window_steps or a larger corpus"
        )
    rows, fitting = int(steps.sum()), int(windows.memory_mb * 1e6) // _ROW_BYTES
    if rows <= fitting:
        return rows
    longest = int(steps.max())
    if longest > fitting // 2:
        raise WindowError(
            f"data.memory_mb {windows.memory_mb} holds {fitting:,} steps, and the longest piece has {longest:,}, held twice; "
            f"choose {-(-2 * longest * _ROW_BYTES // 1_000_000)} or more"
        )
    return fitting // 2


def _training_pools(windows: Windows, limit: int, share: _Share, seed: int, start: int) -> Iterator[_Pool]:
    """The pools of one epoch after another, from the one with position `start` on."""
    usable = np.flatnonzero(windows.num_windows)
    position = start - start % len(windows)
    for epoch in itertools.count(start // len(windows)):
        for number, among in enumerate(pools_of_epoch(windows.steps[usable], limit, seed, epoch)):
            chosen = usable[among]
            end = position + int(windows.num_windows[chosen].sum())
            numbers = share.number(max(start, position)), share.number(end)
            if len(chosen) == len(usable):
                # The only pool is never left: it has the windows of all epochs to come.
                yield _read_pool(windows, chosen, (numbers[0], _ENDLESS), number, epoch, position)
                return
            if numbers[0] < numbers[1]:
                yield _read_pool(windows, chosen, numbers, number, epoch, position)
            position = end


def _read_pool(
    windows: Windows, chosen: np.ndarray, numbers: tuple[int, int], number: int = 0, epoch: int = 0, position: int = 0
) -> _Pool:
    roll = windows.read(chosen)
    steps, num_windows = windows.steps[chosen], windows.num_windows[chosen]
    return _Pool(
        packed=roll.packed,
        tempo_us=roll.tempo_us.view(np.int32),
        first_row=np.cumsum(steps) - steps,
        first_window=(np.cumsum(windows.num_windows) - windows.num_windows)[chosen],
        ends=np.cumsum(num_windows),
        number=number,
        epoch=epoch,
        position=position,
        begin=numbers[0],
        end=numbers[1],
    )


def _stream(windows: Windows, pools: Callable[[], Iterator[_Pool]], gather: _Gather) -> tf.data.Dataset:
    """What is gathered from one pool after another, in blocks of many windows; the next pool is read meanwhile."""
    block = max(1, _GATHERED_BYTES // ((windows.window_steps + 1) * _ROW_BYTES))

    def blocks_of(pool: _Pool) -> tf.data.Dataset:
        def gather_from(begin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return gather(pool, tf.range(begin, tf.minimum(begin + block, pool.end)))

        begins = tf.data.Dataset.range(pool.begin, pool.end, block)
        return begins.map(gather_from, num_parallel_calls=_GATHERING_AT_A_TIME)

    pooled = tf.data.Dataset.from_generator(pools, output_signature=_POOL_SPEC)
    return pooled.prefetch(1).flat_map(blocks_of)


def _rows_of(windows: Windows, pool: _Pool, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The packed rows and tempos of windows of a pool, and their numbers within the split."""
    piece = tf.searchsorted(pool.ends, index, side="right", out_type=tf.int64)
    within = index - tf.gather(tf.concat([[0], pool.ends], axis=0), piece)
    first = tf.gather(pool.first_row, piece) + within * windows.stride
    rows = first[:, tf.newaxis] + tf.range(windows.window_steps + 1, dtype=tf.int64)
    return tf.gather(pool.packed, rows), tf.gather(pool.tempo_us, rows), tf.gather(pool.first_window, piece) + within


def _aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """An array that TensorFlow takes over without a copy."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).reshape(shape)
