"""The training loop for one device, several replicas and several nodes.

Training resumes exactly from its last checkpoint: an interrupted run ends with the same weights as an uninterrupted one.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from pianogen import atomic
from pianogen.config import Config
from pianogen.data.statistics import Statistics
from pianogen.data.windows import find_windows, training_batches
from pianogen.errors import Interrupted, PianogenError
from pianogen.models.network import Network
from pianogen.progress import Progress, TrainingFigures
from pianogen.store import Split, Store
from pianogen.tracking.tracker import NO_TRACKERS, Trackers
from pianogen.training import networks
from pianogen.training.agreement import Message, sum_over_workers
from pianogen.training.call_length import CallLength
from pianogen.training.checkpoints import CheckpointError, Checkpoints, variables_of
from pianogen.training.curves import Curves
from pianogen.training.devices import find_strategy
from pianogen.training.early_stopping import EarlyStopping
from pianogen.training.history import History, Row
from pianogen.training.iterations import CallResult, compile_iterations, failure_cause
from pianogen.training.optimizers import build_optimizer
from pianogen.training.resources import Devices, Workers
from pianogen.training.run_files import write_with_retries
from pianogen.training.schedule import epoch_ends
from pianogen.training.validation import Validation

_log = logging.getLogger(__name__)


class TrainingError(PianogenError):
    """Training failed."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a completed training.

    Attributes:
        network: the network with its final weights.
        num_windows: number of windows of the train split.
        history: the rows of metrics.csv.
        checkpoint: name of the last checkpoint.
        iterations_per_s: speed of this attempt without its first compiled call; None if there was no other call.
    """

    network: Network
    num_windows: int
    history: list[Row]
    checkpoint: str
    iterations_per_s: float | None


def train(
    config: Config,
    store: Store,
    statistics: Statistics,
    run: Path,
    devices: Devices = Devices(),
    workers: Workers = Workers(),
    shutdown_requested: Callable[[], bool] = lambda: False,
    trackers: Trackers = NO_TRACKERS,
) -> TrainingResult:
    """Trains a run to its end, from its last checkpoint if there is one.

    Writes checkpoints/, metrics.csv, curves.png, model.keras and log/progress.json in the directory of the run.

    Args:
        statistics: statistics of the train split.
        run: the directory of the run.
        devices: the devices of this process.
        workers: the processes that train the run together.
        shutdown_requested: called about once a second. True makes all workers exit after writing a checkpoint.
        trackers: receive the metrics.

    Raises:
        Interrupted: a shutdown was requested; the checkpoint is written.
        TrainingError: an iteration failed, or its loss is NaN or infinite.
        CheckpointError: a checkpoint cannot be written or restored.
        HistoryError: metrics.csv is damaged, or does not match the checkpoint.
        WindowError: the store has no window to train on.
        ConfigError: the warm-up is as long as the run or longer.
        DeviceError: TensorFlow sees fewer GPUs than requested.
        OSError: metrics.csv or model.keras cannot be written.
    """
    return _Loop(config, store, statistics, run, devices, workers, shutdown_requested, trackers).run()


class _Loop:
    """One attempt to train a run: the constructor builds or restores everything, `run` trains."""

    def __init__(
        self,
        config: Config,
        store: Store,
        statistics: Statistics,
        run: Path,
        devices: Devices,
        workers: Workers,
        shutdown_requested: Callable[[], bool],
        trackers: Trackers,
    ) -> None:
        self._config, self._run, self._workers, self._shutdown_requested = config, run, workers, shutdown_requested
        self._trackers = trackers
        self._strategy = find_strategy(devices, workers)
        keras.utils.set_random_seed(config.training.seed)
        with self._strategy.scope():
            self._network, self._averaged = _build_networks(config, statistics)
        self._windows, self._valid_windows = (
            find_windows(store, split, config.data, self._network.every_row, context=self._network.reads_context)
            for split in (Split.TRAIN, Split.VALID)
        )
        self._epoch_ends = epoch_ends(len(self._windows), config.training)
        with self._strategy.scope():
            self._optimizer = build_optimizer(config.training, max(self._epoch_ends), self._network.keras.trainable_variables)
        self._early_stopping = EarlyStopping(config.training.patience, self._averaged.keras)
        self._iteration = tf.Variable(0, dtype=tf.int64)
        # Sums of the metrics over the iterations of the current epoch, and the iteration of the last epoch that has a row.
        self._totals = tf.Variable(np.zeros(len(self._network.metrics)))
        self._last_epoch_end = tf.Variable(0, dtype=tf.int64)
        state = tf.train.Checkpoint(
            model=variables_of(self._network.keras),
            averaged=variables_of(self._averaged.keras),
            optimizer=self._optimizer,
            iteration=self._iteration,
            totals=self._totals,
            last_epoch_end=self._last_epoch_end,
            **self._early_stopping.state,
        )
        self._checkpoints = Checkpoints(state, self._iteration, run / "checkpoints", config.checkpoints, self._is_writer)
        self._check_agreement()
        last_epoch_end = None if self._checkpoints.newest is None else int(self._last_epoch_end)
        self._history = History(run / "metrics.csv", last_epoch_end, config.checkpoints.retry_min)
        self._history.check_complete(int(self._last_epoch_end), list(self._epoch_ends))
        self._curves = Curves(run / "curves.png", self._network.metrics)
        self._run_iterations = compile_iterations(self._strategy, self._network, self._averaged, self._optimizer, config.training)
        self._validation = Validation(self._averaged, self._valid_windows, workers)
        self._call_length = CallLength()
        self._calls: list[tuple[int, float]] = []  # iterations and seconds of the compiled calls of this attempt

    def run(self) -> TrainingResult:
        """Trains all epochs that remain, and writes model.keras."""
        if self._checkpoints.newest is None:
            self._checkpoints.save()  # so metrics without a checkpoint mean damage, and an unwritable folder is an error now
        self._batches = iter(self._strategy.distribute_datasets_from_function(lambda _: self._local_batches()))
        try:
            self._run_epochs()
        finally:
            self._batches = None  # otherwise the interpreter cannot exit while a thread reads windows; see `stream_windows`
        self._early_stopping.restore_best_weights()
        if self._is_writer:
            self._curves.finish(self._history.rows)
            path = self._run / "model.keras"
            write_with_retries(lambda: self._save_model(path), path, self._config.checkpoints.retry_min)
        speed = _iterations_per_s(self._calls[1:])
        return TrainingResult(self._averaged, len(self._windows), self._history.rows, str(self._checkpoints.newest), speed)

    def _save_model(self, path: Path) -> None:
        with atomic.replacing(path) as temporary:
            self._averaged.keras.save(temporary)

    def _check_agreement(self) -> None:
        """Checks that all workers have restored the same checkpoint.

        Raises:
            CheckpointError: a worker has restored another one.
        """
        iteration = float(self._iteration.numpy())
        total = float(sum_over_workers(self._strategy, self._workers, np.array([iteration]))[0])
        if total != iteration * self._workers.size:
            raise CheckpointError(
                f"worker {self._workers.rank} has restored the checkpoint of iteration {iteration:.0f} in {self._run}, but the "
                "workers do not agree; resubmit the run when all nodes see the same files"
            )

    def _run_epochs(self) -> None:
        if not self._validation.num_predictions:
            _log.warning("the valid split has no window: validation metrics and early stopping are disabled")
        label, last = f"train {self._run.name}", max(self._epoch_ends)
        record = self._run / "log" / "progress.json" if self._is_writer else None
        with Progress(label, last, "iterations", done=int(self._iteration), record=record) as progress:
            for begin, end in pairwise([0, *self._epoch_ends]):
                epoch = self._epoch_ends[end]
                self._run_epoch(epoch, begin, end, progress)
                if end > int(self._last_epoch_end):
                    self._end_epoch(epoch, begin, end, progress)
                if self._early_stopping.should_stop:
                    break

    def _run_epoch(self, epoch: int, begin: int, end: int, progress: Progress) -> None:
        """Runs the iterations of an epoch, several per compiled call; the result does not depend on how many."""
        while (iteration := int(self._iteration)) < end:
            num_iterations = min(self._call_length.max_iterations, self._checkpoints.next_due(iteration, end) - iteration)
            total_loss = float(self._totals[0])
            message = self._call(epoch, iteration, num_iterations)
            self._call_length.update(num_iterations, message.last_call_s)
            iteration += num_iterations
            self._trackers.log(iteration, {"iteration_loss": (float(self._totals[0]) - total_loss) / num_iterations})
            progress.advance(num_iterations, self._figures(epoch, float(self._totals[0]) / (iteration - begin)))
            if iteration < end:
                if message.shutdown_requested:
                    self._shut_down()
                self._checkpoints.save_if_due()

    def _call(self, epoch: int, iteration: int, num_iterations: int) -> Message:
        """Runs one compiled call and updates the state; returns the combined message of all workers."""
        started = time.monotonic()
        message = Message(self._shutdown_requested(), last_call_s=self._calls[-1][1] if self._calls else 0.0)
        try:
            result: CallResult = self._run_iterations(
                self._batches,
                tf.constant(iteration, tf.int64),
                tf.constant(iteration + num_iterations, tf.int64),
                self._totals.read_value(),
                message.to_tensor(),
            )
        except tf.errors.OpError as error:
            raise TrainingError(
                f"training failed after iteration {iteration}, in epoch {epoch}: {failure_cause(error)}; "
                f"the last checkpoint, {self._checkpoints.newest}, is kept: correct the cause and submit the run again"
            ) from error.with_traceback(None)  # the frames of the traceback would keep the iterator alive
        if result.first_bad >= 0:
            raise TrainingError(
                f"the loss of iteration {int(result.first_bad) + 1}, in epoch {epoch}, is NaN or infinite; "
                f"the last checkpoint, {self._checkpoints.newest}, is kept: submit the sweep again with a lower "
                "training.learning_rate"
            )
        self._calls.append((num_iterations, time.monotonic() - started))
        self._totals.assign(result.totals)
        self._iteration.assign(iteration + num_iterations)
        return Message.from_sum(result.message, self._strategy.num_replicas_in_sync)

    def _shut_down(self) -> NoReturn:
        self._checkpoints.save()
        raise Interrupted(f"received a shutdown signal; checkpoint written at iteration {int(self._iteration)}")

    def _figures(self, epoch: int, loss: float) -> TrainingFigures:
        valid_loss = self._history.rows[-1].get("valid_loss") if self._history.rows else None
        return TrainingFigures(epoch, max(self._epoch_ends.values()), loss, valid_loss)

    def _end_epoch(self, epoch: int, begin: int, end: int, progress: Progress) -> None:
        """Validates, and writes the row of the epoch, the curves and a checkpoint."""
        row: Row = {"epoch": epoch, "iteration": end}
        row |= dict(zip(self._network.metrics, (self._totals.numpy() / (end - begin)).tolist(), strict=True))
        if self._validation.num_predictions:
            means = self._validate() / self._validation.num_predictions
            row |= {f"valid_{name}": mean for name, mean in zip(self._network.metrics, means.tolist(), strict=True)}
            self._early_stopping.update(row["valid_loss"])
        if self._config.training.learning_rate_varies:
            row["learning_rate"] = float(self._optimizer.learning_rate)
        self._trackers.log(end, row)
        self._totals.assign(tf.zeros_like(self._totals))
        self._last_epoch_end.assign(end)
        # metrics.csv before the checkpoint: if the process is killed between the two, the end of the epoch is repeated, not lost.
        if self._is_writer:
            self._history.append(row)
            self._curves.update(self._history.rows)
        progress.advance(0, self._figures(epoch, row["loss"]))
        self._checkpoints.save()

    def _validate(self) -> np.ndarray:
        """(M,) sums of the metrics over the valid split."""
        sums = np.zeros(len(self._network.metrics))
        for part in self._validation.sums():
            # Several workers would have to agree; they exit after the validation.
            if self._workers.size == 1 and self._shutdown_requested():
                self._shut_down()
            sums += part
        return sum_over_workers(self._strategy, self._workers, sums)

    def _local_batches(self) -> tf.data.Dataset:
        """The parts of every global batch that the replicas of this process train on, from the current iteration on."""
        training, num_replicas = self._config.training, self._strategy.num_replicas_in_sync
        num_local = num_replicas // self._workers.size
        parts = range(self._workers.rank * num_local, (self._workers.rank + 1) * num_local)
        return training_batches(self._windows, training.batch, training.seed, int(self._iteration), num_replicas, parts)

    @property
    def _is_writer(self) -> bool:
        return self._workers.rank == 0


def _build_networks(config: Config, statistics: Statistics) -> tuple[Network, Network]:
    """The network that is trained, and the one that is validated and saved: the same one, or the average of its weights."""
    training = config.training
    keras.mixed_precision.set_global_policy("mixed_float16" if training.mixed_precision else "float32")
    network = networks.build(config, statistics.keys, statistics.steps_per_quarter)
    if training.average is None:
        return network, network
    averaged = networks.build(config, statistics.keys, statistics.steps_per_quarter)
    averaged.keras.set_weights(network.keras.get_weights())
    return network, averaged


def _iterations_per_s(calls: list[tuple[int, float]]) -> float | None:
    return sum(num_iterations for num_iterations, _ in calls) / sum(call_s for _, call_s in calls) if calls else None
