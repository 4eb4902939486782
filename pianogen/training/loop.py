"""The training loop: windows in, weights out, exact from the iteration it resumes at.

One loop for one device, for several replicas and for several nodes: many iterations per compiled call, checkpoints by
iterations and minutes, metrics at the end of each epoch.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from pianogen import atomic, models
from pianogen.config import Config, TrainingConfig
from pianogen.data.windows import Windows, evaluation_batches, find_windows, training_batches
from pianogen.errors import Interrupted, PianogenError
from pianogen.models.network import Network
from pianogen.progress import Progress
from pianogen.store import Split, Store
from pianogen.training import curves, devices
from pianogen.training.checkpoints import Checkpoints
from pianogen.training.history import History
from pianogen.training.resources import Devices, Workers
from pianogen.training.rprop import Rprop

MEASURES = ("loss", "categorical_crossentropy", "mean_absolute_error")
_FIRST_CALL, _LONGEST_CALL, _CALL_S = 8, 200, 1.0
_EVALUATION_BATCH = 512
_OPTIMIZERS = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam, "rprop": Rprop}


class TrainingError(PianogenError):
    """Training cannot go on."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training leaves behind.

    Attributes:
        network: with its final weights.
        windows: of the train split.
        history: metrics by epoch.
        checkpoint: name of the last checkpoint.
        iterations_per_s: of this attempt, once compiled; None if it had nothing to do.
    """

    network: Network
    windows: Windows
    history: History
    checkpoint: str
    iterations_per_s: float | None


def train(
    config: Config,
    store: Store,
    run: Path,
    requested: Devices = Devices(),
    workers: Workers = Workers(),
    is_interrupted: Callable[[], bool] = lambda: False,
) -> Trained:
    """Trains a run to its end, from its last checkpoint if it has one.

    Writes checkpoints/, metrics.csv, tensorboard/, curves.png, model.keras and, as it goes, log/progress.json below `run`.

    Args:
        is_interrupted: asked about once a second; when it says so, a checkpoint is written and training leaves.
            Of several workers all leave when one is told to.
        workers: the processes that train together; None is this one alone.

    Raises:
        Interrupted: it left before its end.
        TrainingError: the loss is no longer a number, or a checkpoint cannot be read or written.
        WindowError: the store has no window to train on.
    """
    strategy = devices.find_strategy(requested, workers)
    keras.utils.set_random_seed(config.training.seed)
    windows, held_out = (find_windows(store, split, config.data) for split in (Split.TRAIN, Split.VALID))
    with strategy.scope():
        network, optimizer = _build(config)
    loop = _Loop(config, strategy, workers, network, optimizer, windows, held_out, run)
    loop.run(is_interrupted)
    if workers.rank == 0:
        with atomic.replacing(run / "model.keras") as temporary:
            network.keras.save(temporary)
    return Trained(network, windows, loop.history, loop.checkpoints.newest, loop.iterations_per_s)


def restore(config: Config, run: Path) -> tuple[Network, str]:
    """The network of a run that has been trained, and the name of its last checkpoint.

    Raises:
        TrainingError: it was not trained to its end, or its weights belong to another network.
    """
    path, network = run / "model.keras", models.build(config.model, config.training, config.data.window_steps)
    checkpoint = tf.train.latest_checkpoint(run / "checkpoints")
    if not path.is_file() or checkpoint is None:
        raise TrainingError(f"{run} has no model.keras or no checkpoint; train it first")
    try:
        network.keras.load_weights(path)
    except ValueError as error:
        raise TrainingError(f"{path} holds the weights of another network than {run / 'config.yaml'} says: {error}") from error
    return network, Path(checkpoint).name


def _build(config: Config) -> tuple[Network, keras.optimizers.Optimizer]:
    training = config.training
    keras.mixed_precision.set_global_policy("mixed_float16" if training.mixed_precision else "float32")
    network = models.build(config.model, training, config.data.window_steps)
    optimizer = _OPTIMIZERS[training.optimizer](training.learning_rate)
    if training.mixed_precision:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.keras.trainable_variables)
    return network, optimizer


class _Loop:
    def __init__(
        self,
        config: Config,
        strategy: tf.distribute.Strategy,
        workers: Workers,
        network: Network,
        optimizer: keras.optimizers.Optimizer,
        windows: Windows,
        held_out: Windows,
        run: Path,
    ) -> None:
        self._config, self._strategy, self._workers, self._network = config, strategy, workers, network
        self._windows, self._held_out, self._run = windows, held_out, run
        self._iteration = tf.Variable(0, dtype=tf.int64)
        self._totals = tf.Variable(np.zeros(len(MEASURES)))  # sums over the epoch at hand
        self._stopping = _EarlyStopping(config.training, network.keras)
        content = {"model": network.keras, "optimizer": optimizer, "iteration": self._iteration, "totals": self._totals}
        state = tf.train.Checkpoint(**content, **self._stopping.state)
        self.checkpoints = Checkpoints(state, self._iteration, run / "checkpoints", config.checkpoints, workers.rank == 0)
        self.history = _read_history(run / "metrics.csv", int(self._iteration), _ends_of_epochs(len(windows), config.training))
        self._train_some = compile_training(strategy, network, optimizer, config.training.batch)
        self._resumed_at, self._timed_iterations = int(self._iteration), 0
        self._timed_s = 0.0
        self._evaluate = tf.function(lambda packed, tempo_us: _sums(network.losses(packed, tempo_us, training=False)))

    @property
    def iterations_per_s(self) -> float | None:
        return self._timed_iterations / self._timed_s if self._timed_iterations else None

    def run(self, is_interrupted: Callable[[], bool]) -> None:
        self._stream = iter(self._strategy.distribute_datasets_from_function(lambda _: self._batches()))
        try:
            self._run_epochs(is_interrupted)
        finally:
            self._stream = None  # a thread that still reads windows when the interpreter ends would keep it waiting
        self._stopping.finish()

    def _run_epochs(self, is_interrupted: Callable[[], bool]) -> None:
        ends = _ends_of_epochs(len(self._windows), self._config.training)
        if not len(self._held_out):
            print("no piece of the valid split has a window: there are no validation metrics", flush=True)
        with (
            self._progress(ends[-1]) as progress,
            tf.summary.create_file_writer(str(self._run / "tensorboard")).as_default(self._workers.rank == 0),
        ):
            for epoch, (begin, end) in enumerate(zip([0, *ends], ends, strict=False), start=1):
                self._run_epoch(epoch, begin, end, progress, is_interrupted)
                if end > self.history.last_iteration:
                    self._end_epoch(epoch, end, end - begin, is_interrupted)
                if self._stopping.is_over:
                    break

    def _progress(self, total: int) -> Progress:
        record = self._run / "log" / "progress.json" if self._workers.rank == 0 else None
        return Progress(f"train {self._run.name}", total, "iterations", done=int(self._iteration), record=record)

    def _batches(self) -> tf.data.Dataset:
        """This process's parts of every global batch, from the iteration at hand on."""
        training, num_parts = self._config.training, self._strategy.num_replicas_in_sync
        here = num_parts // self._workers.size
        parts = range(self._workers.rank * here, (self._workers.rank + 1) * here)
        return training_batches(self._windows, training.batch, training.seed, int(self._iteration), num_parts, parts)

    def _run_epoch(self, epoch: int, begin: int, end: int, progress: Progress, is_interrupted: Callable[[], bool]) -> None:
        """Iterations up to the end of an epoch, some at a time; how many does not change a bit of the result."""
        done, most = int(self._iteration), _FIRST_CALL
        count, taken = 0, 0.0
        while done < end:
            before, count = count, min(most, self.checkpoints.next_iteration(done, end) - done)
            started = time.monotonic()
            news = tf.constant([is_interrupted(), taken], tf.float32)
            try:
                totals, first_bad, told = self._train_some(self._stream, tf.constant(count), self._totals.read_value(), news)
            except tf.errors.OpError as error:
                cause = _cause_of(error)
                if isinstance(error, tf.errors.ResourceExhaustedError):
                    cause = f"out of memory ({cause}): lower training.batch, or request more memory"
                message = f"iterations from {done} on failed: {cause}; {self.checkpoints.newest} is kept"
                raise TrainingError(message) from error.with_traceback(None)  # whose frames would hold the stream
            if first_bad >= 0:
                raise TrainingError(
                    f"the loss of batch {done + int(first_bad)}, in epoch {epoch}, is no number; "
                    f"{self.checkpoints.newest} is kept: lower training.learning_rate and submit it again"
                )
            taken = time.monotonic() - started
            if done > self._resumed_at:  # the first call compiles
                self._timed_iterations, self._timed_s = self._timed_iterations + count, self._timed_s + taken
            self._totals.assign(totals)
            done += count
            self._iteration.assign(done)
            progress.advance(count, f"epoch {epoch}, loss {totals[0] / (done - begin):.5f}")
            # Workers must agree on when to leave and how long the next call is, so what counts is what they told each other in
            # this one: not what each sees by itself, and of the time that of the call before.
            num_leaving, taken_before = (told / self._strategy.num_replicas_in_sync).numpy()
            if num_leaving > 0 and done < end:
                self._leave()
            if done < end:
                self.checkpoints.save_if_due()
            wanted = int(before * _CALL_S / taken_before) if before else _FIRST_CALL
            most = min(_LONGEST_CALL, 2 * most, max(1, wanted))

    def _leave(self) -> NoReturn:
        self.checkpoints.save()
        raise Interrupted(f"left at iteration {int(self._iteration)} with a checkpoint; started again, it goes on there")

    def _end_epoch(self, epoch: int, iteration: int, num_iterations: int, is_interrupted: Callable[[], bool]) -> None:
        row: dict[str, Any] = {"epoch": epoch, "iteration": iteration}
        row |= dict(zip(MEASURES, (self._totals.numpy() / num_iterations).tolist(), strict=True))
        if len(self._held_out):
            means = self._evaluate_all(is_interrupted) / len(self._held_out)
            row |= {f"valid_{name}": value for name, value in zip(MEASURES, means.tolist(), strict=True)}
            self._stopping.judge(row["valid_loss"])
        for name, value in row.items():
            tf.summary.scalar(name, value, step=iteration)
        self._totals.assign(np.zeros(len(MEASURES)))
        # History before checkpoint: a kill between the two repeats an epoch's end, never loses one.
        if self._workers.rank == 0:
            self.history.append(row)
            curves.draw_curves(self.history.rows, self._run / "curves.png")
        self.checkpoints.save()

    def _evaluate_all(self, is_interrupted: Callable[[], bool]) -> np.ndarray:
        """(M,) sums over the held-out windows, of which each worker evaluates a part."""
        batches = evaluation_batches(self._held_out, _EVALUATION_BATCH).shard(self._workers.size, self._workers.rank)
        sums = np.zeros(len(MEASURES))
        for batch in batches:
            if self._workers.size == 1 and is_interrupted():  # several would have to agree; they leave after this
                self._leave()
            sums += self._evaluate(*batch).numpy()
        if self._workers.size == 1:
            return sums
        here = self._strategy.num_replicas_in_sync // self._workers.size
        parts = self._strategy.run(lambda part: part, args=(tf.constant(sums / here),))
        return np.asarray(self._strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None))


class _EarlyStopping:
    """Ends a training whose validation loss has not become better for some epochs, and gives back its best weights."""

    def __init__(self, training: TrainingConfig, model: keras.Model) -> None:
        self._patience, self._weights = training.patience, model.trainable_variables
        self.state: dict[str, Any] = {}
        if self._patience is not None:
            self._best, self._waited = tf.Variable(math.inf, dtype=tf.float64), tf.Variable(0)
            self._best_weights = [tf.Variable(weight) for weight in self._weights]
            self.state = {"best": self._best, "waited": self._waited, "best_weights": self._best_weights}

    def judge(self, loss: float) -> None:
        """Takes note of the validation loss of an epoch."""
        if self._patience is None:
            return
        if loss < float(self._best):
            self._best.assign(loss)
            self._waited.assign(0)
            _assign(self._best_weights, self._weights)
        else:
            self._waited.assign_add(1)

    @property
    def is_over(self) -> bool:
        return self._patience is not None and int(self._waited) >= self._patience

    def finish(self) -> None:
        """Gives the network its best weights, if there was ever a validation."""
        if self._patience is not None and math.isfinite(float(self._best)):
            _assign(self._weights, self._best_weights)


def _read_history(path: Path, iteration: int, ends: Sequence[int]) -> History:
    """The metrics of the epochs before a checkpoint.

    Raises:
        TrainingError: some are missing; early stopping would judge by others than it should.
    """
    history = History(path, until_iteration=iteration)
    found, expected = [row["iteration"] for row in history.rows], [end for end in dict.fromkeys(ends) if end < iteration]
    if found[: len(expected)] != expected:
        raise TrainingError(
            f"{path} has {len(found)} epochs up to the checkpoint at iteration {iteration}, and {len(expected)} had ended there; "
            f"bring it back, or remove {path.parent / 'checkpoints'} to begin anew"
        )
    return history


def _assign(targets: list[Any], sources: list[Any]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.assign(source)


def _ends_of_epochs(num_windows: int, training: TrainingConfig) -> list[int]:
    """The iterations with which each epoch's last window is seen; a batch may hold windows of two epochs."""
    ends = [math.ceil(epoch * num_windows / training.batch) for epoch in range(1, training.epochs + 1)]
    last = min(ends[-1], training.max_iterations or ends[-1])
    return [end for end in ends if end < last] + [last]


def _cause_of(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's message that says what happened: of an error in the stream of windows, or before its place."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    of_stream = [line.partition("StoreError: ")[2] for line in lines if "StoreError: " in line]
    before_node = [line for line, after in pairwise(lines) if after.startswith("[[{{node")]
    return [*of_stream, *before_node, *lines[-1:], type(error).__name__][0]


def _sums(losses: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.cast(tf.stack([tf.reduce_sum(losses[name]) for name in MEASURES]), tf.float64)


def compile_training(
    strategy: tf.distribute.Strategy, network: Network, optimizer: keras.optimizers.Optimizer, batch: int
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Many iterations as one call: (batches, count, totals, news) to (totals, first bad iteration, sum of the replicas' news)."""
    variables = network.keras.trainable_variables

    def iterate(packed: tf.Tensor, tempo_us: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = network.losses(packed, tempo_us, training=True)
            loss = tf.reduce_sum(losses["loss"]) / batch  # of the global batch: gradients are summed over the replicas
            scaled = optimizer.scale_loss(loss)
        optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        return _sums(losses) / batch

    def train_some(batches: Any, count: tf.Tensor, totals: tf.Tensor, news: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Totals after `count` iterations more, the first whose loss is no number or -1, and all that was told."""
        first_bad = tf.constant(-1)
        for i in tf.range(count):
            measures = strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(iterate, args=next(batches)), axis=None)
            totals += measures
            if first_bad < 0 and not tf.math.is_finite(measures[0]):
                first_bad = i
        told = strategy.run(tf.identity, args=(news,))
        return totals, first_bad, strategy.reduce(tf.distribute.ReduceOp.SUM, told, axis=None)

    compiled: Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]] = tf.function(train_some)
    return compiled
