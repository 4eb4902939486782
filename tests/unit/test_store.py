"""A store is read as it was written, and a failed write leaves the previous store unchanged."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.roll import Roll, join
from pianogen.store import Kind, Pieces, Split, Store, StoreError, write_store
from pianogen.store.blocks import cut_blocks
from tests.support.made_music import empty_roll, made_roll, made_store
from tests.support.processes import descendants, finished, started
from tests.support.random_store import COLUMNS, PROVENANCE, multi_chunk_store, random_roll, store_error, table_of

# File names contain no NUL, and preprocessing escapes surrogates before a name is stored.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
exact = settings(derandomize=True, deadline=None, max_examples=40)


def columns_of(pieces: Pieces) -> dict[str, list[object] | None]:
    columns = {name: getattr(pieces, name) for name in (*COLUMNS, "sample")}
    return {name: values if values is None else list(values) for name, values in columns.items()}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multi_chunk_store(tmp_path_factory.mktemp("store") / "stored.h5")


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(stored, tmp_path / "copy.h5"))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Pieces, list[Roll]]:
    lengths = draw(st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any))
    rolls = [random_roll(draw(st.integers(0, 99)), steps) for steps in lengths]
    text_column = st.lists(texts, min_size=len(rolls), max_size=len(rolls))
    return table_of(rolls, draw(text_column), draw(st.one_of(st.none(), text_column))), rolls


@exact
@given(content=tables(), provenance=st.dictionaries(texts, texts, max_size=3))
def test_store_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, content: tuple[Pieces, list[Roll]], provenance: dict[str, str]
) -> None:
    pieces, rolls = content
    path = tmp_path_factory.mktemp("store") / "a.h5"
    kind: Kind = "corpus" if pieces.sample is None else "samples"
    write_store(path, kind, pieces, iter(rolls), provenance)
    with Store(path) as store:
        store.verify()
        assert (store.kind, store.provenance, store.num_steps) == (kind, provenance, sum(map(len, rolls)))
        assert columns_of(store.pieces) == columns_of(pieces)
        assert [store.roll(index) for index in range(len(rolls))] == rolls


@exact
@given(data=st.data())
def test_read_pieces_concatenates_their_rolls(stored: Path, data: st.DataObject) -> None:
    with Store(stored) as store:
        indices = data.draw(st.sets(st.integers(0, len(store.pieces) - 1)).map(sorted))
        rolls = [store.roll(index) for index in indices]
        result = empty_roll(sum(map(len, rolls)))
        store.read_pieces(np.array(indices, np.int64), result)
    assert result.packed.tobytes() == b"".join(roll.packed.tobytes() for roll in rolls)
    assert result.tempo_us.tobytes() == b"".join(roll.tempo_us.tobytes() for roll in rolls)
    assert result.bar_position.tobytes() == b"".join(roll.bar_position.tobytes() for roll in rolls)


@pytest.mark.parametrize("steps_per_quarter", [4, 24])
def test_rolls_have_the_steps_per_quarter_of_their_store(tmp_path: Path, steps_per_quarter: int) -> None:
    path, roll = tmp_path / "a.h5", replace(random_roll(1, 9), steps_per_quarter=steps_per_quarter)
    write_store(path, "corpus", table_of([roll]), [roll], PROVENANCE)
    with Store(path) as store:
        assert store.steps_per_quarter == steps_per_quarter
        assert store.roll(0) == roll


def test_rolls_of_different_steps_per_quarter_are_an_error(tmp_path: Path) -> None:
    rolls = [random_roll(1, 9), replace(random_roll(2, 9), steps_per_quarter=12)]
    with pytest.raises(StoreError, match="one roll has 12 steps per quarter note, others 4"):
        write_store(tmp_path / "a.h5", "corpus", table_of(rolls), rolls, PROVENANCE)
    assert not list(tmp_path.iterdir())


def test_store_of_several_blocks_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    rolls = [random_roll(seed, 131_072 - seed) for seed in range(9)]
    write_store(path, "corpus", table_of(rolls), iter(rolls), PROVENANCE)
    with Store(path) as store:
        store.verify()
        assert all(store.roll(index) == roll for index, roll in enumerate(rolls))


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    rolls = [random_roll(seed, 5_000) for seed in range(4)]
    (tmp_path / "elsewhere").mkdir()
    for path in (tmp_path / "a.h5", tmp_path / "elsewhere/another name.h5"):
        write_store(path, "corpus", table_of(rolls), rolls, {"b": 1, "a": 2})
    write_store(tmp_path / "c.h5", "corpus", table_of(rolls), rolls, {"a": 2, "b": 1})
    first, *others = [path.read_bytes() for path in tmp_path.rglob("*.h5")]
    assert others == [first, first]


@pytest.mark.parametrize("num_joined", [7, 300])
def test_bytes_do_not_depend_on_how_many_pieces_a_roll_contains(tmp_path: Path, num_joined: int) -> None:
    # Several blocks of more chunks than HDF5 keeps in memory: the order in which chunks are written shows in the file.
    rolls = [random_roll(seed, steps) for seed, steps in enumerate(np.random.default_rng(0).integers(0, 8_000, 300).tolist())]
    groups = [join(rolls[first : first + num_joined]) for first in range(0, len(rolls), num_joined)]
    for name, written in (("a.h5", rolls), ("b.h5", groups)):
        write_store(tmp_path / name, "corpus", table_of(rolls), iter(written), PROVENANCE)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@exact
@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=60).filter(any),
    cuts=st.sets(st.integers(1, 59)),
    chunk_steps=st.integers(1, 16),
    num_chunks=st.integers(1, 8),
)
def test_blocks_depend_only_on_the_lengths_of_the_pieces(
    lengths: list[int], cuts: set[int], chunk_steps: int, num_chunks: int
) -> None:
    rolls = [random_roll(seed, steps) for seed, steps in enumerate(lengths)]
    bounds = sorted({0, len(rolls), *(cut for cut in cuts if cut < len(rolls))})
    groups = [join(rolls[first:last]) for first, last in pairwise(bounds)]
    pieces, block_steps = table_of(rolls), chunk_steps * num_chunks
    blocks = list(cut_blocks(pieces, rolls, chunk_steps, block_steps))
    assert list(cut_blocks(pieces, groups, chunk_steps, block_steps)) == blocks
    assert all(len(block) % chunk_steps == 0 for block in blocks[:-1])
    assert join(blocks) == join(rolls)


def test_layout_is_the_documented_one(stored: Path) -> None:
    with h5py.File(stored, "r") as file:
        assert set(file) == {"roll", "tempo_us", "bar_position", "piece"}
        assert set(file["piece"]) == set(COLUMNS)
        attributes = dict(file.attrs)
        assert json.loads(attributes.pop("provenance")) == PROVENANCE
        assert len(attributes.pop("fingerprint")) == 64
        assert attributes == {
            "schema": "pianogen-store/2",
            "kind": "corpus",
            "complete": True,
            "steps_per_quarter": 4,
            "num_pieces": 5,
            "num_steps": 24_493,
        }
        assert (file["roll"].shape, file["roll"].dtype) == ((24_493, 22), np.dtype("u1"))
        assert (file["tempo_us"].shape, file["tempo_us"].dtype) == ((24_493,), np.dtype("<u4"))
        assert (file["bar_position"].shape, file["bar_position"].dtype) == ((24_493,), np.dtype("u1"))
        types = {name: file["piece"][name].dtype for name in COLUMNS}
        numbers = {"offset": "<u8", "steps": "<u4", "first_step": "<u4", "notes": "<u4", "split": "u1"}
        assert {name: types[name] for name in numbers} == {name: np.dtype(dtype) for name, dtype in numbers.items()}
        assert all(h5py.check_string_dtype(types[name]).encoding == "utf-8" for name in ("name", "group", "sha256"))
        assert [name.decode() for name in file["piece/name"]] == ["a.mid", "B/ä.mid", "B/c d.mid", "C/\\xff.mid", "C/é\n.mid"]
        assert file["piece/offset"][:].tolist() == [0, 9_000, 9_001, 16_001, 24_193]
        for dataset in [file["roll"], file["tempo_us"], file["bar_position"], *file["piece"].values()]:
            assert dataset.fletcher32, dataset.name
            assert dataset.chunks, dataset.name


def test_packed_rows_are_onset_bits_then_hold_bits(tmp_path: Path) -> None:
    path, roll = made_store(tmp_path / "a.h5", [Split.TRAIN]), made_roll(0, 120)
    with h5py.File(path, "r") as file:
        rows = np.unpackbits(file["roll"][:], axis=1)
    assert np.array_equal(rows[:, :88], roll.states == 1)
    assert np.array_equal(rows[:, 88:], roll.states == 2)


def test_fingerprint_is_the_hash_of_steps_split_roll_tempo_and_bar_position(stored: Path) -> None:
    with h5py.File(stored, "r") as file:
        digest = hashlib.sha256()
        for values, dtype in (
            (file["piece/steps"], "<u4"),
            (file["piece/split"], "u1"),
            (file["roll"], "u1"),
            (file["tempo_us"], "<u4"),
            (file["bar_position"], "u1"),
        ):
            digest.update(values[:].astype(dtype).tobytes())
        assert file.attrs["fingerprint"] == digest.hexdigest()


def test_fingerprint_depends_on_splits_and_not_on_names(tmp_path: Path) -> None:
    rolls = [random_roll(seed, 50) for seed in range(3)]
    fingerprints = []
    for names, splits in ((["a", "b", "c"], [0, 0, 1]), (["d", "e", "f"], [0, 0, 1]), (["a", "b", "c"], [0, 1, 0])):
        pieces = table_of(rolls, names)
        pieces.split[:] = splits
        write_store(tmp_path / "a.h5", "corpus", pieces, rolls, PROVENANCE)
        with Store(tmp_path / "a.h5") as store:
            fingerprints.append(store.fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def failing(rolls: list[Roll]) -> Iterator[Roll]:
    """Rolls from a source that fails after the first."""
    yield rolls[0]
    raise OSError(28, "No space left on device")


def cut(roll: Roll, at: int) -> list[Roll]:
    """The rows of a roll in two parts."""
    return [roll.rows(None, at), roll.rows(at, None)]


WRONG_ROLLS: dict[str, Callable[[list[Roll]], Iterable[Roll]]] = {
    "one_too_short": lambda rolls: [rolls[0], rolls[1].rows(1, None)],
    "one_too_few": lambda rolls: rolls[:1],
    "one_too_many": lambda rolls: [*rolls, rolls[0]],
    "one_step_moved_to_the_next_roll": lambda rolls: cut(join(rolls), len(rolls[0]) - 1),
    "joined_with_one_too_many": lambda rolls: [join([*rolls, rolls[0]])],
}


@pytest.mark.parametrize(
    ("make_rolls", "error"), [(failing, OSError), *((make_rolls, StoreError) for make_rolls in WRONG_ROLLS.values())]
)
def test_failed_write_leaves_the_old_store_and_no_other_file(
    tmp_path: Path, make_rolls: Callable[[list[Roll]], Iterable[Roll]], error: type[Exception]
) -> None:
    path = made_store(tmp_path / "a.h5", [Split.TRAIN])
    before = path.read_bytes()
    rolls = [random_roll(seed, 600_000) for seed in range(2)]  # long enough that rows are in the file before the write fails
    with pytest.raises(error):
        write_store(path, "corpus", table_of(rolls), make_rolls(rolls), PROVENANCE)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("one_too_short", "the rolls up to piece 001.mid have 59 steps, expected 60"),
        ("one_too_few", "the rolls have 30 steps, expected 60"),
        ("one_too_many", "there are more rolls than the expected 2"),
        ("one_step_moved_to_the_next_roll", "the rolls up to piece 000.mid have 29 steps, expected 30"),
        ("joined_with_one_too_many", "the rolls up to piece 001.mid have 90 steps, expected 60"),
    ],
)
def test_rolls_that_do_not_match_the_pieces_are_an_error(tmp_path: Path, case: str, message: str) -> None:
    rolls = [random_roll(seed, 30) for seed in range(2)]
    with pytest.raises(StoreError) as error:
        write_store(tmp_path / "a.h5", "corpus", table_of(rolls), WRONG_ROLLS[case](rolls), PROVENANCE)
    assert str(error.value) == message


WAITS_HALF_WAY = """
import sys, time
from pathlib import Path
from tests.support.random_store import random_roll, table_of
from pianogen.store import write_store
from tests.support.rolls import roll_in_4_4

def rolls():
    yield random_roll(0, 600_000)
    print("half way", flush=True)
    time.sleep(600)

write_store(Path(sys.argv[1]), "corpus", table_of([random_roll(0, 600_000), random_roll(1, 9)]), rolls(), {})
"""


def test_killed_write_leaves_the_old_store_readable(tmp_path: Path) -> None:
    path = made_store(tmp_path / "a.h5", [Split.TRAIN])
    before = path.read_bytes()
    with started([sys.executable, "-c", WAITS_HALF_WAY, str(path)]) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half way\n"
        assert not descendants(writer.pid)
        writer.kill()
    assert path.read_bytes() == before
    leftovers = [file for file in tmp_path.iterdir() if file != path]
    assert all(file.name.startswith("a.h5.tmp") for file in leftovers)
    for leftover in leftovers:
        store_error(leftover)
    with Store(path) as store:
        store.verify()
    rolls = [random_roll(3, 40)]
    write_store(path, "corpus", table_of(rolls), rolls, PROVENANCE)
    with Store(path) as store:
        assert store.roll(0) == rolls[0]


def store_command(*arguments: object) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of `pianogen store`."""
    process = finished([sys.executable, "-m", "pianogen.store", *map(str, arguments)])
    return process.returncode, process.stdout, process.stderr


def test_info_describes_a_store(stored: Path) -> None:
    code, out, errors = store_command("info", stored)
    assert (code, errors) == (0, "")
    with Store(stored) as store:
        fingerprint, notes = store.fingerprint, int(store.pieces.notes.sum())
    rows = dict(line.split("  ", 1) for line in out.splitlines())
    assert {key.strip(): value.strip() for key, value in rows.items()} == {
        "store": str(stored),
        "kind": "corpus",
        "pieces": "5 (train 2, valid 1, test 1, none 1)",
        "groups": "5 (B/c , B/ä., C/\\x, 'C/\\xe9\\n', a.mi)",
        "steps": "24,493, 4 per quarter note",
        "notes": f"{notes:,}",
        "fingerprint": fingerprint,
        "provenance: version": "1",
        "provenance: parser": "smf",
        "provenance: keep_rests": "False",
    }


def test_verify_detects_a_changed_byte_in_the_last_chunk(copy: Path) -> None:
    code, out, errors = store_command("verify", copy)
    assert (code, errors) == (0, "")
    assert out == f"{copy} is valid: 5 pieces, 24,493 steps; all checksums match\n"
    with h5py.File(copy, "r") as file:
        last = file["tempo_us"].id.get_chunk_info(2).byte_offset
    data = bytearray(copy.read_bytes())
    data[last] ^= 1
    copy.write_bytes(data)
    assert store_command("info", copy)[0] == 0
    code, out, errors = store_command("verify", copy)
    assert (code, out) == (1, "")
    assert errors.startswith(f"StoreError: {copy} is damaged")
    assert len(errors.splitlines()) == 1


def test_closed_store_is_not_a_damaged_one(stored: Path) -> None:
    for was_read in (False, True):  # h5py raises another error after a read
        with Store(stored) as store:
            if was_read:
                store.roll(0)
        for read in (lambda: store[0], store.verify):
            with pytest.raises(StoreError, match="closed at the end of its with statement; open it again"):
                read()


@pytest.mark.parametrize("action", ["info", "verify"])
def test_missing_store_is_a_one_line_message_and_exit_code_2(tmp_path: Path, action: str) -> None:
    code, out, errors = store_command(action, tmp_path / "none.h5")
    assert (code, out) == (2, "")
    message = "does not exist; give the path of a store that preprocessing or sampling has written"
    assert errors == f"InvalidStoreError: {tmp_path}/none.h5 {message}\n"


@pytest.mark.parametrize("arguments", [[], ["info"], ["repair", "a.h5"], ["info", "a.h5", "b.h5"], ["info", "--all", "a.h5"]])
def test_wrong_arguments_are_exit_code_2(arguments: list[str]) -> None:
    code, out, errors = store_command(*arguments)
    assert (code, out) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("UsageError: ")
    assert "--help" in line
