"""Checkpoints survive a power failure, and are restored from any path."""

from pathlib import Path

import pytest
import tensorflow as tf

from pianogen import atomic
from pianogen.config import CheckpointConfig
from pianogen.training.checkpoints import Checkpoints


def test_checkpoint_files_are_fsynced_before_the_pointer_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    iteration = tf.Variable(0, dtype=tf.int64)
    state = tf.train.Checkpoint(iteration=iteration, weights=tf.Variable(tf.zeros(1_000)))
    checkpoints = Checkpoints(state, iteration, tmp_path, CheckpointConfig(), is_writer=True)
    fsync = atomic.fsync
    synced: list[tuple[str, str]] = []

    def record(path: Path) -> None:
        synced.append((path.name, checkpoints.newest))
        fsync(path)

    monkeypatch.setattr(atomic, "fsync", record)
    for number in (1, 2):
        iteration.assign(number)
        checkpoints.save()
    files = {"ckpt-2.index", "ckpt-2.data-00000-of-00001"}
    assert {name for name, newest in synced if newest == "ckpt-1" and name in files} == files
    assert ("checkpoint", "ckpt-2") in synced


def test_checkpoint_is_restored_below_a_path_with_brackets(tmp_path: Path) -> None:
    """TensorFlow would read the path as a pattern."""
    iteration = tf.Variable(7, dtype=tf.int64)
    folder = tmp_path / "exp[lr]" / "checkpoints"
    Checkpoints(tf.train.Checkpoint(iteration=iteration), iteration, folder, CheckpointConfig(), is_writer=True).save()
    iteration.assign(0)
    Checkpoints(tf.train.Checkpoint(iteration=iteration), iteration, folder, CheckpointConfig(), is_writer=True)
    assert int(iteration) == 7
