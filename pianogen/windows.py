"""Windows of pieces, in an endless order that is a function of the seed and the sizes alone, streamed through tf.data.

Position p of the order is window `permutation(epoch)[p mod N]` of N windows, with epoch = p div N; so every window comes
exactly once per epoch, batch b is positions b·B to b·B + B - 1, and a stream resumes from its next batch number. Rows stay
packed, 22 bytes a step and a tempo, until a layer of the model unpacks them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.errors import PianogenError
from pianogen.roll import Roll
from pianogen.store import Split, Store


class WindowError(PianogenError):
    """A store has no windows to train on."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of some pieces, whose rows lie end to end.

    Attributes:
        rows: the pieces, joined.
        first_row: (P,) int64, where each piece begins.
        num_windows: (P,) int64, how many windows each has.
        window_steps: rows of input of a window; the row after them is part of it too.
        stride: rows from one window to the next.
    """

    rows: Roll
    first_row: np.ndarray
    num_windows: np.ndarray
    window_steps: int
    stride: int

    def __len__(self) -> int:
        return int(self.num_windows.sum())

    def blocks(self) -> Iterator[tuple[Roll, np.ndarray]]:
        """Whole pieces end to end, and where each begins."""
        yield self.rows, self.first_row


def read_windows(store: Store, split: Split, config: DataConfig) -> Windows:
    """The windows of one split, of the configured groups.

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
        rows=store.pieces_joined(chosen),
        first_row=np.cumsum(steps) - steps,
        num_windows=np.maximum(0, (steps - config.window_steps - 1) // config.stride + 1),
        window_steps=config.window_steps,
        stride=config.stride,
    )


find_windows = read_windows


def training_batches(windows: Windows, batch: int, seed: int, first_batch: int = 0) -> tf.data.Dataset:
    """The endless shuffled stream from batch number `first_batch` on.

    Returns:
        (packed, tempo_us): (B, W + 1, 22) uint8 and (B, W + 1) int32.

    Raises:
        WindowError: there is no window.
    """
    count = len(windows)
    if count == 0:
        raise WindowError(
            f"no piece of the train split has the {windows.window_steps + 1} steps of a window; "
            "choose a smaller data.window_steps or a larger corpus"
        )

    def select(number: tf.Tensor) -> tf.Tensor:
        position = number * batch + tf.range(batch, dtype=tf.int64)
        epoch = position // count
        seeds = tf.stack([tf.fill([batch], tf.constant(seed, tf.int64)), epoch, tf.zeros_like(epoch)], axis=1)
        # The raw operation, because tf.random.experimental.index_shuffle pads a vector of seeds along the wrong axis too.
        last = tf.constant(count - 1, tf.int64)
        return tf.raw_ops.RandomIndexShuffle(index=position % count, seed=seeds, max_index=last, rounds=4)

    numbers = tf.data.Dataset.range(first_batch, np.iinfo(np.int64).max)
    gather = _gather(windows)
    return numbers.map(lambda number: gather(select(number)), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(windows: Windows, batch: int) -> tf.data.Dataset:
    """Every window once, in order; the last batch may be smaller."""
    return tf.data.Dataset.range(len(windows)).batch(batch).map(_gather(windows)).prefetch(2)


def _gather(windows: Windows):  # type: ignore[no-untyped-def]
    packed = tf.constant(windows.rows.packed)
    tempo_us = tf.constant(windows.rows.tempo_us.astype(np.int32))
    ends = tf.constant(np.cumsum(windows.num_windows), tf.int64)
    first_row = tf.constant(windows.first_row, tf.int64)
    num_windows = tf.constant(windows.num_windows, tf.int64)

    def gather(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        piece = tf.searchsorted(ends, index, side="right", out_type=tf.int64)
        within = index - (tf.gather(ends, piece) - tf.gather(num_windows, piece))
        start = tf.gather(first_row, piece) + within * windows.stride
        rows = start[:, tf.newaxis] + tf.range(windows.window_steps + 1, dtype=tf.int64)
        return tf.gather(packed, rows), tf.gather(tempo_us, rows)

    return gather
