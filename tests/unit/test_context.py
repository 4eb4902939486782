"""Windows, their contexts and chunks of pieces equal what follows from the definitions, one number after another."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.pieces import piece_chunks
from pianogen.data.shuffle import permute
from pianogen.data.windows import Windows, evaluation_batches, find_windows, training_batches
from pianogen.roll import HOLD, NUM_KEYS, ONSET, Roll, pack
from pianogen.store import Split, Store
from pianogen.window import Context, Window
from tests.support.made_music import numbered_tempos, random_roll, repetitive_roll, store_of
from tests.support.rolls import roll_in_4_4
from tests.support.window_oracle import PieceOracle, possible_semitones

WINDOW_STEPS = 7


def long_note(piece: int) -> Roll:
    """A note of 300 steps, and then a short one on the highest key."""
    states = np.zeros((330, NUM_KEYS), np.uint8)
    states[0, 0], states[1:300, 0], states[302, NUM_KEYS - 1] = ONSET, HOLD, ONSET
    return roll_in_4_4(pack(states), numbered_tempos(piece, len(states)))


def pieces() -> list[Roll]:
    music = [repetitive_roll(seed, seed, num) for seed, num in enumerate((8, 12, 1, 20))]
    return [*music, random_roll(4, 4, 60), random_roll(5, 5, 5), random_roll(6, 6, 33), long_note(7)]


@pytest.fixture(scope="module")
def rolls() -> list[Roll]:
    return pieces()


@pytest.fixture(scope="module")
def oracles(rolls: list[Roll]) -> list[PieceOracle]:
    return [PieceOracle(roll) for roll in rolls]


@pytest.fixture(scope="module")
def store(rolls: list[Roll], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(store_of(tmp_path_factory.mktemp("context") / "c.h5", rolls, [Split.TRAIN] * len(rolls))) as store:
        yield store


def windows_of(store: Store, every_row: bool = True, **settings: Any) -> Windows:
    config = DataConfig(window_steps=WINDOW_STEPS, **settings)
    return find_windows(store, Split.TRAIN, config, every_row=every_row, context=True)


def separate(batch: Window) -> Iterator[Window]:
    """The windows of a batch, without the batch axis."""
    for i in range(len(batch.packed)):
        yield Window(batch.packed[i], batch.tempo_us[i], batch.bar_position[i], Context(*(field[i] for field in batch.context)))


def place_of(window: Window) -> tuple[int, int]:
    """The piece of a window, from its tempos, and the step of its first predicted row."""
    tempo_us = int(window.tempo_us[1])
    return tempo_us // 1000 - 1, tempo_us % 1000


def streamed(windows: Windows, batch: int, seed: int, num_batches: int) -> list[Window]:
    return list(training_batches(windows, batch, seed).take(num_batches).as_numpy_iterator())


def assert_equal(window: Window, expected: Window) -> None:
    assert np.array_equal(window.packed, expected.packed)
    assert np.array_equal(window.tempo_us, expected.tempo_us)
    assert np.array_equal(window.bar_position, expected.bar_position)
    for name in Context._fields:
        actual = getattr(window.context, name)
        np.testing.assert_allclose(actual, getattr(expected.context, name), rtol=1e-6, atol=1e-12, err_msg=name)


def assert_specified(batch: Window, num_rows: int) -> None:
    """Checks the shapes and types that `pianogen.window` specifies."""
    count = len(batch.packed)
    shapes = [(num_rows, 22), (num_rows,), (num_rows,), (NUM_KEYS,), (NUM_KEYS,), (3, 12)]
    assert [field.shape for field in batch.context] == [(count,)] * 3 + [(count, *shape) for shape in shapes]
    assert [str(field.dtype) for field in batch.context] == [
        *["int32"] * 3,
        "uint8",
        "int32",
        "int32",
        "uint8",
        "uint8",
        "float32",
    ]


@pytest.mark.parametrize("every_row", [True, False])
def test_context_follows_from_the_definitions(store: Store, oracles: list[PieceOracle], every_row: bool) -> None:
    windows = windows_of(store, every_row, stride=2)
    places = []
    for batch in evaluation_batches(windows, 50).as_numpy_iterator():
        assert_specified(batch, WINDOW_STEPS)
        for window in separate(batch):
            piece, step = place_of(window)
            assert_equal(window, oracles[piece].window(step, WINDOW_STEPS))
            places.append((piece, step))
    assert len(places) == len(set(places)) == len(windows)
    assert min(places) == (0, 0 if every_row else 1)


@pytest.mark.parametrize("memory_mb", [20, 2 * 330 * 37 / 1e6 + 1e-9])
def test_transposition_moves_the_window_and_its_context(store: Store, oracles: list[PieceOracle], memory_mb: float) -> None:
    windows = replace(windows_of(store, transpose=11), memory_mb=memory_mb)
    all_semitones = set()
    for batch in streamed(windows, 20, 3, 3 * len(windows) // 20):
        assert_specified(batch, WINDOW_STEPS)
        assert isinstance(batch.context, Context)
        for window, semitones in zip(separate(batch), batch.context.semitones.tolist(), strict=True):
            piece, step = place_of(window)
            assert_equal(window, oracles[piece].window(step, WINDOW_STEPS, semitones))
            all_semitones.add(semitones)
    assert all_semitones == set(range(-11, 12))


@pytest.mark.parametrize("context", [True, False])
def test_keys_of_the_window_and_its_matches_stay_on_the_keyboard(store: Store, oracles: list[PieceOracle], context: bool) -> None:
    ordered = evaluation_batches(windows_of(store, stride=3), 64).as_numpy_iterator()
    in_order = [place_of(window) for batch in ordered for window in separate(batch)]
    windows, count, seed, epoch = windows_of(store, stride=3, transpose=5), len(in_order), 9, tf.constant(0, tf.int64)
    index = permute(tf.range(count, dtype=tf.int64), count, seed, epoch, 0)
    random = permute(index, 1 << 32, seed, epoch, (1 << 32) - 1).numpy().tolist()
    (batch,) = streamed(replace(windows, context=context), count, seed, 1)
    for i, (piece, step) in enumerate(in_order[window] for window in index.numpy()):
        possible = possible_semitones(oracles[piece].keys(step, WINDOW_STEPS, with_matches=context), 5)
        semitones = possible[random[i] * len(possible) >> 32]
        assert np.array_equal(batch.packed[i], oracles[piece].window(step, WINDOW_STEPS, semitones).packed)


@pytest.mark.parametrize(("batch", "chunk_steps"), [(1, 400), (3, 16), (5, 1), (12, 50)])
def test_chunks_contain_every_row_of_every_piece_once(
    store: Store, rolls: list[Roll], oracles: list[PieceOracle], batch: int, chunk_steps: int
) -> None:
    seen: list[tuple[int, int]] = []
    step, batch_pieces = 0, np.zeros(0, np.int64)
    for chunk in piece_chunks(windows_of(store), batch, chunk_steps):
        assert_specified(chunk.window, chunk_steps)
        assert chunk.window.packed.shape == (batch, chunk_steps + 1, 22)
        assert chunk.is_row.shape == (batch, chunk_steps)
        if chunk.is_start:
            step, batch_pieces = 0, chunk.window.tempo_us[:, 1] // 1000 - 1
        for window, is_row, piece in zip(separate(chunk.window), chunk.is_row, batch_pieces.tolist(), strict=True):
            assert_equal(window, oracles[piece].window(step, chunk_steps))
            seen += [(piece, step + row) for row in np.flatnonzero(is_row).tolist()]
        step += chunk_steps
    assert sorted(seen) == [(piece, step) for piece, roll in enumerate(rolls) for step in range(len(roll))]


def test_chunks_are_those_of_pieces_of_similar_length(store: Store, rolls: list[Roll]) -> None:
    lengths = sorted(map(len, rolls))
    num_chunks = [-(-max(lengths[first : first + 3]) // 16) for first in range(0, len(lengths), 3)]
    chunks = list(piece_chunks(find_windows(store, Split.TRAIN, DataConfig()), 3, 16))
    assert [chunk.is_start for chunk in chunks] == [step == 0 for num in num_chunks for step in range(num)]
    assert {chunk.window.context for chunk in chunks} == {()}


def test_split_without_pieces_has_no_chunks(store: Store) -> None:
    assert list(piece_chunks(find_windows(store, Split.VALID, DataConfig()), 4, 16)) == []


def test_windows_without_context_have_the_same_rows(store: Store) -> None:
    windows = windows_of(store)
    without_context = streamed(replace(windows, context=False), 8, 1, 20)
    for batch, other in zip(streamed(windows, 8, 1, 20), without_context, strict=True):
        assert np.array_equal(batch.packed, other.packed)
        assert np.array_equal(batch.tempo_us, other.tempo_us)
        assert other.context == ()
