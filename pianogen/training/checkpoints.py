"""Checkpoints of a run: written completely and fsynced before the pointer names them; the last few are kept."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from pianogen import atomic
from pianogen.config import CheckpointConfig
from pianogen.errors import PianogenError


class CheckpointError(PianogenError):
    """A checkpoint cannot be written or restored."""


def variables_of(model: keras.Model) -> list[tf.Variable]:
    """All variables of a model, for a tf.train.Checkpoint; of the model itself, it would miss layers that are kept in a list."""
    return [weight.value for weight in model.weights]


class Checkpoints:
    """The checkpoints of a run; the constructor restores the newest one, if there is one.

    Args:
        state: everything that training needs to resume.
        iteration: number of completed iterations; part of the state.
        folder: the folder of the checkpoints, which every worker must be able to read.
        is_writer: whether this process writes the checkpoints.

    Raises:
        CheckpointError: the newest checkpoint is damaged or belongs to a different model.
    """

    def __init__(
        self, state: tf.train.Checkpoint, iteration: tf.Variable, folder: Path, config: CheckpointConfig, is_writer: bool
    ) -> None:
        self._iteration, self._folder, self._config, self._is_writer = iteration, folder, config, is_writer
        self._manager = tf.train.CheckpointManager(state, str(folder), config.keep, step_counter=iteration)
        self._saved_at = time.monotonic()
        path = self._manager.latest_checkpoint
        if path is None:
            return
        try:
            with without_brackets(Path(path)) as readable:
                state.restore(str(readable)).assert_consumed()
        except (ValueError, AssertionError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"cannot restore checkpoint {path} ({_first_line(error)}): it is damaged, or the model in config.yaml is a "
                f"different one; to resume from an older checkpoint, change the name in {folder / 'checkpoint'}; to start from "
                f"iteration 0, remove {folder}"
            ) from error

    @property
    def newest(self) -> str:
        """The name of the newest checkpoint, "no checkpoint" if there is none."""
        path = self._manager.latest_checkpoint
        return "no checkpoint" if path is None else Path(path).name

    def next_due(self, iteration: int, end: int) -> int:
        """The next iteration after which `every_iterations` requires a checkpoint, at most `end`."""
        every = self._config.every_iterations
        return end if every is None else min(end, (iteration // every + 1) * every)

    def save_if_due(self) -> None:
        """Writes a checkpoint if `every_iterations` or `every_min` requires one."""
        every = self._config.every_iterations
        is_due = every is not None and int(self._iteration) % every == 0
        if is_due or time.monotonic() - self._saved_at > 60 * self._config.every_min:
            self.save()

    def save(self) -> None:
        """Writes a checkpoint.

        Raises:
            CheckpointError: the checkpoint cannot be written; the previous one is unchanged.
        """
        if self._is_writer:
            try:
                self._manager.save(checkpoint_number=self._iteration, options=_DURABLE)
                atomic.fsync(self._folder / "checkpoint")
                atomic.fsync(self._folder)
            except (OSError, tf.errors.OpError) as error:
                raise CheckpointError(
                    f"cannot write a checkpoint to {self._folder} ({_first_line(error)}); the last one, {self.newest}, is kept: "
                    "free disk space and submit the run again"
                ) from error
        self._saved_at = time.monotonic()


@contextmanager
def without_brackets(path: Path) -> Iterator[Path]:
    """The path of a checkpoint through a temporary link: TensorFlow reads its name as a pattern in which [ab] is one letter."""
    with tempfile.TemporaryDirectory(prefix="pianogen-") as folder:
        link = Path(folder, "checkpoints")
        link.symlink_to(path.parent.absolute())
        yield link / path.name


def _fsync_files(prefix: str) -> None:
    path = Path(prefix)
    for file in [*path.parent.glob(f"{path.name}.*"), path.parent]:
        atomic.fsync(file)


# TensorFlow calls this before it replaces the pointer, so that after a power failure no pointer names an incomplete checkpoint.
_DURABLE = tf.train.CheckpointOptions(experimental_write_callbacks=[_fsync_files])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
