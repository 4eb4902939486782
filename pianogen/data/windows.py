"""Windows of pieces in an endless shuffled order, streamed in bounded memory.

The order is a function of the seed and the sizes alone. In each epoch, every window of the split occurs once. The pieces of an
epoch are shuffled and divided into pools; a pool takes half of `memory_mb`, because one pool is in use while the next one is
read. The windows of a pool are shuffled uniformly. A corpus that fits into memory is one pool, which is read once.

The window at any position of the order follows by arithmetic: batch b consists of positions b * B to (b + 1) * B - 1, so a
stream resumes from the number of its next batch. Rows stay packed, 22 bytes and a tempo per step, until a layer of the model
unpacks them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.pool import ROW_BYTES, Pool, allocate_roll, gather_windows, split_index, stream_windows, transpose_windows
from pianogen.data.shuffle import consecutive_pieces, permute, pools_of_epoch
from pianogen.errors import PianogenError
from pianogen.roll import Roll
from pianogen.store import Split, Store
from pianogen.window import Window

BLOCK_ROWS = 1 << 19  # 14 MB, read at once where the order is that of the store
_ENDLESS = np.iinfo(np.int64).max
_TRANSPOSITION = (1 << 32) - 1  # random substream of the transpositions; smaller numbers are those of pools


class WindowError(PianogenError):
    """A store has no windows to train on, or they do not fit into memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of some pieces of a store.

    Attributes:
        store: an open store; it must stay open while the windows are in use.
        pieces: (P,) int64 ascending indices of pieces in the store.
        steps: (P,) int64 number of rows of each piece.
        num_windows: (P,) int64 number of windows of each piece; 0 for a piece that is shorter than a window.
        window_steps: number of input rows of a window; a window also contains the row that follows them.
        stride: number of rows between the starts of consecutive windows.
        transpose: largest transposition of a training window in semitones.
        memory_mb: limit for rows in memory.
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

    @property
    def length(self) -> int:
        """Number of rows of a window, including the row that is predicted."""
        return self.window_steps + 1

    def blocks(self) -> Iterator[tuple[Roll, np.ndarray]]:
        """All pieces in the order of the store, in blocks: the rows of some pieces, and (p,) int64 first rows of the pieces.

        Raises:
            StoreError: a checksum fails.
        """
        for pieces in consecutive_pieces(self.steps, BLOCK_ROWS):
            steps = self.steps[pieces]
            yield self.read_pieces(np.arange(pieces.start, pieces.stop)), np.cumsum(steps) - steps

    def read_pieces(self, indices: np.ndarray) -> Roll:
        """Reads the rows of some pieces, end to end; `indices` are ascending, in 0..P - 1."""
        roll = allocate_roll(int(self.steps[indices].sum()))
        self.store.read_pieces(self.pieces[indices], roll)
        return roll


@dataclass(frozen=True, slots=True)
class _LocalPart:
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


def find_windows(store: Store, split: Split, config: DataConfig, every_row: bool = False, context: bool = False) -> Windows:
    """The windows of the configured groups in a split; reads no rows.

    Args:
        every_row: whether every row of a window but its first one is predicted, or only the last one. If every row is, windows
            start one row earlier: the row before the first row of a piece is silence at 120 bpm.
        context: whether the windows of streams have a context.

    Raises:
        WindowError: a group does not exist.
    """
    pieces = store.pieces
    unknown = sorted(set(config.groups) - set(pieces.group))
    if unknown:
        raise WindowError(
            f"data.groups: {store.path} has no group {unknown[0]!r}; its groups are {', '.join(sorted(set(pieces.group)))}"
        )
    is_chosen = pieces.split == split
    if config.groups:
        is_chosen &= np.isin(pieces.group, config.groups)
    indices = np.flatnonzero(is_chosen)
    steps = pieces.steps[indices].astype(np.int64)
    return Windows(
        store=store,
        pieces=indices,
        steps=steps,
        num_windows=np.maximum(0, (steps - config.window_steps - 1) // (config.stride or 1) + 1),
        window_steps=config.window_steps,
        stride=config.stride or 1,
        transpose=config.transpose,
        memory_mb=config.memory_mb,
    )


def training_batches(
    windows: Windows, batch: int, seed: int, first_batch: int = 0, num_parts: int = 1, parts: range = range(1)
) -> tf.data.Dataset:
    """The endless shuffled stream of windows, from batch number `first_batch` on.

    With several replicas, every global batch is divided into parts, and a process streams only the parts of its replicas.

    Args:
        batch: number of windows of a global batch, a multiple of `num_parts`.
        num_parts: number of parts of a global batch: one for each replica of all processes.
        parts: consecutive parts that this process streams in turn.

    Returns:
        `Window` of one part, n = batch / num_parts windows.

    Raises:
        WindowError: there is no window, or two copies of the longest piece exceed `memory_mb`.
    """
    max_rows = _max_pool_rows(windows)
    part_size = batch // num_parts
    local = _LocalPart(batch, part_size * parts.start, part_size * len(parts))

    def pools() -> Iterator[Pool]:
        return _training_pools(windows, max_rows, local, seed, first_batch * batch)

    def gather(pool: Pool, number: tf.Tensor) -> Window:
        position, count = local.position(number) - pool.position, pool.window_ends[-1]
        epoch = pool.epoch + position // count
        index = permute(position % count, count, seed, epoch, pool.number)
        packed, tempo_us = gather_windows(pool, index, windows.length, windows.stride)
        if windows.transpose:
            random = permute(split_index(pool, index), 1 << 32, seed, epoch, _TRANSPOSITION)
            packed = transpose_windows(packed, random, windows.transpose)
        return Window(packed, tempo_us)

    return stream_windows(pools, gather, windows.length, part_size)


def evaluation_batches(windows: Windows, batch: int) -> tf.data.Dataset:
    """Every window once, in order and not transposed; the last batch may be smaller.

    Returns:
        `Window` of a batch.
    """

    def pools() -> Iterator[Pool]:
        for pieces in consecutive_pieces(windows.steps, BLOCK_ROWS):
            pool = _read_pool(windows, np.arange(pieces.start, pieces.stop))
            yield pool._replace(stop=int(windows.num_windows[pieces].sum()))

    def gather(pool: Pool, number: tf.Tensor) -> Window:
        return Window(*gather_windows(pool, number, windows.length, windows.stride))

    return stream_windows(pools, gather, windows.length, batch)


def _max_pool_rows(windows: Windows) -> int:
    """The largest number of rows of a pool: all rows if they fit into memory, or else as many as fit twice."""
    steps = windows.steps[windows.num_windows > 0]
    if len(steps) == 0:
        raise WindowError(
            f"{windows.store.path}: no piece of the train split has the {windows.length} steps of a window; "
            "choose a smaller data.window_steps, other data.groups or a larger corpus"
        )
    num_rows, num_fitting = int(steps.sum()), int(windows.memory_mb * 1e6) // ROW_BYTES
    if num_rows <= num_fitting:
        return num_rows
    longest = int(steps.max())
    if longest > num_fitting // 2:
        raise WindowError(
            f"data.memory_mb {windows.memory_mb} is room for {num_fitting:,} steps, and two copies of the longest piece have "
            f"{2 * longest:,}; set data.memory_mb to {-(-2 * longest * ROW_BYTES // 1_000_000)} or more"
        )
    return num_fitting // 2


def _training_pools(windows: Windows, max_rows: int, local: _LocalPart, seed: int, first_position: int) -> Iterator[Pool]:
    """The pools of one epoch after another, from the pool that contains `first_position` on."""
    usable = np.flatnonzero(windows.num_windows)
    position = first_position - first_position % len(windows)
    for epoch in itertools.count(first_position // len(windows)):
        for number, pieces in enumerate(pools_of_epoch(windows.steps[usable], max_rows, seed, epoch)):
            indices = usable[pieces]
            next_position = position + int(windows.num_windows[indices].sum())
            is_only_pool = len(indices) == len(usable)  # it serves all epochs to come
            start = local.number(max(first_position, position))
            stop = _ENDLESS if is_only_pool else local.number(next_position)
            if start < stop:
                pool = _read_pool(windows, indices)
                yield pool._replace(epoch=epoch, number=number, position=position, start=start, stop=stop)
            if is_only_pool:
                return
            position = next_position


def _read_pool(windows: Windows, indices: np.ndarray) -> Pool:
    """A pool of some pieces; its place in the order and in the stream is 0."""
    roll = windows.read_pieces(indices)
    steps, num_windows = windows.steps[indices], windows.num_windows[indices]
    window_ends = np.cumsum(num_windows)
    first_window = window_ends - num_windows
    return Pool(
        packed=roll.packed,
        tempo_us=roll.tempo_us.view(np.int32),
        window_ends=window_ends,
        row_offset=np.cumsum(steps) - steps - first_window * windows.stride,
        split_offset=(np.cumsum(windows.num_windows) - windows.num_windows)[indices] - first_window,
        epoch=0,
        number=0,
        position=0,
        start=0,
        stop=0,
    )
