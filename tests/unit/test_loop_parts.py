"""The parts of the training loop: call length, agreement between workers, early stopping and the metrics history."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.training.agreement import Message
from pianogen.training.call_length import CallLength
from pianogen.training.early_stopping import EarlyStopping
from pianogen.training.history import History, HistoryError, read_history


def lengths_at(iterations_per_s: float, num_calls: int) -> list[int]:
    """The lengths of consecutive calls at a constant speed."""
    call_length, lengths, previous_call_s = CallLength(), [], 0.0
    for _ in range(num_calls):
        num_iterations = call_length.max_iterations
        lengths.append(num_iterations)
        call_length.update(num_iterations, previous_call_s)
        previous_call_s = num_iterations / iterations_per_s
    return lengths


@pytest.mark.parametrize(
    ("iterations_per_s", "lengths"),
    [(0.5, [8, 8, 1, 1, 1, 1]), (20, [8, 8, 16, 20, 20, 20]), (1e6, [8, 8, 16, 32, 64, 128, 200, 200])],
)
def test_call_length_approaches_a_second_and_is_limited(iterations_per_s: float, lengths: list[int]) -> None:
    assert lengths_at(iterations_per_s, len(lengths)) == lengths


@settings(max_examples=30, deadline=None, derandomize=True)
@given(flags=st.lists(st.booleans(), min_size=1, max_size=4), replicas=st.integers(1, 4), call_s=st.floats(0, 60, width=32))
def test_shutdown_of_one_worker_is_a_shutdown_of_all(flags: list[bool], replicas: int, call_s: float) -> None:
    """Each replica of a worker contributes the message of its worker to the sum."""
    messages = [Message(flag, call_s).to_tensor() for flag in flags for _ in range(replicas)]
    combined = Message.from_sum(tf.add_n(messages), len(messages))
    assert combined.shutdown_requested == any(flags)
    assert combined.last_call_s == pytest.approx(call_s, rel=1e-5)


def model_with_weight() -> keras.Model:
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])


def train_epochs(early_stopping: EarlyStopping, model: keras.Model, losses: list[float]) -> int:
    """Sets the weight of each epoch to its number, from 1; returns the number of epochs until training stops."""
    for epoch, loss in enumerate(losses, start=1):
        model.set_weights([np.array([[epoch]], np.float32)])
        early_stopping.update(loss)
        if early_stopping.should_stop:
            return epoch
    return len(losses)


@pytest.mark.parametrize(
    ("patience", "losses", "epochs", "best_epoch"),
    [
        (None, [3.0, 4.0, 5.0], 3, 3),
        (2, [3.0, 2.0, 1.0], 3, 3),
        (2, [3.0, 2.0, 2.5, 2.0, 1.0], 4, 2),
        (1, [3.0, float("nan"), 1.0], 2, 1),
        (3, [3.0, 4.0, 2.0, 5.0, 5.0], 5, 3),
    ],
)
def test_early_stopping_restores_the_best_weights(
    patience: int | None, losses: list[float], epochs: int, best_epoch: int
) -> None:
    model = model_with_weight()
    early_stopping = EarlyStopping(patience, model)
    assert train_epochs(early_stopping, model, losses) == epochs
    early_stopping.restore_best_weights()
    assert model.get_weights()[0].item() == best_epoch


def test_early_stopping_resumes_from_a_checkpoint(tmp_path: Path) -> None:
    model = model_with_weight()
    early_stopping = EarlyStopping(3, model)
    train_epochs(early_stopping, model, [1.0, 2.0, 2.0])
    path = tf.train.Checkpoint(model=model, **early_stopping.state).save(str(tmp_path / "c"))
    resumed_model = model_with_weight()
    resumed = EarlyStopping(3, resumed_model)
    tf.train.Checkpoint(model=resumed_model, **resumed.state).restore(path).assert_consumed()
    assert train_epochs(resumed, resumed_model, [2.0, 2.0]) == 1
    resumed.restore_best_weights()
    assert resumed_model.get_weights()[0].item() == 1


def test_rows_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    history = History(path, last_epoch_end=0)
    for epoch in (1, 2, 3):
        history.append({"epoch": epoch, "iteration": 10 * epoch, "loss": 1 / epoch})
    resumed = History(path, last_epoch_end=20)
    assert resumed.rows == history.rows[:2]
    resumed.append({"epoch": 3, "iteration": 30, "loss": 0.25})
    assert [row["loss"] for row in read_history(path)] == [1.0, 0.5, 0.25]
    assert path.read_text().splitlines()[0] == "epoch,iteration,loss"


def test_rows_without_a_checkpoint_are_refused(tmp_path: Path) -> None:
    """A run would start from iteration 0 and overwrite them."""
    path = tmp_path / "metrics.csv"
    assert History(path, last_epoch_end=None).rows == []
    History(path, last_epoch_end=0).append({"epoch": 1, "iteration": 10, "loss": 1.0})
    with pytest.raises(HistoryError, match=r"metrics\.csv has 1 epoch, but .*checkpoints has no checkpoint"):
        History(path, last_epoch_end=None)


@pytest.mark.parametrize("content", [b"", bytes(60), b"epoch,iteration,loss\n1,10\n", b"\xff\xfe\n1,2\n", b"loss\n0.5\n"])
def test_damaged_metrics_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=r"metrics\.csv cannot be read .*: it is damaged; restore the file"):
        History(path, last_epoch_end=20)


def test_metrics_that_are_not_a_file_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder" / "metrics.csv").mkdir(parents=True)
    (tmp_path / "metrics.csv").symlink_to("moved")
    for path in (tmp_path / "folder" / "metrics.csv", tmp_path / "metrics.csv"):
        with pytest.raises(HistoryError, match=r"metrics\.csv cannot be read"):
            read_history(path)


def test_missing_row_of_a_completed_epoch_is_refused(tmp_path: Path) -> None:
    history = History(tmp_path / "metrics.csv", last_epoch_end=0)
    history.append({"epoch": 1, "iteration": 10, "loss": 1.0})
    resumed = History(tmp_path / "metrics.csv", last_epoch_end=20)
    with pytest.raises(HistoryError, match="has 1 epoch until iteration 20, and the checkpoint requires 2"):
        resumed.check_complete(20, [10, 20, 30])
    resumed.check_complete(10, [10, 20])
