"""A shard returns every complete record and nothing of a damaged one; the work folder resumes from its shards."""

import hashlib
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen import logs
from pianogen.midi.counts import Counts
from pianogen.midi.options import ReadOptions
from pianogen.midi.rejection import Reason
from pianogen.roll import Roll
from preprocess import shard as shards
from preprocess import work_folder as work_folders
from preprocess.errors import PreprocessError
from preprocess.outcome import Outcome, Status
from preprocess.shard import Entry, append, read_entries, read_rolls, split_of
from preprocess.sources import Input
from preprocess.sparse import encode
from preprocess.work_folder import WorkFolder

exact = settings(derandomize=True, deadline=None, max_examples=60)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
digests = st.one_of(st.just(""), st.binary(min_size=32, max_size=32).map(bytes.hex))
numbers = st.integers(0, 1 << 40)


def random_roll(seed: int, steps: int, first_step: int) -> Roll:
    source = np.random.default_rng(seed)
    packed, tempo_us = source.integers(0, 256, (steps, 22), np.uint8), source.integers(1, 1 << 24, steps, np.uint32)
    return Roll(packed, tempo_us, source.integers(0, 256, steps, np.uint8), first_step)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    if draw(st.booleans()):
        return Outcome(draw(texts), Status.REJECTED, draw(st.sampled_from(Reason)), draw(texts), draw(digests))
    roll = random_roll(draw(st.integers(0, 99)), draw(st.integers(1, 9)), draw(numbers))
    counts = Counts(*draw(st.tuples(*[numbers] * len(Counts._fields))))
    return Outcome(draw(texts), Status.KEPT, sha256=draw(digests), counts=counts, roll=roll)


def kept(name: str, seed: int, steps: int = 3) -> Outcome:
    counts = Counts(*range(seed, seed + len(Counts._fields)))
    return Outcome(name, Status.KEPT, sha256=f"{seed:064x}", counts=counts, roll=random_roll(seed, steps, seed))


def rejected(name: str, reason: Reason, message: str = "") -> Outcome:
    return Outcome(name, Status.REJECTED, reason, message)


def write(path: Path, written: list[Outcome]) -> list[int]:
    """Appends records to a shard; returns the size of the shard after each record."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sizes = []
    for outcome in written:
        append(handle, outcome)
        sizes.append(os.fstat(handle).st_size)
    os.close(handle)
    return sizes


def is_record_of(entry: Entry, outcome: Outcome) -> bool:
    fields = ("name", "status", "reason", "message", "counts")
    has_fields = all(getattr(entry, field) == getattr(outcome, field) for field in fields)
    has_fields &= entry.source.hex() == outcome.sha256 and entry.status is outcome.status and entry.reason is outcome.reason
    if outcome.roll is None:
        return has_fields and entry.steps == 0
    has_split = entry.hash_split == split_of(hashlib.sha256(encode(outcome.roll).rows).digest())
    (rows,) = read_rolls([entry], 4)
    roll = replace(rows, first_step=entry.first_step)
    return has_fields and has_split and roll == outcome.roll and entry.steps == len(outcome.roll)


@exact
@given(written=st.lists(outcomes(), max_size=5))
def test_appended_records_are_read(tmp_path_factory: pytest.TempPathFactory, written: list[Outcome]) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard-1"
    write(path, written)
    entries = list(read_entries(path))
    assert len(entries) == len(written)
    assert all(map(is_record_of, entries, written))


def test_content_is_equal_for_equal_rolls_and_depends_on_the_tempo_but_not_on_bar_positions(tmp_path: Path) -> None:
    one, roll = kept("one", 1), random_roll(1, 3, 1)
    other_bars = replace(roll, bar_position=roll.bar_position + np.uint8(1))
    same = Outcome("same", Status.KEPT, sha256="00" * 32, counts=one.counts, roll=other_bars)
    slower = Outcome("slower", Status.KEPT, counts=one.counts, roll=replace(roll, tempo_us=roll.tempo_us + 1))
    write(tmp_path / "shard", [one, same, slower, kept("other", 2)])
    first, second, third, fourth = read_entries(tmp_path / "shard")
    assert first.content == second.content
    assert len({entry.content for entry in (first, third, fourth)}) == 3
    assert first.hash_split == second.hash_split == third.hash_split


REJECTED = rejected("bad.mid", Reason.TRUNCATED, "ends\nearly")


@pytest.mark.parametrize("last", [kept("c.mid", 3), REJECTED], ids=["kept", "rejected"])
def test_shard_truncated_at_any_byte_of_its_last_record_has_the_records_before_it(tmp_path: Path, last: Outcome) -> None:
    path = tmp_path / "shard"
    before = [kept("a.mid", 1), REJECTED, kept("b.mid", 2, steps=1)]
    sizes = write(path, [*before, last])
    data = path.read_bytes()
    assert len(list(read_entries(path))) == 4
    for size in range(sizes[2], sizes[3]):
        path.write_bytes(data[:size])
        entries = list(read_entries(path))
        assert len(entries) == 3, f"truncated at byte {size}"
        assert all(map(is_record_of, entries, before))


@pytest.mark.parametrize("garbage", [b"\0", b"\0" * 4096, b"PGS2", b"PGS2" + b"\xff" * 60, b"garbage" * 99], ids=range(5))
def test_garbage_after_the_records_is_not_read(tmp_path: Path, garbage: bytes) -> None:
    path, written = tmp_path / "shard", [kept("a.mid", 1), REJECTED]
    write(path, written)
    with path.open("ab") as file:
        file.write(garbage)
    entries = list(read_entries(path))
    assert len(entries) == 2
    assert all(map(is_record_of, entries, written))


def test_reading_stops_at_a_record_with_a_damaged_header(tmp_path: Path) -> None:
    path, written = tmp_path / "shard", [kept("a.mid", 1), kept("b.mid", 2), kept("c.mid", 3)]
    sizes = write(path, written)
    body_offsets = [entry.body_offset for entry in read_entries(path)]
    data = path.read_bytes()
    for position in range(sizes[0] + 20, body_offsets[1]):
        damaged = bytearray(data)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        assert [entry.name for entry in read_entries(path)] == ["a.mid"], f"byte {position}"


def test_damaged_roll_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path, written = tmp_path / "shard", [kept("a.mid", 1), kept("b.mid", 2)]
    write(path, written)
    first = next(read_entries(path))
    data = path.read_bytes()
    for position in range(first.body_offset, first.end):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        entries = list(read_entries(path))
        for selection in (entries, reversed(entries), entries[:1]):
            with pytest.raises(PreprocessError, match=r"shard: the roll of a\.mid does not match its checksum; remove this file"):
                list(read_rolls(selection, 4))
        assert is_record_of(entries[1], written[1])


@exact
@given(steps=st.lists(st.integers(1, 30), min_size=1, max_size=12), batch_steps=st.integers(1, 60), data=st.data())
def test_rolls_of_many_shards_are_read_end_to_end_with_few_open_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], batch_steps: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    written = [kept(f"{index:02}.mid", index, count) for index, count in enumerate(steps)]
    for outcome in written:
        write(folder / f"shard-{data.draw(st.integers(0, 4))}", [outcome])
    entries = sorted(entry for path in folder.iterdir() for entry in read_entries(path))
    ends = set(np.cumsum(steps).tolist())
    read = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BATCH_STEPS", batch_steps)
        patch.setattr(shards, "_MAX_OPEN_FILES", 2)
        for rows in read_rolls(entries, 4):
            read.append(rows)
            assert sum(map(len, read)) in ends
            assert len(rows) < batch_steps + max(steps)
            assert num_open_below(folder) <= 2
    assert num_open_below(folder) == 0
    rolls = [outcome.roll for outcome in written if outcome.roll]
    for column in ("packed", "tempo_us", "bar_position"):
        read_column, written_column = (np.concatenate([getattr(roll, column) for roll in source]) for source in (read, rolls))
        assert np.array_equal(read_column, written_column)


def num_open_below(folder: Path) -> int:
    return sum(os.path.realpath(handle).startswith(str(folder)) for handle in Path("/proc/self/fd").iterdir())


@exact
@given(written=st.lists(outcomes(), max_size=6), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_shard_read_in_parts_has_the_same_entries_as_read_at_once(
    tmp_path_factory: pytest.TempPathFactory, written: list[Outcome], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard-1"
    ends = [0, *write(path, written)]
    stops = sorted(ends[min(cut, len(written))] for cut in cuts)
    parts = [read_entries(path, begin, end) for begin, end in zip([0, *stops], [*stops, None], strict=True)]
    assert [entry for part in parts for entry in part] == list(read_entries(path))


@pytest.mark.parametrize("end", [1, 19, 20, 10_000, 1 << 40])
def test_end_after_the_end_of_the_file_reads_the_complete_records(tmp_path: Path, end: int) -> None:
    """A network file system may show less of a shard than its rank has reported."""
    path = tmp_path / "shard"
    path.touch()
    assert list(read_entries(path, 0, end)) == []
    (size,) = write(path, [kept("a.mid", 1)])
    assert len(list(read_entries(path, 0, end))) == (end >= size)
    assert list(read_entries(path, size, end)) == []


def new_work_folder(folder: Path) -> WorkFolder:
    work_folder = WorkFolder.of(folder / "a.h5")
    work_folder.path.mkdir()
    return work_folder


def test_empty_shard_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "shard").touch()
    assert list(read_entries(tmp_path / "shard")) == []


def test_resume_skips_finished_inputs_and_converts_rejections_by_the_machine_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [Input(f"{name}.mid", "", 1, 1) for name in "abcde"]
    work_folder = new_work_folder(tmp_path)
    logs.configure()
    assert work_folder.prepare(inputs, ReadOptions()) == inputs
    assert capsys.readouterr().err == ""
    write(work_folder.new_shard(), [kept("a.mid", 1), rejected("b.mid", Reason.TIMEOUT)])
    write(work_folder.new_shard(), [rejected("c.mid", Reason.NO_NOTES), rejected("e.mid", Reason.CRASHED)])
    assert [source.name for source in work_folder.prepare(inputs, ReadOptions())] == ["b.mid", "d.mid", "e.mid"]
    assert capsys.readouterr().err.endswith("INFO resuming: 2 of 5 inputs are already finished\n")
    write(work_folder.new_shard(), [kept("b.mid", 2), kept("d.mid", 4), kept("e.mid", 5)])
    assert [(entry.name, entry.status) for entry in work_folder.collect_entries(inputs)] == [
        ("a.mid", "kept"),
        ("b.mid", "kept"),
        ("c.mid", "rejected"),
        ("d.mid", "kept"),
        ("e.mid", "kept"),
    ]


@exact
@given(data=st.data())
def test_entries_of_growing_shards_are_those_of_complete_shards(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    work_folder = WorkFolder(tmp_path_factory.mktemp("work"))
    inputs = [Input(f"{index}.mid", "", 1, 1) for index in range(data.draw(st.integers(1, 12)))]
    paths = [work_folder.new_shard() for _ in range(3)]
    for seed, source in enumerate(inputs):
        path = data.draw(st.sampled_from(paths))
        is_kept = data.draw(st.booleans())
        (size,) = write(path, [kept(source.name, seed) if is_kept else rejected(source.name, Reason.NO_NOTES)])
        with path.open("ab") as file:
            file.write(b"PGS1 and an incomplete record")
        if data.draw(st.booleans()):
            work_folder.read_shard(path, size)
            work_folder.read_shard(path, data.draw(st.sampled_from([0, size])))  # an old size, or the same size again
        os.truncate(path, size)
    assert work_folder.collect_entries(inputs) == WorkFolder(work_folder.path).collect_entries(inputs)


def test_shard_that_is_not_visible_yet_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_folders, "_POLL_S", 0.01)
    work_folder, source = WorkFolder(tmp_path), Input("a.mid", "", 1, 1)
    path = work_folder.new_shard()
    work_folder.read_shard(path, 100)
    late = threading.Timer(0.1, write, (path, [kept("a.mid", 1)]))
    late.start()
    (entry,) = work_folder.collect_entries([source])
    late.join()
    assert is_record_of(entry, kept("a.mid", 1))


def test_input_without_a_record_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_folders, "_MAX_DELAY_S", 0.0)
    work_folder = WorkFolder(tmp_path)
    write(work_folder.new_shard(), [kept("a.mid", 1)])
    message = r"no shard in .* holds the outcomes of 1 of 2 inputs, such as b\.mid; run the same command again"
    with pytest.raises(PreprocessError, match=message):
        work_folder.collect_entries([Input("a.mid", "", 1, 1), Input("b.mid", "", 1, 1)])


@pytest.mark.parametrize("change", ["size", "time", "name", "number", "options"])
def test_work_of_another_corpus_or_other_options_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    inputs, options = [Input("a.mid", "", 1, 1), Input("b.mid", "", 1, 1)], ReadOptions()
    work_folder = new_work_folder(tmp_path)
    logs.configure()
    work_folder.prepare(inputs, options)
    write(work_folder.new_shard(), [kept("a.mid", 1)])
    changed = {
        "size": Input("b.mid", "", 2, 1),
        "time": Input("b.mid", "", 1, 2),
        "name": Input("c.mid", "", 1, 1),
    }
    new_inputs = [inputs[0], changed.get(change, inputs[1])][: 1 if change == "number" else 2]
    new_options = ReadOptions(keep_rests=True) if change == "options" else options
    assert work_folder.prepare(new_inputs, new_options) == new_inputs
    assert f"WARNING {work_folder.path} holds unfinished work of another corpus" in capsys.readouterr().err
    assert not list(work_folder.path.glob("shard-*"))
