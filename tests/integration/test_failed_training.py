"""Failures of training keep the last checkpoint and state their cause."""

import signal
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from jobs.records.run_directory import Run
from pianogen import yaml_files
from pianogen.store import Split
from pianogen.training.iterations import failure_cause
from tests.support.made_music import made_store
from tests.support.processes import ENVIRONMENT, finished, wait_until
from tests.support.runs import SETTINGS, attempt, copy_of, iteration_of, prepare, state_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("store") / "corpus.h5", [Split.TRAIN] * 4 + [Split.VALID], steps=150)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Run:
    """A run whose attempt received a shutdown signal after its first checkpoint; tests take a copy."""
    checkpoints = {"every_iterations": 9, "retry_min": 0}
    run = prepare(tmp_path_factory.mktemp("interrupted") / "sweep", store, checkpoints=checkpoints)
    process = subprocess.Popen(attempt(run), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: iteration_of(run) > 0 or process.poll() is not None, "a checkpoint")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3
    return run


def test_full_disk_keeps_the_last_checkpoint(tmp_path: Path, interrupted: Run) -> None:
    """A limit on the size of files has the effect of a full disk: the same calls fail."""
    run = copy_of(interrupted, tmp_path)
    iteration = iteration_of(run)
    assert finished(["prlimit", "--fsize=100000", *attempt(run)]).returncode == 1
    state, reason = state_of(run)
    assert state == "failed"
    assert "cannot write a checkpoint" in reason
    assert f"ckpt-{iteration}, is kept: free disk space" in reason
    assert iteration_of(run) == iteration
    assert finished(attempt(run)).returncode == 0
    assert state_of(run) == ("done", "")


def test_checkpoint_of_a_different_model_is_refused_and_kept(tmp_path: Path, interrupted: Run) -> None:
    run = copy_of(interrupted, tmp_path)
    iteration = iteration_of(run)
    other = SETTINGS | {"model": {"units": 9}}
    (run.path / "config.yaml").write_text(yaml_files.dump_yaml(other))
    assert finished(attempt(run)).returncode == 1
    assert "cannot restore checkpoint" in state_of(run)[1]
    assert "the model in config.yaml is a different one" in state_of(run)[1]
    assert iteration_of(run) == iteration


def test_cause_of_a_failed_allocation_is_out_of_memory() -> None:
    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def allocate(steps: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.random.normal([steps, steps]))

    with pytest.raises(tf.errors.OpError) as caught:
        allocate(tf.constant(1 << 22))
    assert failure_cause(caught.value).startswith("out of memory (OOM when allocating tensor with shape[4194304,4194304]")
