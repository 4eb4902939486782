"""The order of windows is arithmetic; the stream is that order."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_music import made_roll, made_store

from pianogen.config import DataConfig
from pianogen.roll import Roll
from pianogen.store import Split, Store
from pianogen.windows import WindowError, Windows, evaluation_batches, read_windows, training_batches


def numbered(steps: list[int], window_steps: int, stride: int) -> Windows:
    """Windows over pieces whose tempo numbers the rows: piece * 1000 + row."""
    tempo_us = np.concatenate([1000 * (piece + 1) + np.arange(count) for piece, count in enumerate(steps)])
    lengths = np.array(steps, np.int64)
    return Windows(
        rows=Roll(np.zeros((len(tempo_us), 22), np.uint8), tempo_us.astype(np.uint32)),
        first_row=np.cumsum(lengths) - lengths,
        num_windows=np.maximum(0, (lengths - window_steps - 1) // stride + 1),
        window_steps=window_steps,
        stride=stride,
    )


def expected(steps: list[int], window_steps: int, stride: int) -> list[tuple[int, ...]]:
    """Every window, listed plainly."""
    return [
        tuple(range(1000 * (piece + 1) + first, 1000 * (piece + 1) + first + window_steps + 1))
        for piece, count in enumerate(steps)
        for first in range(0, count - window_steps, stride)
    ]


sizes = st.tuples(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 8), st.integers(1, 5))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(sizes, st.integers(1, 7), st.integers(0, 3))
def test_every_window_once_per_epoch(size: tuple[list[int], int, int], batch: int, seed: int) -> None:
    windows, wanted = numbered(*size), expected(*size)
    assert len(windows) == len(wanted)
    if not wanted:
        return
    num_batches = -(-2 * len(wanted) // batch)
    stream = training_batches(windows, batch, seed).take(num_batches)
    drawn = [tuple(row) for _, tempo_us in stream.as_numpy_iterator() for row in tempo_us.tolist()]
    assert sorted(drawn[: len(wanted)]) == sorted(wanted)
    assert sorted(drawn[len(wanted) : 2 * len(wanted)]) == sorted(wanted)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(sizes, st.integers(1, 7))
def test_evaluation_sees_every_window_once_in_order(size: tuple[list[int], int, int], batch: int) -> None:
    stream = evaluation_batches(numbered(*size), batch)
    assert [tuple(row) for _, tempo_us in stream.as_numpy_iterator() for row in tempo_us.tolist()] == expected(*size)


def test_stream_resumes_from_a_batch_number() -> None:
    windows = numbered([100, 90], 8, 1)
    whole = [tempo_us for _, tempo_us in training_batches(windows, 16, 5).take(30).as_numpy_iterator()]
    resumed = [tempo_us for _, tempo_us in training_batches(windows, 16, 5, first_batch=17).take(13).as_numpy_iterator()]
    assert np.array_equal(whole[17:], resumed)


def test_replicas_share_the_global_batch() -> None:
    windows = numbered([100, 90], 8, 1)
    whole = [tempo_us for _, tempo_us in training_batches(windows, 16, 5).take(20).as_numpy_iterator()]
    parts = [tempo_us for _, tempo_us in training_batches(windows, 4, 5).take(80).as_numpy_iterator()]
    assert np.array_equal(np.concatenate(whole), np.concatenate(parts))


def test_epochs_and_seeds_differ_in_order() -> None:
    windows = numbered([200], 8, 1)
    count = len(windows)
    first, second = ([row[0] for row in t.tolist()] for _, t in training_batches(windows, count, 1).take(2).as_numpy_iterator())
    other = next(iter(training_batches(windows, count, 2)))[1].numpy()[:, 0].tolist()
    assert sorted(first) == sorted(second) == sorted(other)
    assert len({tuple(first), tuple(second), tuple(other)}) == 3
    assert first != sorted(first)


def test_rows_are_those_of_the_store(tmp_path: Path) -> None:
    path = made_store(tmp_path / "c.h5", [Split.TRAIN, Split.VALID, Split.TRAIN, Split.TEST])
    with Store(path) as store:
        windows = read_windows(store, Split.TRAIN, DataConfig(window_steps=10))
    pieces = [made_roll(0, 120), made_roll(2, 122)]
    wanted = [piece.packed[first : first + 11].tobytes() for piece in pieces for first in range(len(piece) - 10)]
    assert [window.tobytes() for packed, _ in evaluation_batches(windows, 7).as_numpy_iterator() for window in packed] == wanted


def test_groups_choose_pieces(tmp_path: Path) -> None:
    path = made_store(tmp_path / "c.h5", [Split.TRAIN] * 4)
    with Store(path) as store:
        assert len(read_windows(store, Split.TRAIN, DataConfig(groups=("B",)))) == (121 - 64) + (123 - 64)
        with pytest.raises(WindowError, match=r"no group 'Bach'; there are: A, B"):
            read_windows(store, Split.TRAIN, DataConfig(groups=("Bach",)))


def test_pieces_shorter_than_a_window_are_told(tmp_path: Path) -> None:
    path = made_store(tmp_path / "c.h5", [Split.TRAIN], steps=64)
    with Store(path) as store, pytest.raises(WindowError, match="65 steps of a window"):
        training_batches(read_windows(store, Split.TRAIN, DataConfig()), 8, 0)
