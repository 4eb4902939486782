"""A store gives back what was written, and is written whole or not at all."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.roll import Roll
from pianogen.store import Pieces, Split, Store, StoreError, write_store
from pianogen.store import hdf5 as stores
from tests.support.made_music import empty_roll, made_roll, made_store
from tests.support.processes import descendants, finished, started

TABLE = ("name", "group", "offset", "steps", "first_step", "notes", "split", "sha256")
PROVENANCE = {"version": "1", "parser": "smf", "keep_rests": False}
# No name of a file holds a NUL, and half a surrogate pair is escaped before it gets here.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
exact = settings(derandomize=True, deadline=None, max_examples=40)


def random_roll(seed: int, steps: int) -> Roll:
    source = np.random.default_rng(seed)
    packed = source.integers(0, 256, (steps, 22), np.uint8)
    return Roll(packed, source.integers(1, 1 << 24, steps, np.uint32), int(source.integers(0, 9)))


def table_of(rolls: list[Roll], names: list[str] | None = None, samples: list[str] | None = None) -> Pieces:
    names = [f"{index:03}.mid" for index in range(len(rolls))] if names is None else names
    return Pieces(
        name=names,
        group=[name[:4] for name in names],
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.array([roll.first_step for roll in rolls], np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.array([[0, 1, 2, 255][index % 4] for index in range(len(rolls))], np.uint8),
        sha256=[roll.sha256 for roll in rolls],
        sample=samples,
    )


def columns(pieces: Pieces) -> dict[str, list[object] | None]:
    columns = {name: getattr(pieces, name) for name in (*TABLE, "sample")}
    return {name: values if values is None else list(values) for name, values in columns.items()}


def written_whole(path: Path) -> Path:
    """A store of several chunks."""
    rolls = [random_roll(seed, steps) for seed, steps in enumerate([9_000, 1, 7_000, 8_192, 300])]
    write_store(path, "corpus", table_of(rolls, ["a.mid", "B/ä.mid", "B/c d.mid", "C/\\xff.mid", "C/é\n.mid"]), rolls, PROVENANCE)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_whole(tmp_path_factory.mktemp("store") / "whole.h5")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "copy.h5"))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Pieces, list[Roll]]:
    lengths = draw(st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any))
    rolls = [random_roll(draw(st.integers(0, 99)), steps) for steps in lengths]
    a_text_each = st.lists(texts, min_size=len(rolls), max_size=len(rolls))
    return table_of(rolls, draw(a_text_each), draw(st.one_of(st.none(), a_text_each))), rolls


@exact
@given(content=tables(), provenance=st.dictionaries(texts, texts, max_size=3))
def test_what_is_written_is_read(tmp_path_factory, content, provenance):
    pieces, rolls = content
    path = tmp_path_factory.mktemp("store") / "a.h5"
    kind = "corpus" if pieces.sample is None else "samples"
    write_store(path, kind, pieces, iter(rolls), provenance)
    with Store(path) as store:
        store.verify()
        assert (store.kind, store.provenance, store.num_steps) == (kind, provenance, sum(map(len, rolls)))
        assert columns(store.pieces) == columns(pieces)
        assert [store.roll(index) for index in range(len(rolls))] == rolls


@exact
@given(data=st.data())
def test_joined_pieces_are_their_concatenation(whole, data):
    with Store(whole) as store:
        indices = data.draw(st.sets(st.integers(0, len(store.pieces) - 1)).map(sorted))
        rolls = [store.roll(index) for index in indices]
        joined = empty_roll(sum(map(len, rolls)))
        store.read_pieces(np.array(indices, np.int64), joined)
    assert joined.packed.tobytes() == b"".join(roll.packed.tobytes() for roll in rolls)
    assert joined.tempo_us.tobytes() == b"".join(roll.tempo_us.tobytes() for roll in rolls)


def test_store_larger_than_what_is_held_at_once_is_read_as_written(tmp_path):
    path = tmp_path / "large.h5"
    rolls = [random_roll(seed, 131_072 - seed) for seed in range(9)]
    write_store(path, "corpus", table_of(rolls), iter(rolls), PROVENANCE)
    with Store(path) as store:
        store.verify()
        assert all(store.roll(index) == roll for index, roll in enumerate(rolls))


def test_equal_arguments_give_equal_bytes(tmp_path):
    rolls = [random_roll(seed, 5_000) for seed in range(4)]
    (tmp_path / "elsewhere").mkdir()
    for path in (tmp_path / "a.h5", tmp_path / "elsewhere/another name.h5"):
        write_store(path, "corpus", table_of(rolls), rolls, {"b": 1, "a": 2})
    write_store(tmp_path / "c.h5", "corpus", table_of(rolls), rolls, {"a": 2, "b": 1})
    first, *others = [path.read_bytes() for path in tmp_path.rglob("*.h5")]
    assert others == [first, first]


def joined(rolls: list[Roll]) -> Roll:
    return Roll(np.concatenate([roll.packed for roll in rolls]), np.concatenate([roll.tempo_us for roll in rolls]))


@settings(exact, max_examples=10)
@given(seed=st.integers(0, 99), cuts=st.sets(st.integers(1, 60)))
def test_bytes_do_not_depend_on_how_many_rolls_come_at_a_time(tmp_path_factory, seed, cuts):
    # More chunks than HDF5 holds in memory, and pieces of many chunks: the order of writing shows in the file.
    rolls = [random_roll(seed, steps) for steps in np.random.default_rng(seed).integers(0, 300, 61).tolist()]
    several = [joined(rolls[first:last]) for first, last in pairwise(sorted({0, *cuts, len(rolls)}))]
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "CHUNK_STEPS", 8)
        patch.setattr(stores, "_READ_STEPS", 64)
        for name, given_rolls in (("a.h5", rolls), ("b.h5", several)):
            write_store(folder / name, "corpus", table_of(rolls), iter(given_rolls), PROVENANCE)
        with Store(folder / "b.h5") as store:
            store.verify()
            assert [store.roll(index) for index in range(len(rolls))] == rolls
    assert (folder / "a.h5").read_bytes() == (folder / "b.h5").read_bytes()


def test_layout_is_the_documented_one(whole):
    with h5py.File(whole, "r") as file:
        assert set(file) == {"roll", "tempo_us", "piece"}
        assert set(file["piece"]) == set(TABLE)
        assert set(file.attrs) == {
            *("schema", "kind", "complete", "steps_per_quarter", "num_pieces", "num_steps", "fingerprint", "provenance")
        }
        found = {
            name: file.attrs[name] for name in ("schema", "kind", "complete", "steps_per_quarter", "num_pieces", "num_steps")
        }
        assert found == {
            "schema": "pianogen-store/1",
            "kind": "corpus",
            "complete": True,
            "steps_per_quarter": 4,
            "num_pieces": 5,
            "num_steps": 24_493,
        }
        assert json.loads(file.attrs["provenance"]) == PROVENANCE
        assert (file["roll"].shape, file["roll"].dtype) == ((24_493, 22), np.dtype("u1"))
        assert (file["tempo_us"].shape, file["tempo_us"].dtype) == ((24_493,), np.dtype("<u4"))
        types = {name: file["piece"][name].dtype for name in TABLE}
        numbers = {"offset": "<u8", "steps": "<u4", "first_step": "<u4", "notes": "<u4", "split": "u1"}
        assert {name: types[name] for name in numbers} == {name: np.dtype(dtype) for name, dtype in numbers.items()}
        assert all(h5py.check_string_dtype(types[name]).encoding == "utf-8" for name in ("name", "group", "sha256"))
        assert [name.decode() for name in file["piece/name"]] == ["a.mid", "B/ä.mid", "B/c d.mid", "C/\\xff.mid", "C/é\n.mid"]
        assert file["piece/offset"][:].tolist() == [0, 9_000, 9_001, 16_001, 24_193]
        for dataset in [file["roll"], file["tempo_us"], *file["piece"].values()]:
            assert dataset.fletcher32, dataset.name
            assert dataset.chunks, dataset.name


def test_rows_hold_onset_bits_then_hold_bits(tmp_path):
    path, roll = made_store(tmp_path / "a.h5", [Split.TRAIN]), made_roll(0, 120)
    with h5py.File(path, "r") as file:
        rows = np.unpackbits(file["roll"][:], axis=1)
    assert np.array_equal(rows[:, :88], roll.states == 1)
    assert np.array_equal(rows[:, 88:], roll.states == 2)


def test_fingerprint_is_over_steps_split_roll_and_tempo(whole):
    with h5py.File(whole, "r") as file:
        digest = hashlib.sha256()
        for values, dtype in (
            (file["piece/steps"], "<u4"),
            (file["piece/split"], "u1"),
            (file["roll"], "u1"),
            (file["tempo_us"], "<u4"),
        ):
            digest.update(values[:].astype(dtype).tobytes())
        assert file.attrs["fingerprint"] == digest.hexdigest()


def test_fingerprint_depends_on_splits_and_not_on_names(tmp_path):
    rolls = [random_roll(seed, 50) for seed in range(3)]
    fingerprints = []
    for names, splits in ((["a", "b", "c"], [0, 0, 1]), (["d", "e", "f"], [0, 0, 1]), (["a", "b", "c"], [0, 1, 0])):
        pieces = table_of(rolls, names)
        pieces.split[:] = splits
        write_store(tmp_path / "a.h5", "corpus", pieces, rolls, PROVENANCE)
        with Store(tmp_path / "a.h5") as store:
            fingerprints.append(store.fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def refusal(path: Path) -> str:
    """What is said of a store that cannot be opened, or whose rows cannot be trusted; it names the store."""
    with pytest.raises(StoreError) as caught, Store(path) as store:
        store.verify()
    assert str(path) in str(caught.value)
    return str(caught.value)


def failing(rolls: list[Roll]) -> Iterator[Roll]:
    yield rolls[0]
    raise OSError(28, "No space left on device")


def cut(roll: Roll, at: int) -> list[Roll]:
    return [Roll(roll.packed[part], roll.tempo_us[part]) for part in (slice(at), slice(at, None))]


WRONG_ROLLS = {
    "source_fails": (failing, OSError),
    "one_too_short": (lambda rolls: [rolls[0], Roll(rolls[1].packed[1:], rolls[1].tempo_us[1:])], StoreError),
    "one_too_few": (lambda rolls: rolls[:1], (StoreError, ValueError)),
    "one_too_many": (lambda rolls: [*rolls, rolls[0]], (StoreError, ValueError)),
    "one_step_in_the_wrong_one": (lambda rolls: cut(joined(rolls), len(rolls[0]) - 1), StoreError),
    "one_too_many_in_one_go": (lambda rolls: [joined([*rolls, rolls[0]])], StoreError),
}


@pytest.mark.parametrize("wrong", WRONG_ROLLS)
def test_failing_write_leaves_the_old_store_and_nothing_else(tmp_path, wrong):
    path = made_store(tmp_path / "a.h5", [Split.TRAIN])
    before = path.read_bytes()
    rolls = [random_roll(seed, 600_000) for seed in range(2)]  # so long that rows are on disk before it fails
    make, error = WRONG_ROLLS[wrong]
    with pytest.raises(error):
        write_store(path, "corpus", table_of(rolls), make(rolls), PROVENANCE)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


SAID_OF_WRONG = {
    "one_too_short": r"the rolls up to piece 001\.mid have 59 steps where 60 were announced",
    "one_too_few": "the rolls have 30 steps where 60 were announced",
    "one_too_many": "there are more rolls than the 2 pieces that were announced",
    "one_step_in_the_wrong_one": r"the rolls up to piece 000\.mid have 29 steps where 30 were announced",
    "one_too_many_in_one_go": r"the rolls up to piece 001\.mid have 90 steps where 60 were announced",
}


@pytest.mark.parametrize("wrong", SAID_OF_WRONG)
def test_rolls_unlike_their_table_are_refused_as_documented(tmp_path, wrong):
    rolls = [random_roll(seed, 30) for seed in range(2)]
    make, _ = WRONG_ROLLS[wrong]
    with pytest.raises(StoreError, match=SAID_OF_WRONG[wrong]):
        write_store(tmp_path / "a.h5", "corpus", table_of(rolls), make(rolls), PROVENANCE)


STOPS_HALF_WAY = """
import sys, time
from pathlib import Path
from tests.support.made_music import made_roll
from tests.unit.test_store import random_roll, table_of
from pianogen.store import write_store

def rolls():
    yield random_roll(0, 600_000)
    print("half way", flush=True)
    time.sleep(600)

write_store(Path(sys.argv[1]), "corpus", table_of([random_roll(0, 600_000), random_roll(1, 9)]), rolls(), {})
"""


def test_killed_write_leaves_the_old_store_readable(tmp_path):
    path = made_store(tmp_path / "a.h5", [Split.TRAIN])
    before = path.read_bytes()
    with started([sys.executable, "-c", STOPS_HALF_WAY, str(path)]) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half way\n"
        assert not descendants(writer.pid)
        writer.kill()
    assert path.read_bytes() == before
    leftovers = [each for each in tmp_path.iterdir() if each != path]
    assert all(each.name.startswith("a.h5.tmp") for each in leftovers)
    for leftover in leftovers:
        refusal(leftover)
    with Store(path) as store:
        store.verify()
    rolls = [random_roll(3, 40)]
    write_store(path, "corpus", table_of(rolls), rolls, PROVENANCE)
    with Store(path) as store:
        assert store.roll(0) == rolls[0]


def store_command(*arguments: object) -> tuple[int, str, str]:
    done = finished([sys.executable, "-m", "pianogen.store", *map(str, arguments)])
    return done.returncode, done.stdout, done.stderr


def test_info_says_what_a_store_holds(whole):
    code, out, errors = store_command("info", whole)
    assert (code, errors) == (0, "")
    with Store(whole) as store:
        fingerprint, notes = store.fingerprint, int(store.pieces.notes.sum())
    rows = dict(line.split("  ", 1) for line in out.splitlines())
    assert {key.strip(): value.strip() for key, value in rows.items()} == {
        "store": str(whole),
        "kind": "corpus",
        "pieces": "5 (train 2, valid 1, test 1, none 1)",
        "groups": str(len({"a.mi", "B/ä.", "B/c ", "C/\\x", "C/é\n"})),
        "steps": "24,493",
        "notes": f"{notes:,}",
        "fingerprint": fingerprint,
        "made by: version": "1",
        "made by: parser": "smf",
        "made by: keep_rests": "False",
    }


def test_verify_reads_every_byte(copy):
    code, out, errors = store_command("verify", copy)
    assert (code, errors) == (0, "")
    assert out == f"{copy} is whole: 5 pieces, 24,493 steps; every checksum agrees\n"
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


@pytest.mark.parametrize("action", ["info", "verify"])
def test_store_that_is_not_there_is_one_line_and_exit_1(tmp_path, action):
    code, out, errors = store_command(action, tmp_path / "none.h5")
    assert (code, out) == (1, "")
    assert errors == f"StoreError: {tmp_path}/none.h5 does not exist; name a store that preprocessing or sampling has written\n"


@pytest.mark.parametrize("arguments", [[], ["info"], ["mend", "a.h5"], ["info", "a.h5", "b.h5"], ["info", "--all", "a.h5"]])
def test_wrong_arguments_are_exit_2(arguments):
    code, out, errors = store_command(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in errors
    assert "python -m pianogen.store: error:" in errors
