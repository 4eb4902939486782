"""The order of windows follows from the seed and the sizes, for any memory limit and any number of processes."""

import itertools
import mmap
import resource
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pianogen.config import Config, DataConfig, ModelConfig
from pianogen.data import pool
from pianogen.data import windows as windows_module
from pianogen.data.shuffle import permute, pools_of_epoch
from pianogen.data.train_split import WindowError, check_groups, check_train_split
from pianogen.data.windows import Windows, evaluation_batches, find_windows, training_batches
from pianogen.evaluation.excerpts import draw_excerpts
from pianogen.roll import Roll
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store, numbered_store

deterministic = settings(max_examples=15, deadline=None, derandomize=True)
lengths = st.lists(st.integers(1, 60), min_size=1, max_size=8)
shapes = st.tuples(lengths, st.integers(1, 8), st.integers(1, 5))
ROW_MB = 27 / 1e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "BLOCK_BYTES", 20_000)
        yield


@pytest.fixture(scope="module", params=[False, True], ids=["last_row", "every_row_with_context"])
def music(folder: Path, request: pytest.FixtureRequest) -> Iterator[Windows]:
    """Six pieces of about 120 steps in several pools, transposed by up to 11 semitones."""
    is_modern = bool(request.param)
    with Store(made_store(folder / f"music-{is_modern}.h5", [Split.TRAIN] * 6)) as store:
        config = DataConfig(window_steps=9, transpose=11)
        windows = find_windows(store, Split.TRAIN, config, every_row=is_modern, context=is_modern)
        yield replace(windows, memory_mb=2 * 260 * windows.row_bytes / 1e6)


def numbered(folder: Path, steps: list[int], window_steps: int, stride: int = 1, memory_mb: float = 20) -> Windows:
    """Windows over pieces whose tempo numbers the rows: 1000 * (piece + 1) + row."""
    store = Store(numbered_store(folder / "numbered.h5", steps))
    windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=window_steps, stride=stride))
    return replace(windows, memory_mb=memory_mb)


def in_small_pools(windows: Windows) -> Windows:
    """The same windows with the smallest memory limit: two copies of the longest piece."""
    return replace(windows, memory_mb=2 * int(windows.steps.max()) * ROW_MB + 1e-9)


def expected(steps: list[int], window_steps: int, stride: int) -> list[tuple[int, ...]]:
    """The tempos of every window of numbered pieces, in order."""
    return [
        tuple(range(1000 * (piece + 1) + first, 1000 * (piece + 1) + first + window_steps + 1))
        for piece, count in enumerate(steps)
        for first in range(0, count - window_steps, stride)
    ]


def tempos(stream: tf.data.Dataset, num_batches: int) -> list[tuple[int, ...]]:
    """The tempos of every window of the first batches."""
    return [tuple(row) for window in stream.take(num_batches).as_numpy_iterator() for row in window.tempo_us.tolist()]


def batches(stream: tf.data.Dataset, num_batches: int) -> list[list[bytes]]:
    """The bytes of the first batches."""
    return [[part.tobytes() for part in tf.nest.flatten(window)] for window in stream.take(num_batches).as_numpy_iterator()]


@deterministic
@given(shape=shapes, batch=st.integers(1, 7), seed=st.integers(0, 3), in_pools=st.booleans())
def test_every_window_occurs_once_per_epoch(
    folder: Path, shape: tuple[list[int], int, int], batch: int, seed: int, in_pools: bool
) -> None:
    windows, epoch_windows = numbered(folder, *shape), expected(*shape)
    assert len(windows) == len(epoch_windows)
    assume(epoch_windows)
    if in_pools:
        windows = in_small_pools(windows)
    count = len(epoch_windows)
    stream = tempos(training_batches(windows, batch, seed), -(-3 * count // batch))
    for epoch in range(3):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == sorted(epoch_windows)


@deterministic
@given(shape=shapes, batch=st.integers(1, 7), block_rows=st.integers(1, 100))
def test_evaluation_streams_every_window_once_in_order(
    folder: Path, shape: tuple[list[int], int, int], batch: int, block_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "BLOCK_ROWS", block_rows)
        assert tempos(evaluation_batches(numbered(folder, *shape), batch), -1) == expected(*shape)


@deterministic
@given(steps=lengths, block_rows=st.integers(1, 100))
def test_blocks_are_complete_pieces_in_order(folder: Path, steps: list[int], block_rows: int) -> None:
    windows = numbered(folder, steps, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "BLOCK_ROWS", block_rows)
        blocks = list(windows.blocks())
    assert all(len(roll) <= max(block_rows, *steps) for roll, _ in blocks)
    pieces = [part for roll, first in blocks for part in np.split(roll.tempo_us, first[1:])]
    assert [piece.tolist() for piece in pieces] == [[*range(1000 * i + 1000, 1000 * i + 1000 + n)] for i, n in enumerate(steps)]


@settings(deterministic, max_examples=8)
@given(first_batch=st.integers(0, 120), batch=st.integers(1, 40), in_pools=st.booleans())
def test_resumed_stream_equals_the_uninterrupted_stream(music: Windows, first_batch: int, batch: int, in_pools: bool) -> None:
    windows = music if in_pools else replace(music, memory_mb=20)
    whole = batches(training_batches(windows, batch, 5), first_batch + 9)
    assert batches(training_batches(windows, batch, 5, first_batch), 9) == whole[first_batch:]


def test_stream_resumes_at_a_batch_number_beyond_32_bits(music: Windows) -> None:
    far = 10**12
    stream = batches(training_batches(music, 64, 5, far), 30)
    assert batches(training_batches(music, 64, 5, far + 20), 10) == stream[20:]


@settings(deterministic, max_examples=2)
@given(first_batch=st.integers(0, 40), part=st.integers(1, 9), in_pools=st.booleans())
def test_processes_stream_the_parts_of_the_same_global_batches(
    music: Windows, first_batch: int, part: int, in_pools: bool
) -> None:
    windows = music if in_pools else replace(music, memory_mb=20)
    num_batches, batch = 25, 4 * part
    whole = tempos(training_batches(windows, batch, 5, first_batch), num_batches)
    for cuts in ([0, 4], [0, 1, 2, 3, 4], [0, 1, 4]):
        processes = [range(*cut) for cut in itertools.pairwise(cuts)]
        streams = [
            iter(tempos(training_batches(windows, batch, 5, first_batch, 4, parts), num_batches * len(parts)))
            for parts in processes
        ]
        joined = [
            next(stream)
            for _ in range(num_batches)
            for parts, stream in zip(processes, streams, strict=True)
            for _ in range(len(parts) * part)
        ]
        assert joined == whole


def test_order_of_a_corpus_in_memory_is_one_permutation_per_epoch(folder: Path) -> None:
    steps, seed = [50, 3, 70, 41], 7
    windows, epoch_windows = numbered(folder, steps, 8), expected(steps, 8, 1)
    batch, count = len(epoch_windows), tf.constant(len(epoch_windows), tf.int64)
    permutations = [permute(tf.range(count), count, seed, tf.constant(epoch, tf.int64), 0).numpy() for epoch in range(3)]
    num_rows = sum(steps) - 3  # a piece without a window takes no memory
    order = [epoch_windows[index] for index in np.concatenate(permutations)]
    for memory_mb in (num_rows * ROW_MB + 1e-9, 1, 2_000):
        assert tempos(training_batches(replace(windows, memory_mb=memory_mb), batch, seed), 3) == order
    assert tempos(training_batches(replace(windows, memory_mb=(num_rows - 1) * ROW_MB), batch, seed), 3) != order


def test_order_is_the_same_in_all_versions(folder: Path) -> None:
    # A run can only be resumed with a later version of this package, NumPy or TensorFlow if the order stays the same.
    windows = numbered(folder, [12, 10, 11], 8)
    one_pool = "2001 2000 3001 1003 3000 1001 1002 3002 1000 1002 3000 1000 1001 2000 1003 3002 2001 3001"
    several_pools = "2001 2000 3002 3000 3001 1003 1000 1001 1002 1002 1003 1000 1001 3002 3000 3001 2000 2001"
    for limited, order in ((windows, one_pool), (in_small_pools(windows), several_pools)):
        assert " ".join(str(row[0]) for row in tempos(training_batches(limited, 9, 3), 2)) == order


def test_pools_contain_every_piece_once_and_are_bounded() -> None:
    steps = np.random.default_rng(1).integers(1, 1000, 500)
    orders = []
    for epoch in range(3):
        pools = pools_of_epoch(steps, 10_000, 4, epoch)
        assert all(steps[pieces].sum() <= 10_000 and (np.diff(pieces) > 0).all() for pieces in pools)
        assert len(pools) <= steps.sum() / (10_000 - 1_000) + 1
        assert sorted(np.concatenate(pools).tolist()) == list(range(500))
        orders.append([pieces.tolist() for pieces in pools])
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("count", [1_000, 3_000_000, 1 << 24, 200_000_000, 1 << 32, 1 << 40])
def test_orders_of_consecutive_epochs_seeds_and_pools_are_uncorrelated(count: int) -> None:
    num = min(count, 50_000)

    def permutation(seed: int, epoch: int, pool: int) -> np.ndarray:
        return np.asarray(permute(tf.range(num, dtype=tf.int64), count, seed, tf.constant(epoch, tf.int64), pool))

    first = permutation(3, 5, 0)
    assert len(set(first.tolist())) == num
    others = [permutation(4, 5, 0), permutation(3, 6, 0), permutation(3, 5, 1), np.roll(first, 1)]
    assert all(abs(np.corrcoef(first, other)[0, 1]) < 5 / num**0.5 for other in others)


def test_one_pool_is_read_once_and_several_in_turn(music: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    num_pieces_read: list[int] = []
    read_pieces = Store.read_pieces

    def count_pieces(store: Store, indices: np.ndarray, into: Roll) -> None:
        num_pieces_read.append(len(indices))
        read_pieces(store, indices, into)

    monkeypatch.setattr(Store, "read_pieces", count_pieces)
    list(training_batches(replace(music, memory_mb=20), 100, 0).take(50))
    assert num_pieces_read == [6]
    num_pieces_read.clear()
    stream = iter(training_batches(music, len(music), 0))
    next(stream)
    assert num_pieces_read[:3] == [2, 2, 2]


def test_windows_have_the_rows_of_the_store(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.VALID, Split.TRAIN, Split.TEST])) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=10))
        pieces = [made_roll(0, 120), made_roll(2, 122)]
        stream = evaluation_batches(windows, 7).as_numpy_iterator()
        streamed = [packed.tobytes() for window in stream for packed in window.packed]
    assert streamed == [piece.packed[first : first + 11].tobytes() for piece in pieces for first in range(len(piece) - 10)]


def test_transposition_depends_only_on_seed_epoch_and_window(music: Windows) -> None:
    def streamed(windows: Windows, seed: int, first_batch: int, num_batches: int) -> set[tuple[bytes, bytes]]:
        stream = training_batches(windows, 14, seed, first_batch).take(num_batches).unbatch()
        return {(window.packed.tobytes(), window.tempo_us.tobytes()) for window in stream.as_numpy_iterator()}

    whole = replace(music, stride=16, num_windows=np.full(6, 7))  # three batches an epoch
    in_pools = streamed(whole, 1, 0, 3)
    assert streamed(replace(whole, memory_mb=20), 1, 0, 3) == in_pools
    assert streamed(whole, 1, 3, 3) != in_pools
    assert streamed(whole, 2, 0, 3) != in_pools
    evaluated = batches(evaluation_batches(whole, 14), -1)
    assert len(evaluated) == 3
    assert batches(evaluation_batches(replace(whole, transpose=0), 14), -1) == evaluated


def test_epochs_and_seeds_differ_in_order(folder: Path) -> None:
    windows = numbered(folder, [100, 90, 80], 8)
    count = len(windows)
    for limited in (windows, in_small_pools(windows)):
        two_epochs = tempos(training_batches(limited, count, 1), 2)
        other_seed = tempos(training_batches(limited, count, 2), 1)
        orders = [two_epochs[:count], two_epochs[count:], other_seed]
        assert len({tuple(order) for order in orders}) == 3
        assert all(order != sorted(order) for order in orders)


def test_only_pieces_of_the_configured_groups_have_windows(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN] * 4)) as store:
        assert len(find_windows(store, Split.TRAIN, DataConfig(groups=("B",)))) == (121 - 64) + (123 - 64)
        with pytest.raises(WindowError, match=r"no group 'Bach'; its groups are A, B"):
            find_windows(store, Split.TRAIN, DataConfig(groups=("Bach",)))


@pytest.mark.parametrize(("stored", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_groups_are_compared_in_nfc(tmp_path: Path, stored: Literal["NFC", "NFD"], typed: Literal["NFC", "NFD"]) -> None:
    """macOS writes the name of a folder in NFD, and a user types it in NFC."""
    group, typed_group = (unicodedata.normalize(form, "Dvořák") for form in (stored, typed))
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN] * 3)) as store:
        store.pieces = replace(store.pieces, group=[group, "B", group])
        check_groups(store, (typed_group,))
        assert store.pieces.select(Split.TRAIN, (typed_group,)).tolist() == [0, 2]
        assert len(draw_excerpts(store, Split.TRAIN, [typed_group], 100, 0)) == 2
        with pytest.raises(WindowError, match=r"no group 'Dvorak'; its groups are B, Dvořák"):
            check_groups(store, ("Dvorak",))


def test_no_thread_that_tunes_can_delay_the_end_of_an_iterator(music: Windows) -> None:
    """See `stream_windows`. The delay itself is rare, and as long as the iterator was used, up to a minute."""
    for stream in (training_batches(music, 4, 0), evaluation_batches(music, 4).shard(2, 1)):
        assert stream.options().autotune.enabled is False


def test_freed_memory_is_reused_although_a_generator_dataset_returns_it_to_the_kernel(music: Windows) -> None:
    num_bytes, num_blocks = 2_000_000, 100
    batches(training_batches(music, 4, seed=1), 1)
    num_faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(num_blocks):
        np.ones(num_bytes, np.uint8)
    num_faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - num_faults
    assert num_faults < num_blocks * num_bytes / mmap.PAGESIZE / 10


def test_store_without_a_window_is_refused_for_training(tmp_path: Path) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN], steps=64)) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig())
        with pytest.raises(WindowError, match="65 steps of a window"):
            training_batches(windows, 8, 0)
        assert list(evaluation_batches(windows, 8)) == []
        assert list(evaluation_batches(find_windows(store, Split.VALID, DataConfig()), 8)) == []


def test_ensemble_requires_a_piece_in_the_train_split_and_no_window(tmp_path: Path) -> None:
    model = ModelConfig(name="joint", ensemble=("a", "b"))
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.VALID], steps=3)) as store:
        check_train_split(store, Config(model=model, data=DataConfig(groups=("A",))))
        with pytest.raises(WindowError, match=r"the train split has no pieces; choose other data\.groups"):
            check_train_split(store, Config(model=model, data=DataConfig(groups=("B",))))


def test_memory_limit_below_two_copies_of_the_longest_piece_is_refused(music: Windows) -> None:
    longest_mb = 125 * music.row_bytes / 1e6
    training_batches(replace(music, memory_mb=2 * longest_mb + 1e-9), 8, 0)
    with pytest.raises(
        WindowError, match=r"room for 249 steps, and two copies of the longest piece have 250; set data.memory_mb to 1 or more"
    ):
        training_batches(replace(music, memory_mb=2 * longest_mb - 1e-9), 8, 0)


def test_rows_in_memory_include_what_contexts_and_transposition_need(music: Windows) -> None:
    rows = music.read_rows(np.arange(3))
    assert sum(column.nbytes for column in tf.nest.flatten(rows)) == music.row_bytes * music.steps[:3].sum()
