"""The order of windows is arithmetic; the stream is that order, whatever fits into memory and whoever takes part."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.config import DataConfig
from pianogen.data import pool
from pianogen.data import windows as windows_module
from pianogen.data.shuffle import permuted, pools_of_epoch
from pianogen.data.transposition import transposed
from pianogen.data.windows import WindowError, Windows, evaluation_batches, find_windows, training_batches
from pianogen.roll import NUM_KEYS, Roll
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store, numbered_store

exact = settings(max_examples=15, deadline=None, derandomize=True)
lengths = st.lists(st.integers(1, 60), min_size=1, max_size=8)
shapes = st.tuples(lengths, st.integers(1, 8), st.integers(1, 5))
ROW_MB = 26 / 1e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module", autouse=True)
def _gather_few_at_a_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_GATHERED_BYTES", 20_000)
        yield


@pytest.fixture(scope="module")
def music(folder: Path) -> Iterator[Windows]:
    """Six pieces of about 120 steps in several pools, moved by up to 11 semitones."""
    with Store(made_store(folder / "music.h5", [Split.TRAIN] * 6)) as store:
        found = find_windows(store, Split.TRAIN, DataConfig(window_steps=9, transpose=11))
        yield replace(found, memory_mb=2 * 260 * ROW_MB)


def numbered(folder: Path, steps: list[int], window_steps: int, stride: int = 1, memory_mb: float = 20) -> Windows:
    """Windows over pieces whose tempo numbers the rows: 1000 * (piece + 1) + row."""
    store = Store(numbered_store(folder / "numbered.h5", steps))
    found = find_windows(store, Split.TRAIN, DataConfig(window_steps=window_steps, stride=stride))
    return replace(found, memory_mb=memory_mb)


def pooled(windows: Windows) -> Windows:
    """With just the memory for the longest piece twice."""
    return replace(windows, memory_mb=2 * int(windows.steps.max()) * ROW_MB + 1e-9)


def expected(steps: list[int], window_steps: int, stride: int) -> list[tuple[int, ...]]:
    """Every window, listed plainly."""
    return [
        tuple(range(1000 * (piece + 1) + first, 1000 * (piece + 1) + first + window_steps + 1))
        for piece, count in enumerate(steps)
        for first in range(0, count - window_steps, stride)
    ]


def drawn(stream: tf.data.Dataset, num_batches: int) -> list[tuple[int, ...]]:
    return [tuple(row) for _, tempo_us in stream.take(num_batches).as_numpy_iterator() for row in tempo_us.tolist()]


def batches(stream: tf.data.Dataset, num_batches: int) -> list[tuple[bytes, bytes]]:
    return [(packed.tobytes(), tempo_us.tobytes()) for packed, tempo_us in stream.take(num_batches).as_numpy_iterator()]


@exact
@given(shape=shapes, batch=st.integers(1, 7), seed=st.integers(0, 3), in_pools=st.booleans())
def test_every_window_once_per_epoch(
    folder: Path, shape: tuple[list[int], int, int], batch: int, seed: int, in_pools: bool
) -> None:
    windows, wanted = numbered(folder, *shape), expected(*shape)
    assert len(windows) == len(wanted)
    if not wanted:
        return
    if in_pools:
        windows = pooled(windows)
    found = drawn(training_batches(windows, batch, seed), -(-3 * len(wanted) // batch))
    for epoch in range(3):
        assert sorted(found[epoch * len(wanted) : (epoch + 1) * len(wanted)]) == sorted(wanted)


@exact
@given(shape=shapes, batch=st.integers(1, 7), block_rows=st.integers(1, 100))
def test_evaluation_sees_every_window_once_in_order(
    folder: Path, shape: tuple[list[int], int, int], batch: int, block_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "_BLOCK_ROWS", block_rows)
        assert drawn(evaluation_batches(numbered(folder, *shape), batch), -1) == expected(*shape)


@exact
@given(steps=lengths, block_rows=st.integers(1, 100))
def test_blocks_are_whole_pieces_in_order(folder: Path, steps: list[int], block_rows: int) -> None:
    windows = numbered(folder, steps, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "_BLOCK_ROWS", block_rows)
        blocks = list(windows.blocks())
    assert all(len(roll) <= max(block_rows, *steps) for roll, _ in blocks)
    pieces = [part for roll, first in blocks for part in np.split(roll.tempo_us, first[1:])]
    assert [piece.tolist() for piece in pieces] == [[*range(1000 * i + 1000, 1000 * i + 1000 + n)] for i, n in enumerate(steps)]


@exact
@given(first_batch=st.integers(0, 120), batch=st.integers(1, 40), in_pools=st.booleans())
def test_resumed_stream_is_the_rest_of_the_whole(music: Windows, first_batch: int, batch: int, in_pools: bool) -> None:
    windows = music if in_pools else replace(music, memory_mb=20)
    whole = batches(training_batches(windows, batch, 5), first_batch + 9)
    assert batches(training_batches(windows, batch, 5, first_batch), 9) == whole[first_batch:]


def test_stream_resumes_after_a_trillion_batches(music: Windows) -> None:
    far = 10**12
    stream = batches(training_batches(music, 64, 5, far), 30)
    assert batches(training_batches(music, 64, 5, far + 20), 10) == stream[20:]


@settings(exact, max_examples=4)
@given(first_batch=st.integers(0, 40), part=st.integers(1, 9), in_pools=st.booleans())
def test_processes_share_the_same_global_batches(music: Windows, first_batch: int, part: int, in_pools: bool) -> None:
    windows = music if in_pools else replace(music, memory_mb=20)
    num_batches, batch = 25, 4 * part
    whole = drawn(training_batches(windows, batch, 5, first_batch), num_batches)
    for cuts in ([0, 4], [0, 2, 4], [0, 1, 2, 3, 4], [0, 1, 4]):
        processes = [range(*cut) for cut in itertools.pairwise(cuts)]
        streams = [
            iter(drawn(training_batches(windows, batch, 5, first_batch, 4, parts), num_batches * len(parts)))
            for parts in processes
        ]
        joined = [
            next(stream)
            for _ in range(num_batches)
            for parts, stream in zip(processes, streams, strict=True)
            for _ in range(len(parts) * part)
        ]
        assert joined == whole


def test_order_is_one_permutation_an_epoch_whatever_memory_it_fits(folder: Path) -> None:
    steps, seed = [50, 3, 70, 41], 7
    windows, wanted = numbered(folder, steps, 8), expected(steps, 8, 1)
    count = tf.constant(len(wanted), tf.int64)
    places = [permuted(tf.range(count), count, seed, tf.constant(epoch, tf.int64), 0).numpy() for epoch in range(3)]
    usable = sum(steps) - 3  # a piece without a window takes no memory
    for memory_mb in (usable * ROW_MB + 1e-9, 1, 2_000):
        found = drawn(training_batches(replace(windows, memory_mb=memory_mb), len(wanted), seed), 3)
        assert found == [wanted[index] for index in np.concatenate(places)]
    in_pools = drawn(training_batches(replace(windows, memory_mb=(usable - 1) * ROW_MB), len(wanted), seed), 3)
    assert in_pools != found


def test_order_stays_as_it_is(folder: Path) -> None:
    # A run resumes with a later version, or of NumPy and TensorFlow, only if all of them keep to this.
    windows = numbered(folder, [12, 10, 11], 8)
    one = "2001 2000 3001 1003 3000 1001 1002 3002 1000 1002 3000 1000 1001 2000 1003 3002 2001 3001"
    several = "2001 2000 3002 3000 3001 1003 1000 1001 1002 1002 1003 1000 1001 3002 3000 3001 2000 2001"
    for memory, order in ((windows, one), (pooled(windows), several)):
        assert " ".join(str(row[0]) for row in drawn(training_batches(memory, 9, 3), 2)) == order


def test_pools_are_of_whole_pieces_and_bounded() -> None:
    steps = np.random.default_rng(1).integers(1, 1000, 500)
    orders = []
    for epoch in range(3):
        pools = pools_of_epoch(steps, 10_000, 4, epoch)
        assert all(steps[chosen].sum() <= 10_000 and (np.diff(chosen) > 0).all() for chosen in pools)
        assert len(pools) <= steps.sum() / (10_000 - 1_000) + 1
        assert sorted(np.concatenate(pools).tolist()) == list(range(500))
        orders.append([chosen.tolist() for chosen in pools])
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("count", [1_000, 3_000_000, 1 << 24, 200_000_000, 1 << 32, 1 << 40])
def test_neighbouring_epochs_seeds_and_pools_have_unrelated_orders(count: int) -> None:
    num = min(count, 50_000)

    def places(seed: int, epoch: int, number: int) -> np.ndarray:
        return permuted(tf.range(num, dtype=tf.int64), count, seed, tf.constant(epoch, tf.int64), number).numpy()

    first = places(3, 5, 0)
    assert len(set(first.tolist())) == num
    others = [places(4, 5, 0), places(3, 6, 0), places(3, 5, 1), np.roll(first, 1)]
    assert all(abs(np.corrcoef(first, other)[0, 1]) < 5 / num**0.5 for other in others)


def test_only_pool_is_read_once_and_others_in_turn(music: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    read_pieces = Store.read_pieces

    def counted(store: Store, indices: np.ndarray, into: Roll) -> None:
        read.append(len(indices))
        read_pieces(store, indices, into)

    monkeypatch.setattr(Store, "read_pieces", counted)
    list(training_batches(replace(music, memory_mb=20), 100, 0).take(50))
    assert read == [6]
    read.clear()
    stream = iter(training_batches(music, len(music), 0))
    next(stream)
    assert read[:3] == [2, 2, 2]


def test_rows_are_those_of_the_store(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.VALID, Split.TRAIN, Split.TEST])) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=10))
        pieces = [made_roll(0, 120), made_roll(2, 122)]
        wanted = [piece.packed[first : first + 11].tobytes() for piece in pieces for first in range(len(piece) - 10)]
        found = [window.tobytes() for packed, _ in evaluation_batches(windows, 7).as_numpy_iterator() for window in packed]
    assert found == wanted


@exact
@given(seed=st.integers(0, 99), most=st.integers(1, 11), low=st.integers(0, 87), span=st.integers(0, 87))
def test_transposition_moves_all_keys_alike_and_none_off_the_keyboard(seed: int, most: int, low: int, span: int) -> None:
    random = np.random.default_rng(seed)
    packed = np.zeros((300, 5, 22), np.uint8)
    is_inside = np.packbits((np.arange(NUM_KEYS) >= low) & (np.arange(NUM_KEYS) <= low + span))
    packed[:, :4] = random.integers(0, 256, (300, 4, 22), np.uint8) & np.concatenate([is_inside, is_inside])
    draws = np.linspace(0, 2**32 - 1, 300).astype(np.int64)
    moved = transposed(packed, draws, most)
    for before, after in zip(packed, moved, strict=True):
        before, after = (np.unpackbits(rows, axis=1).reshape(-1, 2, NUM_KEYS) for rows in (before, after))
        assert before.sum() == after.sum()
        keys = [np.flatnonzero(rows.any(axis=(0, 1))) for rows in (before, after)]
        shift = keys[1][0] - keys[0][0] if len(keys[0]) else 0
        assert abs(shift) <= most
        assert np.array_equal(np.roll(before, shift, axis=2), after)


def test_transposition_takes_every_allowed_distance_alike() -> None:
    packed = np.zeros((23_000, 3, 22), np.uint8)
    packed[:, 1] = np.packbits(np.isin(np.arange(2 * NUM_KEYS), [4, NUM_KEYS + 80]))
    draws = permuted(tf.range(len(packed), dtype=tf.int64), 1 << 32, 1, tf.constant(2, tf.int64), 3).numpy()
    moved = np.unpackbits(transposed(packed, draws, 11)[:, 1], axis=1)[:, :NUM_KEYS].argmax(axis=1) - 4
    distances, counts = np.unique(moved, return_counts=True)
    assert distances.tolist() == list(range(-4, 8))
    assert np.abs(counts / len(packed) * len(distances) - 1).max() < 0.1


def test_transposition_follows_from_seed_epoch_and_window_alone(music: Windows) -> None:
    def moved(windows: Windows, seed: int, first_batch: int, num_batches: int) -> set[tuple[bytes, bytes]]:
        stream = training_batches(windows, 14, seed, first_batch).take(num_batches).unbatch()
        return {(packed.tobytes(), tempo_us.tobytes()) for packed, tempo_us in stream.as_numpy_iterator()}

    whole = replace(music, stride=16, num_windows=np.full(6, 7))  # three batches an epoch
    in_pools = moved(whole, 1, 0, 3)
    assert moved(replace(whole, memory_mb=20), 1, 0, 3) == in_pools
    assert moved(whole, 1, 3, 3) != in_pools
    assert moved(whole, 2, 0, 3) != in_pools
    plain = batches(evaluation_batches(whole, 14), -1)
    assert len(plain) == 3
    assert batches(evaluation_batches(replace(whole, transpose=0), 14), -1) == plain


def test_epochs_and_seeds_differ_in_order(folder: Path) -> None:
    windows = numbered(folder, [100, 90, 80], 8)
    count = len(windows)
    for memory in (windows, pooled(windows)):
        both = drawn(training_batches(memory, count, 1), 2)
        other = drawn(training_batches(memory, count, 2), 1)
        orders = [both[:count], both[count:], other]
        assert len({tuple(order) for order in orders}) == 3
        assert all(order != sorted(order) for order in orders)


def test_groups_choose_pieces(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN] * 4)) as store:
        assert len(find_windows(store, Split.TRAIN, DataConfig(groups=("B",)))) == (121 - 64) + (123 - 64)
        with pytest.raises(WindowError, match=r"no group 'Bach'; there are: A, B"):
            find_windows(store, Split.TRAIN, DataConfig(groups=("Bach",)))


def test_pieces_shorter_than_a_window_are_told(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN], steps=64)) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig())
        with pytest.raises(WindowError, match="65 steps of a window"):
            training_batches(windows, 8, 0)
        assert list(evaluation_batches(windows, 8)) == []
        assert list(evaluation_batches(find_windows(store, Split.VALID, DataConfig()), 8)) == []


def test_memory_for_less_than_the_longest_piece_twice_is_told(music: Windows) -> None:
    longest = 125
    training_batches(replace(music, memory_mb=(2 * longest) * ROW_MB + 1e-9), 8, 0)
    with pytest.raises(WindowError, match=r"holds 249 steps, and the longest piece has 125, held twice; choose 1 or more"):
        training_batches(replace(music, memory_mb=(2 * longest - 1) * ROW_MB + 1e-9), 8, 0)
