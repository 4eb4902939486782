"""Windows whose every row is predicted start at other steps in each epoch, and do not overlap within an epoch."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pianogen.config import DataConfig
from pianogen.data import pool
from pianogen.data.train_split import WindowError
from pianogen.data.windows import Windows, evaluation_batches, find_windows, training_batches
from pianogen.roll import DEFAULT_TEMPO_US
from pianogen.store import Split, Store
from tests.support.made_music import made_store, numbered_store

deterministic = settings(max_examples=12, deadline=None, derandomize=True)
lengths = st.lists(st.integers(1, 60), min_size=1, max_size=8)
ROW_MB = 27 / 1e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "BLOCK_BYTES", 20_000)
        yield


def numbered(folder: Path, steps: list[int], window_steps: int, stride: int | None = None) -> Windows:
    """Windows over pieces whose tempo numbers the rows: 1000 * (piece + 1) + row."""
    store = Store(numbered_store(folder / "numbered.h5", steps))
    config = DataConfig(window_steps=window_steps, stride=stride)
    return replace(find_windows(store, Split.TRAIN, config, every_row=True), memory_mb=20)


def in_small_pools(windows: Windows) -> Windows:
    """The same windows with the smallest memory limit: two copies of the longest piece."""
    return replace(windows, memory_mb=2 * int(windows.steps.max()) * ROW_MB + 1e-9)


def tempos(windows: Windows, epochs: int, seed: int) -> list[list[tuple[int, ...]]]:
    """The tempos of every window of each epoch."""
    batches = training_batches(windows, len(windows), seed).take(epochs).as_numpy_iterator()
    return [[tuple(row) for row in batch.tempo_us.tolist()] for batch in batches]


def rows_of(piece: int, step: int, window_steps: int) -> tuple[int, ...]:
    """The tempos of the window that predicts rows from a step of a numbered piece on."""
    numbers = range(1000 * (piece + 1) + step, 1000 * (piece + 1) + step + window_steps)
    return (DEFAULT_TEMPO_US if step == 0 else numbers[0] - 1, *numbers)


@deterministic
@given(steps=lengths, window_steps=st.integers(1, 9), seed=st.integers(0, 3), in_pools=st.booleans())
def test_windows_of_an_epoch_follow_one_another_from_a_phase(
    folder: Path, steps: list[int], window_steps: int, seed: int, in_pools: bool
) -> None:
    windows = numbered(folder, steps, window_steps)
    assert [count > 0 for count in windows.num_windows] == [count >= window_steps for count in steps]
    assume(len(windows))
    for epoch in tempos(in_small_pools(windows) if in_pools else windows, 3, seed):
        for piece, num_steps in enumerate(steps):
            starts = sorted(row[1] % 1000 for row in epoch if row[1] // 1000 == piece + 1)
            assert len(starts) == windows.num_windows[piece]
            assert all(after - before == window_steps for before, after in pairwise(starts))
            assert all(0 <= start <= num_steps - window_steps for start in starts)
            assert {rows_of(piece, start, window_steps) for start in starts} <= set(epoch)


@deterministic
@given(steps=lengths, window_steps=st.integers(1, 9), seed=st.integers(0, 3))
def test_phases_do_not_depend_on_pools(folder: Path, steps: list[int], window_steps: int, seed: int) -> None:
    windows = numbered(folder, steps, window_steps)
    assume(len(windows))
    epochs = zip(tempos(windows, 3, seed), tempos(in_small_pools(windows), 3, seed), strict=True)
    assert all(sorted(epoch) == sorted(other) for epoch, other in epochs)


@pytest.mark.parametrize(("num_steps", "num_windows", "num_phases"), [(8, 1, 1), (15, 1, 8), (16, 1, 9), (23, 2, 8), (30, 2, 15)])
def test_phases_are_uniform_and_reach_every_row(folder: Path, num_steps: int, num_windows: int, num_phases: int) -> None:
    windows = numbered(folder, [40, num_steps], 8)
    starts = [sorted(row[1] - 2000 for row in epoch if row[1] >= 2000) for epoch in tempos(windows, 1_500, 5)]
    assert {len(epoch) for epoch in starts} == {num_windows}
    counts = Counter(epoch[0] for epoch in starts)
    assert sorted(counts) == list(range(num_phases))
    assert all(abs(count * num_phases / 1_500 - 1) < 0.35 for count in counts.values())
    predicted = {start + row for epoch in starts for start in epoch for row in range(8)}
    assert predicted == set(range(num_steps))
    consecutive = [(epoch[0], following[0]) for epoch, following in pairwise(starts)]
    assert num_phases == 1 or abs(np.corrcoef(np.transpose(consecutive))[0, 1]) < 0.1


def test_seeds_and_pieces_have_different_phases(folder: Path) -> None:
    windows = numbered(folder, [100] * 8, 30)
    epochs_of_seeds = [tempos(windows, 20, seed) for seed in (1, 2)]
    phases = [
        [min(row[1] % 1000 for row in epoch if row[1] // 1000 == piece + 1) for epoch in epochs]
        for epochs in epochs_of_seeds
        for piece in range(8)
    ]
    assert len({tuple(row) for row in phases}) == 16


@deterministic
@given(steps=lengths, window_steps=st.integers(1, 9), stride=st.integers(1, 12))
def test_explicit_stride_gives_the_same_windows_from_step_0_in_each_epoch(
    folder: Path, steps: list[int], window_steps: int, stride: int
) -> None:
    windows = numbered(folder, steps, window_steps, stride)
    expected = [
        rows_of(piece, step, window_steps)
        for piece, num_steps in enumerate(steps)
        for step in range(0, num_steps - window_steps + 1, stride)
    ]
    evaluated = [tuple(row) for batch in evaluation_batches(windows, 7).as_numpy_iterator() for row in batch.tempo_us.tolist()]
    assert evaluated == expected
    assume(expected)
    assert [sorted(epoch) for epoch in tempos(windows, 2, 3)] == [sorted(expected)] * 2


def test_row_before_a_piece_is_silent(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN] * 2)) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=20, stride=20, transpose=6), every_row=True)
        for batches in (evaluation_batches(windows, 100), training_batches(windows, len(windows), 0)):
            batch = next(batches.as_numpy_iterator())
            is_start = batch.tempo_us[:, 0] == DEFAULT_TEMPO_US
            assert is_start.sum() == 2
            assert not batch.packed[is_start, 0].any()
            assert batch.packed[~is_start, 0].any()


def test_piece_of_one_window_is_enough_for_training(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN], steps=64)) as store:
        assert len(find_windows(store, Split.TRAIN, DataConfig(window_steps=64), every_row=True)) == 1
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=65), every_row=True)
        with pytest.raises(WindowError, match="65 steps of a window"):
            training_batches(windows, 8, 0)
