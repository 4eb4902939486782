"""The training loop: windows in, weights out, exact from the iteration it resumes at.

One loop for one device and for several replicas: many iterations per compiled call, one checkpoint per epoch and every few
minutes between, metrics at the end of each epoch.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pianogen import devices, durable, models, plots
from pianogen.config import Config
from pianogen.errors import PianogenError
from pianogen.history import History
from pianogen.models.recurrent import Recurrent
from pianogen.progress import Progress
from pianogen.store import Split, Store
from pianogen.windows import Windows, evaluation_batches, read_windows, training_batches

MEASURES = ("loss", "categorical_crossentropy", "mean_absolute_error")
_ITERATIONS_PER_CALL = 50
_EVALUATION_BATCH = 512
_CHECKPOINT_EVERY_S = 600.0
_KEPT_CHECKPOINTS = 2


class TrainingError(PianogenError):
    """Training cannot go on."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training leaves behind.

    Attributes:
        network: with its final weights.
        corpus: the windows it was trained on.
        history: metrics by epoch.
        checkpoint: name of the last checkpoint.
    """

    network: Recurrent
    corpus: Windows
    history: History
    checkpoint: str


def train(config: Config, store: Store, run: Path) -> Trained:
    """Trains a run to its end, from its last checkpoint if it has one.

    Writes checkpoints/, metrics.csv, tensorboard/, curves.png and model.keras below `run`.

    Raises:
        TrainingError: the loss is no longer a number.
        WindowError: the store has no window to train on.
    """
    strategy = devices.find_strategy(config)
    keras.utils.set_random_seed(config.training.seed)
    corpus = read_windows(store, Split.TRAIN, config.data)
    held_out = read_windows(store, Split.VALID, config.data)
    with strategy.scope():
        network, optimizer = _build(config)
    loop = _Loop(config, strategy, network, optimizer, corpus, held_out, run)
    loop.run()
    with durable.replacing(run / "model.keras") as temporary:
        network.keras.save(temporary)
    return Trained(network, corpus, loop.history, loop.checkpoint_name)


def restore(config: Config, run: Path) -> tuple[Recurrent, str]:
    """The network of a run that has been trained, and the name of its checkpoint.

    Raises:
        TrainingError: there is no checkpoint.
    """
    network, _ = _build(config)
    path = tf.train.latest_checkpoint(run / "checkpoints")
    if path is None:
        raise TrainingError(f"{run} has no checkpoint; train it first")
    tf.train.Checkpoint(model=network.keras).restore(path).expect_partial()
    return network, Path(path).name


def _build(config: Config) -> tuple[Recurrent, keras.optimizers.Optimizer]:
    network = models.build(config.model)
    kinds = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}
    optimizer = kinds[config.training.optimizer](config.training.learning_rate)
    optimizer.build(network.keras.trainable_variables)
    return network, optimizer


class _Loop:
    def __init__(
        self,
        config: Config,
        strategy: tf.distribute.Strategy,
        network: Recurrent,
        optimizer: keras.optimizers.Optimizer,
        corpus: Windows,
        held_out: Windows,
        run: Path,
    ) -> None:
        self._config, self._strategy, self._network, self._optimizer = config, strategy, network, optimizer
        self._corpus, self._held_out, self._run = corpus, held_out, run
        self._iteration = tf.Variable(0, dtype=tf.int64)
        self._totals = tf.Variable(np.zeros(len(MEASURES)))  # sums over the epoch at hand
        state = tf.train.Checkpoint(model=network.keras, optimizer=optimizer, iteration=self._iteration, totals=self._totals)
        self._manager = tf.train.CheckpointManager(
            state, str(run / "checkpoints"), _KEPT_CHECKPOINTS, step_counter=self._iteration
        )
        self._manager.restore_or_initialize()
        self.history = History(run / "metrics.csv", until_iteration=int(self._iteration))
        self._train_some = _compile_training(strategy, network, optimizer, config.training.batch)
        self._evaluate = tf.function(lambda packed, tempo_us: _sums(network.losses(packed, tempo_us, training=False)))

    @property
    def checkpoint_name(self) -> str:
        return Path(self._manager.latest_checkpoint).name

    def run(self) -> None:
        training = self._config.training
        replicas = self._strategy.num_replicas_in_sync
        done = int(self._iteration)
        batches = iter(
            self._strategy.distribute_datasets_from_function(
                # Consecutive parts of a global batch go to the replicas in turn, so the batch is the same for any number.
                lambda _: training_batches(self._corpus, training.batch // replicas, training.seed, done * replicas)
            )
        )
        ends = [self._end_of_epoch(epoch) for epoch in range(1, training.epochs + 1)]
        if not len(self._held_out):
            print("no piece of the valid split has a window: there are no validation metrics", flush=True)
        saved = time.monotonic()
        with (
            Progress(f"train {self._run.name}", ends[-1], "iterations") as progress,
            tf.summary.create_file_writer(str(self._run / "tensorboard")).as_default(),
        ):
            progress.advance(done)
            for epoch, end in enumerate(ends, start=1):
                while done < end:
                    count = min(_ITERATIONS_PER_CALL, end - done)
                    self._totals.assign_add(self._checked(self._train_some(batches, tf.constant(count)).numpy(), done, count))
                    done += count
                    self._iteration.assign(done)
                    measured = self._totals.numpy()[0] / (done - (ends[epoch - 2] if epoch > 1 else 0))
                    progress.advance(count, f"epoch {epoch}, loss {measured:.5f}")
                    if done < end and time.monotonic() - saved > _CHECKPOINT_EVERY_S:
                        self._manager.save(checkpoint_number=self._iteration)
                        saved = time.monotonic()
                if end > self.history.last_iteration:
                    self._end_epoch(epoch, end, end - (ends[epoch - 2] if epoch > 1 else 0))
                    saved = time.monotonic()

    def _end_of_epoch(self, epoch: int) -> int:
        """The iteration with which an epoch's last window is seen; a batch may hold windows of two epochs."""
        return math.ceil(epoch * len(self._corpus) / self._config.training.batch)

    def _checked(self, sums: np.ndarray, done: int, count: int) -> np.ndarray:
        if not np.isfinite(sums).all():
            raise TrainingError(
                f"the loss is {sums[0]} in iterations {done} to {done + count}; the last checkpoint is kept: "
                "lower training.learning_rate"
            )
        return sums

    def _end_epoch(self, epoch: int, iteration: int, num_iterations: int) -> None:
        row: dict[str, Any] = {"epoch": epoch, "iteration": iteration}
        row |= dict(zip(MEASURES, (self._totals.numpy() / num_iterations).tolist(), strict=True))
        if len(self._held_out):
            sums = sum(self._evaluate(*batch).numpy() for batch in evaluation_batches(self._held_out, _EVALUATION_BATCH))
            row |= {f"valid_{name}": value for name, value in zip(MEASURES, (sums / len(self._held_out)).tolist(), strict=True)}
        for name, value in row.items():
            tf.summary.scalar(name, value, step=iteration)
        # History before checkpoint: a kill between the two repeats an epoch's end, never loses one.
        self.history.append(row)
        self._totals.assign(np.zeros(len(MEASURES)))
        self._manager.save(checkpoint_number=self._iteration)
        plots.draw_curves(self.history.rows, self._run / "curves.png")


def _sums(losses: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.cast(tf.stack([tf.reduce_sum(losses[name]) for name in MEASURES]), tf.float64)


def _compile_training(
    strategy: tf.distribute.Strategy, network: Recurrent, optimizer: keras.optimizers.Optimizer, batch: int
) -> Callable[..., tf.Tensor]:
    variables = network.keras.trainable_variables

    def iterate(packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = network.losses(packed, tempo_us, training=True)
            loss = tf.reduce_sum(losses["loss"]) / batch  # of the global batch: gradients are summed over the replicas
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return _sums(losses) / batch

    def train_some(batches: Any, count: tf.Tensor) -> tf.Tensor:
        """Sums of the measures over `count` iterations."""
        sums = tf.zeros(len(MEASURES), tf.float64)
        for _ in tf.range(count):
            sums += strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(iterate, args=next(batches)), axis=None)
        return sums

    compiled: Callable[..., tf.Tensor] = tf.function(train_some)
    return compiled
