"""The metrics of a network on the valid split.

A network that is trained on the last row of windows is validated on windows as well. One that is trained on every row reads
complete pieces, with its state carried from row to row, as in the evaluation.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from pianogen.data.pieces import CHUNK_STEPS, NUM_PIECES, piece_chunks
from pianogen.data.windows import Windows, evaluation_batches
from pianogen.models.network import Network
from pianogen.roll import DEFAULT_TEMPO_US
from pianogen.training.iterations import sum_metrics
from pianogen.training.resources import Workers
from pianogen.window import Window

_BATCH = 512


class Validation:
    """The validation of a network.

    Args:
        network: the network; its weights may change between calls.
        windows: the windows of the valid split.
        workers: each worker validates a part of the windows or pieces.

    Attributes:
        num_predictions: number of windows, or of rows, that all workers together predict.
    """

    def __init__(self, network: Network, windows: Windows, workers: Workers) -> None:
        self._network, self._windows, self._workers = network, windows, workers
        self.num_predictions = int(windows.steps.sum()) if network.every_row else len(windows)
        self._window_sums = tf.function(
            lambda window: sum_metrics(network, network.losses(window, training=False)), autograph=False
        )
        self._row_sums = tf.function(self._read, autograph=False)

    def sums(self) -> Iterator[np.ndarray]:
        """(M,) float64 sums of the metrics over some predictions, until all predictions of this worker are covered."""
        yield from self._over_rows() if self._network.every_row else self._over_windows()

    @cached_property
    def _batches(self) -> tf.data.Dataset:
        return evaluation_batches(self._windows, _BATCH).shard(self._workers.size, self._workers.rank)

    def _over_windows(self) -> Iterator[np.ndarray]:
        for window in self._batches:
            yield self._window_sums(window).numpy()

    def _over_rows(self) -> Iterator[np.ndarray]:
        part = slice(self._workers.rank, None, self._workers.size)
        windows = replace(self._windows, pieces=self._windows.pieces[part], steps=self._windows.steps[part])
        state = None
        for window, is_row, is_start in piece_chunks(windows, NUM_PIECES, CHUNK_STEPS):
            if is_start:
                state = self._network.initial_state(NUM_PIECES, 0, DEFAULT_TEMPO_US)
            sums, state = self._row_sums(window, is_row, state)
            yield sums.numpy()

    def _read(self, window: Window, is_row: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        output, state = self._network.read(window, state)
        losses = self._network.row_losses(output, window)
        return sum_metrics(self._network, {name: tf.boolean_mask(values, is_row) for name, values in losses.items()}), state
