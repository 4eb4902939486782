"""What stops a training, and that it costs no checkpoint."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from jobs.records.run_directory import Run
from pianogen import config
from pianogen.store import Split
from pianogen.training import loop
from tests.support.made_music import made_store
from tests.support.processes import ENVIRONMENT, finished, wait_until
from tests.support.runs import SETTINGS, attempt, iteration_of, prepare, state_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("store") / "corpus.h5", [Split.TRAIN] * 4 + [Split.VALID], steps=150)


def leave(run: Run) -> None:
    """An attempt that is told to leave after its first checkpoint."""
    process = subprocess.Popen(attempt(run), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: iteration_of(run) > 0 or process.poll() is not None, "a checkpoint")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3


def test_full_disk_costs_no_checkpoint(tmp_path: Path, store: Path) -> None:
    """A limit on the size of files stands for the disk: the error comes from the same calls."""
    run = prepare(tmp_path / "sweep", store)
    leave(run)
    kept = iteration_of(run)
    assert finished(["prlimit", "--fsize=100000", *attempt(run)]).returncode == 1
    state, reason = state_of(run)
    assert state == "failed"
    assert "no checkpoint can be written" in reason
    assert f"ckpt-{kept} is kept: make room" in reason
    assert iteration_of(run) == kept
    assert finished(attempt(run)).returncode == 0
    assert state_of(run) == ("done", "")


def test_checkpoint_of_another_model_is_refused_and_kept(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store)
    leave(run)
    kept = iteration_of(run)
    other = SETTINGS | {"model": {"units": 9}}
    (run.path / "config.yaml").write_text(config.dump_yaml(other))
    assert finished(attempt(run)).returncode == 1
    assert "cannot be restored" in state_of(run)[1]
    assert "of another model" in state_of(run)[1]
    assert iteration_of(run) == kept


def test_loss_that_is_no_number_stops_the_run_and_names_the_batch(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path / "sweep", store, training={"batch": 8, "epochs": 1, "learning_rate": 1e30})
    assert finished(attempt(run)).returncode == 1
    assert "the loss of batch 1, in epoch 1, is no number" in state_of(run)[1]


def test_cause_of_an_error_is_what_tensorflow_says_of_it_and_not_where() -> None:
    @tf.function
    def take_too_much(steps: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.random.normal([steps, steps]))

    with pytest.raises(tf.errors.OpError) as caught:
        take_too_much(tf.constant(1 << 22))
    assert loop._cause_of(caught.value).startswith("OOM when allocating tensor with shape[4194304,4194304]")


def test_local_copy_trains_the_same_and_leaves_nothing(tmp_path: Path, store: Path) -> None:
    training = {"batch": 8, "max_iterations": 20}
    near = tmp_path / "near"
    near.mkdir()
    runs = [prepare(tmp_path / str(copied), store, training=training, local_copy=copied) for copied in (False, True)]
    for run in runs:
        assert finished(attempt(run), TMPDIR=str(near)).returncode == 0
    results = [json.loads((run.path / "result.json").read_text()) for run in runs]
    assert results[0]["loss"] == results[1]["loss"]
    assert results[0]["samples"] == results[1]["samples"]
    assert list(near.iterdir()) == []
