"""Checkpoints of a training: when they are due, written whole before the pointer to them is swapped, a few kept."""

import time
from pathlib import Path

import tensorflow as tf

from pianogen import atomic
from pianogen.config import CheckpointConfig
from pianogen.errors import PianogenError


class CheckpointError(PianogenError):
    """A checkpoint cannot be written, or not be read."""


class Checkpoints:
    """The checkpoints of one run; making this restores the newest, if there is one.

    Args:
        state: all that training must remember.
        iteration: counts iterations; part of the state.
        folder: where they lie; every worker reads it.
        is_writer: whether this process writes them.

    Raises:
        CheckpointError: the newest is damaged, or of another model.
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
            state.restore(path).assert_consumed()
        except (ValueError, AssertionError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"{path} cannot be restored ({_first_line(error)}): it is damaged, or of another model than config.yaml says; "
                f"name an older one in {folder / 'checkpoint'}, or remove {folder} to begin anew"
            ) from error

    @property
    def newest(self) -> str:
        """The name of the newest checkpoint, 'no checkpoint' if there is none."""
        path = self._manager.latest_checkpoint
        return "no checkpoint" if path is None else Path(path).name

    def next_iteration(self, done: int, end: int) -> int:
        """The next iteration behind which one is due, however little time has passed; `end` at the latest."""
        every = self._config.every_iterations
        return end if every is None else min(end, (done // every + 1) * every)

    def save_if_due(self) -> None:
        """Writes one if the iterations or the minutes say so."""
        every = self._config.every_iterations
        is_due = every is not None and int(self._iteration) % every == 0
        if is_due or time.monotonic() - self._saved_at > 60 * self._config.every_min:
            self.save()

    def save(self) -> None:
        """Writes one.

        Raises:
            CheckpointError: it cannot be written; the one before is as it was.
        """
        if self._is_writer:
            try:
                self._manager.save(checkpoint_number=self._iteration, options=_DURABLE)
                atomic.fsync(self._folder / "checkpoint")
                atomic.fsync(self._folder)
            except (OSError, tf.errors.OpError) as error:
                raise CheckpointError(
                    f"no checkpoint can be written to {self._folder} ({_first_line(error)}); {self.newest} is kept: "
                    "make room and start it again"
                ) from error
        self._saved_at = time.monotonic()


def _fsync_files(prefix: str) -> None:
    path = Path(prefix)
    for each in [*path.parent.glob(f"{path.name}.*"), path.parent]:
        atomic.fsync(each)


# TensorFlow calls this before it swaps the pointer, so that a node that loses its power leaves none to half a checkpoint.
_DURABLE = tf.train.CheckpointOptions(experimental_write_callbacks=[_fsync_files])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
