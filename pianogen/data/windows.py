"""Windows of pieces in an endless shuffled order, streamed in bounded memory.

The order is a function of the seed and the sizes alone. In each epoch, every window of the split occurs once. The pieces of an
epoch are shuffled and divided into pools; a pool takes half of `memory_mb`, because one pool is in use while the next one is
read. The windows of a pool are shuffled uniformly. A corpus that fits into memory is one pool, which is read once.

The window at any position of the order follows by arithmetic: batch b consists of positions b * B to (b + 1) * B - 1, so a
stream resumes from the number of its next batch. Rows stay packed, 22 bytes, a tempo and a bar position per step, until a layer
of the model unpacks them.

For example, two pieces of 100 and 70 steps have six windows of 64 steps and the step that follows, with a stride of 8: windows 0
to 4 of the split start at the steps 0, 8, 16, 24 and 32 of the first piece, and window 5 starts with the second piece. With
batches of 4, batch 1 consists of the positions 4 to 7: the last two windows of epoch 0, and the first two of epoch 1.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.gather import Rows
from pianogen.data.matches import Matches, find_matches
from pianogen.data.pool import Pool, allocate_rows, gather_tensors, piece_of, places_of, stream_windows, window_spec
from pianogen.data.shuffle import LocalPart, consecutive_pieces, permute, pools_of_epoch
from pianogen.data.train_split import WindowError, check_groups, check_length
from pianogen.data.transposition import find_key_ranges
from pianogen.roll import ROW_BYTES, Roll
from pianogen.store import Split, Store
from pianogen.window import Window

BLOCK_ROWS = 1 << 19  # 14 MB, read at once where the order is that of the store
_ENDLESS = np.iinfo(np.int64).max
# Random substreams of the transpositions and the phases; smaller numbers are those of pools.
_TRANSPOSITION, _PHASE = (1 << 32) - 1, (1 << 32) - 2
_MATCH_BYTES, _RANGE_BYTES = 8, 2


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of some pieces of a store.

    Attributes:
        store: an open store; it must stay open while the windows are in use.
        pieces: (P,) int64 ascending indices of pieces in the store.
        steps: (P,) int64 number of rows of each piece.
        num_windows: (P,) int64 number of windows of each piece; 0 for a piece that is shorter than a window.
        num_phases: (P,) int64: in each epoch of training, all windows of a piece start later by the same random number of steps,
            the phase, which is less than num_phases.
        window_steps: number of input rows of a window; a window also contains the row that follows them.
        every_row: whether every row of a window but the first is predicted. The window of step 0 then starts with the row before
            the piece.
        context: whether windows have a context.
        stride: number of rows between the starts of consecutive windows.
        transpose: largest transposition of a training window in semitones.
        memory_mb: limit for rows in memory.
    """

    store: Store
    pieces: np.ndarray
    steps: np.ndarray
    num_windows: np.ndarray
    num_phases: np.ndarray
    window_steps: int
    every_row: bool
    context: bool
    stride: int
    transpose: int
    memory_mb: float

    def __len__(self) -> int:
        return int(self.num_windows.sum())

    @property
    def length(self) -> int:
        """Number of rows of a window, including the last row that is predicted."""
        return self.window_steps + 1

    @property
    def min_steps(self) -> int:
        """Number of rows of the shortest piece that has a window."""
        return self.window_steps if self.every_row else self.length

    @property
    def row_bytes(self) -> int:
        """Size of a row in memory."""
        return ROW_BYTES + (_MATCH_BYTES if self.context else 0) + (_RANGE_BYTES if self.transpose else 0)

    def blocks(self) -> Iterator[tuple[Roll, np.ndarray]]:
        """All pieces in the order of the store, in blocks: the rows of some pieces, and (p,) int64 first rows of the pieces.

        Raises:
            StoreError: a checksum fails.
        """
        rows_alone = replace(self, context=False, transpose=0)
        for pieces in consecutive_pieces(self.steps, BLOCK_ROWS):
            steps = self.steps[pieces]
            rows = rows_alone.read_rows(np.arange(pieces.start, pieces.stop))
            yield self._roll_of(rows), np.cumsum(steps) - steps

    def read_rows(self, indices: np.ndarray) -> Rows:
        """Reads the rows of some pieces, and finds their matches and their ranges of keys if windows need them.

        Args:
            indices: ascending, in 0..P - 1.

        Raises:
            StoreError: a checksum fails.
        """
        steps = self.steps[indices]
        rows = allocate_rows(int(steps.sum()), self.context, self.transpose > 0)
        self.store.read_pieces(self.pieces[indices], self._roll_of(rows))
        if self.context:
            for start, stop in itertools.pairwise([0, *np.cumsum(steps).tolist()]):
                find_matches(rows.packed[start:stop], Matches(*(column[start:stop] for column in rows.matches)))
        if self.transpose:
            find_key_ranges(rows.packed, rows.ranges)
        return rows

    def _roll_of(self, rows: Rows) -> Roll:
        """The same rows as a roll, in the same memory."""
        return Roll(
            *(rows.packed, rows.tempo_us.view(np.uint32), rows.bar_position),
            steps_per_quarter=self.store.steps_per_quarter,
        )


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
    check_groups(store, config.groups)
    indices = pieces.select(split, config.groups)
    steps = pieces.steps[indices].astype(np.int64)
    num_windows, num_phases, stride = _place_windows(steps, config.window_steps, config.stride, every_row)
    return Windows(
        store=store,
        pieces=indices,
        steps=steps,
        num_windows=num_windows,
        num_phases=num_phases,
        window_steps=config.window_steps,
        every_row=every_row,
        context=context,
        stride=stride,
        transpose=config.transpose,
        memory_mb=config.memory_mb,
    )


def _place_windows(
    steps: np.ndarray, window_steps: int, stride: int | None, every_row: bool
) -> tuple[np.ndarray, np.ndarray, int]:
    """The (P,) numbers of windows and of phases of pieces, and the stride; see `Windows`."""
    num_starts = np.maximum(0, steps - window_steps + every_row)  # number of steps at which a window can start
    if every_row and stride is None:
        # The windows of an epoch do not overlap, and leave room for the first one to start at any step up to window_steps - 1.
        num_windows = np.where(num_starts > 0, np.maximum(1, num_starts // window_steps), 0)
        return num_windows, np.maximum(1, steps - num_windows * window_steps + 1), window_steps
    stride = stride or 1
    return -(-num_starts // stride), np.ones_like(steps), stride


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
    local = LocalPart(batch, part_size * parts.start, part_size * len(parts))

    def pools() -> Iterator[Pool]:
        return _training_pools(windows, max_rows, local, seed, first_batch * batch)

    spec, has_phases = window_spec(windows.length, windows.context), bool((windows.num_phases > 1).any())

    def gather(pool: Pool, number: tf.Tensor) -> Window:
        position, count = local.position(number) - pool.position, pool.window_ends[-1]
        epoch = pool.epoch + position // count
        index = permute(position % count, count, seed, epoch, pool.number)
        piece = piece_of(pool, index)
        step, random = index * windows.stride + tf.gather(pool.step_offset, piece), tf.zeros_like(index)
        if has_phases:
            phase = permute(tf.gather(pool.split_pieces, piece), 1 << 32, seed, epoch, _PHASE)
            step += phase * tf.gather(pool.num_phases, piece) // (1 << 32)
        if windows.transpose:
            random = permute(index + tf.gather(pool.split_offset, piece), 1 << 32, seed, epoch, _TRANSPOSITION)
        return gather_tensors(pool.rows, places_of(pool, piece, step, random), windows.transpose, spec)

    return stream_windows(pools, gather, spec, part_size)


def evaluation_batches(windows: Windows, batch: int) -> tf.data.Dataset:
    """Every window once, in order and not transposed; the last batch may be smaller.

    Returns:
        `Window` of a batch.
    """

    def pools() -> Iterator[Pool]:
        for pieces in consecutive_pieces(windows.steps, BLOCK_ROWS):
            pool = _read_pool(windows, np.arange(pieces.start, pieces.stop))
            yield pool._replace(stop=int(windows.num_windows[pieces].sum()))

    spec = window_spec(windows.length, windows.context)

    def gather(pool: Pool, number: tf.Tensor) -> Window:
        piece = piece_of(pool, number)
        step = number * windows.stride + tf.gather(pool.step_offset, piece)
        return gather_tensors(pool.rows, places_of(pool, piece, step, tf.zeros_like(number)), 0, spec)

    return stream_windows(pools, gather, spec, batch)


def _max_pool_rows(windows: Windows) -> int:
    """The largest number of rows of a pool: all rows if they fit into memory, or else as many as fit twice."""
    check_length(windows.store, windows.steps, windows.min_steps)
    steps = windows.steps[windows.num_windows > 0]
    num_rows, num_fitting = int(steps.sum()), int(windows.memory_mb * 1e6) // windows.row_bytes
    if num_rows <= num_fitting:
        return num_rows
    longest = int(steps.max())
    if longest > num_fitting // 2:
        raise WindowError(
            f"data.memory_mb {windows.memory_mb} is room for {num_fitting:,} steps, and two copies of the longest piece have "
            f"{2 * longest:,}; set data.memory_mb to {-(-2 * longest * windows.row_bytes // 1_000_000)} or more"
        )
    return num_fitting // 2


def _training_pools(windows: Windows, max_rows: int, local: LocalPart, seed: int, first_position: int) -> Iterator[Pool]:
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
    steps, num_windows = windows.steps[indices], windows.num_windows[indices]
    row_stops, window_ends = np.cumsum(steps), np.cumsum(num_windows)
    first_window = window_ends - num_windows
    return Pool(
        rows=windows.read_rows(indices),
        row_starts=row_stops - steps,
        row_stops=row_stops,
        window_ends=window_ends,
        step_offset=(0 if windows.every_row else 1) - first_window * windows.stride,
        num_phases=windows.num_phases[indices],
        split_pieces=indices,
        split_offset=(np.cumsum(windows.num_windows) - windows.num_windows)[indices] - first_window,
        epoch=0,
        number=0,
        position=0,
        start=0,
        stop=0,
    )
