"""Windows of pieces, in an endless order that is a function of the seed and the sizes alone, streamed in bounded memory.

An epoch has every window of the split once. Its pieces, in an order of the epoch's own, are packed into pools that fit into half
of `memory_mb`, as one pool is used while the next one is read; within its pool a window's place is drawn uniformly. A corpus
that fits as a whole is one pool, read once. So position p of the order follows from p by arithmetic, batch b is positions
b·B to b·B + B - 1, and a stream resumes from its next batch number. Rows stay packed, 22 bytes a step and a tempo, until a
layer of the model unpacks them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.pool import ROW_BYTES, Pool, empty_roll, gathered, moved, number_in_split, streamed
from pianogen.data.shuffle import permuted, pools_of_epoch, runs
from pianogen.errors import PianogenError
from pianogen.roll import Roll
from pianogen.store import Split, Store

_BLOCK_ROWS = 1 << 19  # 14 MB: read at a time where the order is that of the store
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
        roll = empty_roll(int(self.steps[chosen].sum()))
        self.store.read_pieces(self.pieces[chosen], roll)
        return roll


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

    length = windows.window_steps + 1

    def pools() -> Iterator[Pool]:
        return _training_pools(windows, limit, share, seed, first_batch * batch)

    def gather(pool: Pool, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, pool_number, first = tf.unstack(pool.place)
        position, count = share.position(number) - first, pool.ends[-1]
        epoch += position // count
        index = permuted(position % count, count, seed, epoch, pool_number)
        packed, tempo_us = gathered(pool, index, length, windows.stride)
        if windows.transpose:
            draws = permuted(number_in_split(pool, index), 1 << 32, seed, epoch, _TRANSPOSITION)
            packed = moved(packed, draws, windows.transpose)
        return packed, tempo_us

    return streamed(pools, gather, length, part)


def evaluation_batches(windows: Windows, batch: int) -> tf.data.Dataset:
    """Every window once, in order, unmoved; the last batch may be smaller.

    Returns:
        (packed, tempo_us): (B, W + 1, 22) uint8 and (B, W + 1) int32.
    """

    length = windows.window_steps + 1

    def pools() -> Iterator[Pool]:
        for run in runs(windows.steps, _BLOCK_ROWS):
            chosen = np.arange(run.start, run.stop)
            yield _read_pool(windows, chosen, span=(0, int(windows.num_windows[chosen].sum())))

    def gather(pool: Pool, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return gathered(pool, number, length, windows.stride)

    return streamed(pools, gather, length, batch)


def _pool_rows(windows: Windows) -> int:
    """The most rows of a pool: all there are, or else what fits twice into memory."""
    steps = windows.steps[windows.num_windows > 0]
    if len(steps) == 0:
        raise WindowError(
            f"no piece of the train split has the {windows.window_steps + 1} steps of a window; "
            "choose a smaller data.window_steps or a larger corpus"
        )
    rows, fitting = int(steps.sum()), int(windows.memory_mb * 1e6) // ROW_BYTES
    if rows <= fitting:
        return rows
    longest = int(steps.max())
    if longest > fitting // 2:
        raise WindowError(
            f"data.memory_mb {windows.memory_mb} holds {fitting:,} steps, and the longest piece has {longest:,}, held twice; "
            f"choose {-(-2 * longest * ROW_BYTES // 1_000_000)} or more"
        )
    return fitting // 2


def _training_pools(windows: Windows, limit: int, share: _Share, seed: int, start: int) -> Iterator[Pool]:
    """The pools of one epoch after another, from the one with position `start` on."""
    usable = np.flatnonzero(windows.num_windows)
    position = start - start % len(windows)
    for epoch in itertools.count(start // len(windows)):
        for number, among in enumerate(pools_of_epoch(windows.steps[usable], limit, seed, epoch)):
            chosen = usable[among]
            place = (epoch, number, position)
            begin = share.number(max(start, position))
            if len(chosen) == len(usable):
                # The only pool is never left: it has the windows of all epochs to come.
                yield _read_pool(windows, chosen, (begin, _ENDLESS), place)
                return
            position += int(windows.num_windows[chosen].sum())
            if begin < share.number(position):
                yield _read_pool(windows, chosen, (begin, share.number(position)), place)


def _read_pool(windows: Windows, chosen: np.ndarray, span: tuple[int, int], place: tuple[int, int, int] = (0, 0, 0)) -> Pool:
    roll = windows.read(chosen)
    steps, num_windows = windows.steps[chosen], windows.num_windows[chosen]
    ends = np.cumsum(num_windows)
    first = ends - num_windows
    return Pool(
        packed=roll.packed,
        tempo_us=roll.tempo_us.view(np.int32),
        ends=ends,
        row_offset=np.cumsum(steps) - steps - first * windows.stride,
        split_offset=(np.cumsum(windows.num_windows) - windows.num_windows)[chosen] - first,
        place=np.array(place),
        span=np.array(span),
    )
