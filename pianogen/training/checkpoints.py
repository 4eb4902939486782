"""Checkpoints of a run: written completely and fsynced before the pointer names them; the last few are kept.

The pointer is the small file `checkpoint` with the name of the newest one, which `tf.train.latest_checkpoint` reads. If it is
damaged, or names a damaged checkpoint, the newest intact checkpoint is restored: TensorFlow verifies the checksums of all tensors
that it reads.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import keras
import tensorflow as tf

from pianogen import atomic
from pianogen.config import CheckpointConfig
from pianogen.errors import PianogenError
from pianogen.training.run_files import first_line, write_with_retries

_PREFIX, _POINTER = "ckpt", "checkpoint"
_FIRST = f"{_PREFIX}-0"
_PART_OF_FIRST = re.compile(rf"{_FIRST}\D")
_PART = re.compile(rf"{_PREFIX}-(\d+)\D")
_INDEX_FILE = re.compile(rf"({_PREFIX}-(\d+))\.index")
_IN_THE_WAY = (tf.errors.FailedPreconditionError, tf.errors.AlreadyExistsError)  # a file with the name of a folder
# Of damaged files and of other models, as TensorFlow's functions raise them.
_RESTORE_ERRORS = (ValueError, AssertionError, LookupError, RuntimeError, tf.errors.OpError)
_log = logging.getLogger(__name__)


class CheckpointError(PianogenError):
    """A checkpoint cannot be written or restored."""


def variables_of(model: keras.Model) -> list[tf.Variable]:
    """All variables of a model, for a tf.train.Checkpoint; without this, it would miss layers that are kept in a list."""
    return [weight.value for weight in model.weights]


def find_checkpoints(folder: Path) -> list[str]:
    """The names of the checkpoints in a folder: first the one that the pointer names, then the others, the newest first."""
    numbers = _numbers(folder)
    current = _read_pointer(folder)
    return sorted(numbers, key=lambda name: (name != current, -numbers[name]))


def _numbers(folder: Path) -> dict[str, int]:
    """The iterations of the checkpoints in a folder, by name."""
    return {match[1]: int(match[2]) for path in folder.glob("*.index") if (match := _INDEX_FILE.fullmatch(path.name))}


def _read_pointer(folder: Path) -> str | None:
    """The name in the pointer; None if there is no pointer or it is damaged."""
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except (ValueError, tf.errors.OpError):  # TensorFlow itself ignores only some kinds of damage
        return None
    return Path(state.model_checkpoint_path).name if state else None


class Checkpoints:
    """The checkpoints of a run; the constructor restores the newest intact one, if there is one.

    Args:
        state: everything that training needs to resume.
        iteration: number of completed iterations; part of the state.
        folder: the folder of the checkpoints, which every worker must be able to read.
        is_writer: whether this process writes the checkpoints.

    Attributes:
        newest: the name of the newest checkpoint; None before the first one is written.

    Raises:
        CheckpointError: there are checkpoints, but all are damaged or belong to a different model.
    """

    def __init__(
        self, state: tf.train.Checkpoint, iteration: tf.Variable, folder: Path, config: CheckpointConfig, is_writer: bool
    ) -> None:
        self._state, self._iteration, self._folder, self._config = state, iteration, folder, config
        self._saved_at = time.monotonic()
        self.newest = self._restore()
        self._is_writer = is_writer
        if is_writer:
            atomic.remove_leftovers(folder / _POINTER)
            if self.newest is not None and _read_pointer(folder) != self.newest:
                self._point_to(self.newest)

    def _restore(self) -> str | None:
        """Restores the newest intact checkpoint and returns its name; None if no iteration has a checkpoint.

        The latter is the case if no checkpoint was written, or only a part of the first one, before the first iteration.
        """
        if not self._folder.is_dir():
            return None
        failures: dict[str, Exception] = {}
        # One descriptor for all: after a failure TensorFlow still reads parts of the damaged checkpoint.
        with without_brackets(self._folder) as folder:
            for name in find_checkpoints(self._folder):
                try:
                    self._state.read(str(folder / name)).assert_consumed()
                except _RESTORE_ERRORS as error:
                    failures[name] = error
                    _log.warning("cannot restore checkpoint %s (%s)", self._folder / name, first_line(error))
                    continue
                if failures:
                    _log.warning("resuming from %s, the newest intact checkpoint", self._folder / name)
                return name
        failures.pop(_FIRST, None)
        if failures:
            name, failure = next(iter(failures.items()))
            raise CheckpointError(
                f"cannot restore checkpoint {self._folder / name} ({first_line(failure)}), nor an older one: they are damaged, "
                f"or the model in config.yaml is a different one; restore the files from a backup. {self._restart}"
            ) from failure
        names = sorted(path.name for path in self._folder.glob("*"))
        remains = [name for name in names if name.startswith((_PREFIX, "checkpoint")) and not _PART_OF_FIRST.match(name)]
        if remains:
            raise CheckpointError(
                f"{self._folder} has {', '.join(remains[:3])} but no complete checkpoint: its .index and .data files are "
                f"missing; restore the files from a backup. {self._restart}"
            )
        return None

    @property
    def _restart(self) -> str:
        return f"To start from iteration 0, remove {self._folder} and metrics.csv"

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
        """Writes a checkpoint, and retries for `retry_min` minutes.

        Raises:
            CheckpointError: the checkpoint cannot be written; the previous one is unchanged.
        """
        name = f"{_PREFIX}-{int(self._iteration)}"
        if self._is_writer:
            path = self._folder / name
            try:
                write_with_retries(partial(self._write, name), path, self._config.retry_min)
            except OSError as error:
                kept = f"; the last one, {self.newest}, is kept" if self.newest else ""
                raise CheckpointError(
                    f"cannot write a checkpoint to {path} ({first_line(error)}){kept}: free disk space and submit the run again"
                ) from error
        self.newest, self._saved_at = name, time.monotonic()

    def _write(self, name: str) -> None:
        path = self._folder / name
        try:
            self._state.write(str(path))
        except _IN_THE_WAY as error:
            raise FileExistsError(first_line(error)) from error
        except tf.errors.OpError as error:
            raise OSError(first_line(error)) from error
        # Before the pointer: after a power failure it names no incomplete checkpoint.
        for file in [*self._folder.glob(f"{name}.*"), self._folder]:
            atomic.fsync(file)
        self._point_to(name)
        self._remove_others(int(self._iteration))

    def _point_to(self, name: str) -> None:
        # Without the path of the folder: in a copy of the run, the pointer names the checkpoint of the copy.
        atomic.write_text(self._folder / _POINTER, f'model_checkpoint_path: "{name}"\n')

    def _remove_others(self, newest: int) -> None:
        """Removes all checkpoints but the last `keep`, and what killed attempts have left of others."""
        numbers = sorted((number for number in _numbers(self._folder).values() if number <= newest), reverse=True)
        kept = set(numbers[: self._config.keep])
        # In reverse order, the index of a checkpoint comes first: without it, nothing restores the rest.
        for path in sorted(self._folder.glob(f"{_PREFIX}-*"), reverse=True):
            match = _PART.match(path.name)
            if match and int(match[1]) not in kept:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextmanager
def without_brackets(folder: Path) -> Iterator[Path]:
    """A folder of checkpoints by its open descriptor: TensorFlow reads a path as a pattern in which [ab] is one letter."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path("/proc/self/fd", str(descriptor))
    finally:
        os.close(descriptor)
