"""A store with a damaged bit is an error that contains the path of the store."""

import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from pianogen.store import Store, StoreError, check_replaceable
from tests.support.made_music import empty_roll
from tests.support.random_store import COLUMNS, multi_chunk_store, store_error


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multi_chunk_store(tmp_path_factory.mktemp("store") / "valid.h5")


@pytest.fixture
def copy(valid: Path, tmp_path: Path) -> Path:
    """A store that a test may damage."""
    return Path(shutil.copy(valid, tmp_path / "copy.h5"))


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    assert "does not exist" in store_error(tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"this is not a store", b"MThd\0\0\0\6"], ids=["empty", "text", "midi"])
def test_file_that_is_not_hdf5_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    assert "is not an HDF5 file" in store_error(tmp_path / "a.h5")


def test_file_that_the_process_has_open_with_locks_is_not_called_damaged(copy: Path) -> None:
    with h5py.File(copy, "r", locking=True):
        assert "close the h5py.File of it in this process, or open that with locking=False" in store_error(copy)
    with h5py.File(copy, "r", locking=False), Store(copy) as store:
        assert len(store) == 5


@pytest.mark.parametrize("damage", ["none", "older", "truncated", "empty", "absent"])
def test_store_of_any_state_may_be_replaced(copy: Path, damage: str) -> None:
    if damage == "older":
        with h5py.File(copy, "r+") as file:
            file.attrs["schema"] = "pianogen-store/1"
    elif damage == "truncated":
        copy.write_bytes(copy.read_bytes()[:1000])
    elif damage == "empty":
        copy.write_bytes(b"")
    elif damage == "absent":
        copy.unlink()
    check_replaceable(copy)


@pytest.mark.parametrize("schema", ["pianogen-store/1", "", None])
def test_message_of_another_schema_contains_it_and_the_expected_one(copy: Path, schema: str | None) -> None:
    with h5py.File(copy, "r+") as file:
        del file.attrs["schema"]
        if schema is not None:
            file.attrs["schema"] = schema
    message = store_error(copy)
    assert repr(schema) in message
    assert "'pianogen-store/2'" in message


@pytest.mark.parametrize("is_present", [True, False], ids=["false", "absent"])
def test_incomplete_store_is_an_error(copy: Path, is_present: bool) -> None:
    with h5py.File(copy, "r+") as file:
        del file.attrs["complete"]
        if is_present:
            file.attrs["complete"] = False
    assert "is incomplete" in store_error(copy)


@pytest.mark.parametrize("name", ["roll", "tempo_us", "bar_position", "piece", *(f"piece/{name}" for name in COLUMNS)])
def test_store_without_one_of_its_datasets_is_an_error(copy: Path, name: str) -> None:
    with h5py.File(copy, "r+") as file:
        del file[name]
    assert "is damaged" in store_error(copy)


@pytest.mark.parametrize("name", ["kind", "steps_per_quarter", "num_steps", "fingerprint", "provenance"])
def test_store_without_one_of_its_attributes_is_an_error(copy: Path, name: str) -> None:
    with h5py.File(copy, "r+") as file:
        del file.attrs[name]
    assert "is damaged" in store_error(copy)


def test_truncated_store_is_an_error(copy: Path) -> None:
    data = copy.read_bytes()
    for size in [1, 8, 512, len(data) - 1, *random.Random(7).sample(range(len(data)), 20)]:
        copy.write_bytes(data[:size])
        assert store_error(copy)


@pytest.mark.parametrize("name", ["roll", "tempo_us", "bar_position", *(f"piece/{name}" for name in COLUMNS)])
def test_one_flipped_bit_is_detected(copy: Path, name: str) -> None:
    with h5py.File(copy, "r") as file:
        dataset = file[name].id
        chunks = [dataset.get_chunk_info(index) for index in range(dataset.get_num_chunks())]
        at = [chunk.byte_offset + byte for chunk in chunks for byte in range(chunk.size)]
    data = copy.read_bytes()
    source = random.Random(name)
    for position in [at[0], at[-1], *source.sample(at, min(20, len(at)))]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << source.randrange(8)
        copy.write_bytes(damaged)
        assert "is damaged" in store_error(copy)


@pytest.mark.parametrize("name", ["roll", "tempo_us", "bar_position"])
def test_damaged_rows_are_an_error_when_they_are_read(copy: Path, name: str) -> None:
    with h5py.File(copy, "r") as file:
        chunk = file[name].id.get_chunk_info(2)  # rows 16,384 to 24,576
    data = bytearray(copy.read_bytes())
    data[chunk.byte_offset + 100] ^= 8
    copy.write_bytes(data)
    with Store(copy) as store:
        assert len(store.roll(0)) == 9_000
        for read in (
            lambda: store.roll(3),
            lambda: store.rows(20_000, 20_001),
            lambda: store.read_pieces(np.array([0, 3]), empty_roll(9_000 + 8_192)),
        ):
            with pytest.raises(StoreError, match="is damaged: rows"):
                read()


@pytest.mark.parametrize(
    ("name", "index"), [("roll", (17_000, 3)), ("tempo_us", 17_000), ("bar_position", 17_000), ("piece/split", 2)]
)
def test_fingerprint_detects_a_change_with_valid_checksums(copy: Path, name: str, index: tuple[int, int] | int) -> None:
    with h5py.File(copy, "r+") as file:
        file[name][index] ^= 1
    assert "fingerprint" in store_error(copy)


def test_lengths_that_do_not_match_the_offsets_are_an_error(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file["piece/steps"][:2] = [8_999, 2]
    assert "is damaged" in store_error(copy)
