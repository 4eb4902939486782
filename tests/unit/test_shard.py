"""A shard returns every complete record and nothing of a damaged one; the work folder resumes from its shards."""

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen import logs
from pianogen.lock import BatchJob
from pianogen.midi.counts import Counts
from pianogen.midi.options import ReadOptions
from pianogen.midi.rejection import Reason
from pianogen.midi.signature import NUM_BINS, MinHash
from pianogen.roll import Roll
from pianogen.store import Split
from preprocess import shard as shards
from preprocess import shard_reader
from preprocess.errors import PreprocessError
from preprocess.hash_split import hash_split, split_of
from preprocess.inputs import Input, Inputs
from preprocess.outcome import Outcome, rejected
from preprocess.piece_table import PieceTable
from preprocess.shard import read_records, read_rolls
from preprocess.shard_reader import ShardReader
from preprocess.work_folder import WorkFolder
from tests.support.shard_files import Record, read_shard, table_of, write_shard

exact = settings(derandomize=True, deadline=None, max_examples=60)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
digests = st.one_of(st.just(""), st.binary(min_size=32, max_size=32).filter(any).map(bytes.hex))
numbers = st.integers(0, (1 << 32) - 1)


def random_roll(seed: int, steps: int, first_step: int) -> Roll:
    source = np.random.default_rng(seed)
    packed, tempo_us = source.integers(0, 256, (steps, 22), np.uint8), source.integers(1, 1 << 24, steps, np.uint32)
    return Roll(packed, tempo_us, source.integers(0, 256, steps, np.uint8), first_step)


def minhash_of(seed: int) -> MinHash:
    source = np.random.default_rng(seed)
    return MinHash(int(source.integers(0, 1 << 63)), source.bytes(NUM_BINS))


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    if draw(st.booleans()):
        return rejected(draw(st.sampled_from(Reason)), draw(texts), draw(digests))
    seed = draw(st.integers(0, 99))
    roll = random_roll(seed, draw(st.integers(1, 9)), draw(numbers))
    counts = Counts(*(draw(numbers) for _ in Counts._fields))
    minhash = minhash_of(seed) if draw(st.booleans()) else None
    repairs = draw(st.sampled_from([(), ("macbinary",), ("long_track", "extra_tracks")]))
    return Outcome(draw(digests), counts=counts, roll=roll, minhash=minhash, repairs=repairs)


inputs_of_outcomes = st.lists(st.lists(outcomes(), min_size=1, max_size=3), max_size=5)


def kept(seed: int, steps: int = 3) -> Outcome:
    counts = Counts(*range(seed, seed + len(Counts._fields)))
    return Outcome(f"{seed + 1:064x}", counts=counts, roll=random_roll(seed, steps, seed), minhash=minhash_of(seed))


def refused(reason: Reason, message: str = "") -> Outcome:
    return rejected(reason, message)


def is_record_of(record: Record, outcome: Outcome) -> bool:
    fields = ("reason", "message", "repairs", "sha256", "counts", "roll")
    split = Split.NONE if outcome.roll is None else hash_split(outcome.roll, outcome.minhash)
    return all(getattr(record, field) == getattr(outcome, field) for field in fields) and record.split == split


def are_records_of(records: Sequence[Record], written: Sequence[Sequence[Outcome]]) -> bool:
    expected = [(number, outcomes, outcome) for number, outcomes in enumerate(written) for outcome in outcomes]
    return len(records) == len(expected) and all(
        is_record_of(record, outcome) and (record.number, record.num_pieces) == (number, len(outcomes))
        for record, (number, outcomes, outcome) in zip(records, expected, strict=True)
    )


@exact
@given(written=inputs_of_outcomes)
def test_appended_records_are_read(tmp_path_factory: pytest.TempPathFactory, written: list[list[Outcome]]) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard-1"
    path.touch()
    write_shard(path, list(enumerate(written)))
    records = read_shard(path)
    assert are_records_of(records, written)
    tunes = [number for outcomes in written for number in ([0] if len(outcomes) == 1 else range(1, len(outcomes) + 1))]
    assert [record.tune for record in records] == tunes
    signatures = [outcome.minhash for outcomes in written for outcome in outcomes]
    table = table_of([path], [str(number) for number in range(5)])
    assert table.rows["has_signature"].tolist() == [minhash is not None for minhash in signatures]
    for signature, minhash in zip(table.signatures, signatures, strict=True):
        assert minhash is None or signature.tobytes() == minhash.signature


def test_content_is_equal_for_equal_rolls_and_depends_on_the_tempo_but_not_on_bar_positions(tmp_path: Path) -> None:
    one, roll = kept(1), random_roll(1, 3, 1)
    other_bars = replace(roll, bar_position=roll.bar_position + np.uint8(1))
    same = Outcome("00" * 32, counts=one.counts, roll=other_bars, minhash=one.minhash)
    slower = Outcome(counts=one.counts, roll=replace(roll, tempo_us=roll.tempo_us + 1), minhash=one.minhash)
    write_shard(tmp_path / "shard", list(enumerate([[one], [same], [slower], [kept(2)]])))
    first, second, third, fourth = read_shard(tmp_path / "shard")
    assert first.content == second.content
    assert len({record.content for record in (first, third, fourth)}) == 3
    assert first.split == second.split == third.split


def test_piece_without_shingles_is_split_by_its_rows() -> None:
    splits = [hash_split(random_roll(seed, 2, 0), None) for seed in range(200)]
    assert 140 < splits.count(Split.TRAIN) < 180
    assert {Split.VALID, Split.TEST} < set(splits)
    roll = random_roll(1, 2, 0)
    assert hash_split(replace(roll, tempo_us=roll.tempo_us + 1), None) == hash_split(roll, None)


def test_splits_are_80_10_10_by_the_lower_bits_of_a_hash() -> None:
    """The smallest of many hashes is small, so its upper bits are 0."""
    source = np.random.default_rng(0)
    splits = [split_of(int(source.integers(0, 1 << 50))) for _ in range(20_000)]
    assert splits.count(Split.TRAIN) == pytest.approx(16_000, rel=0.03)
    assert splits.count(Split.VALID) == pytest.approx(2_000, rel=0.1)
    assert splits.count(Split.TEST) == pytest.approx(2_000, rel=0.1)


REJECTED = refused(Reason.TRUNCATED, "ends\nearly")


def test_message_is_one_line(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard", [(0, [REJECTED])])
    assert [record.message for record in read_shard(tmp_path / "shard")] == ["ends early"]


@pytest.mark.parametrize("last", [[kept(3)], [REJECTED], [kept(3), REJECTED, kept(4)]], ids=["kept", "rejected", "tunes"])
def test_shard_truncated_at_any_byte_of_its_last_record_has_the_records_before_it(tmp_path: Path, last: list[Outcome]) -> None:
    path = tmp_path / "shard"
    before = [[kept(1)], [REJECTED], [kept(2, steps=1), kept(5)]]
    sizes = write_shard(path, list(enumerate([*before, last])))
    data = path.read_bytes()
    assert are_records_of(read_shard(path), [*before, last])
    for size in range(sizes[2], sizes[3]):
        path.write_bytes(data[:size])
        assert are_records_of(read_shard(path), before), f"truncated at byte {size}"


@pytest.mark.parametrize("garbage", [b"\0", b"\0" * 4096, b"PGS3", b"PGS3" + b"\xff" * 60, b"garbage" * 99], ids=range(5))
def test_garbage_after_the_records_is_not_read(tmp_path: Path, garbage: bytes) -> None:
    path, written = tmp_path / "shard", [[kept(1)], [REJECTED]]
    write_shard(path, list(enumerate(written)))
    with path.open("ab") as file:
        file.write(garbage)
    assert are_records_of(read_shard(path), written)


def test_reading_stops_at_a_record_with_a_damaged_header(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    sizes = write_shard(path, [(number, [kept(number)]) for number in range(3)])
    body_offset = read_shard(path)[1].body_offset
    data = path.read_bytes()
    for position in range(sizes[0] + 24, body_offset):
        damaged = bytearray(data)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        assert [record.number for record in read_shard(path)] == [0], f"byte {position}"


def test_damaged_roll_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    write_shard(path, [(0, [kept(1)]), (1, [kept(2)])])
    first, second = read_shard(path)
    data = path.read_bytes()
    for position in range(first.body_offset, first.body_offset + 3 * 27):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        table = table_of([path], ["a.mid", "b.mid"])
        for order in ([0, 1], [1, 0], [0]):
            with pytest.raises(PreprocessError, match=r"shard: the roll of a\.mid does not match its checksum; remove this file"):
                list(read_rolls(table, np.array(order), [path], 4))
        assert next(read_rolls(table, np.array([1]), [path], 4)) == replace(kept(2).roll or random_roll(0, 1, 0), first_step=0)
    assert second.roll == kept(2).roll


@exact
@given(steps=st.lists(st.integers(1, 30), min_size=1, max_size=12), batch_steps=st.integers(1, 60), data=st.data())
def test_rolls_of_many_shards_are_read_end_to_end_with_few_open_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], batch_steps: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    written = [kept(number, count) for number, count in enumerate(steps)]
    for number, outcome in enumerate(written):
        write_shard(folder / f"shard-{data.draw(st.integers(0, 4))}", [(number, [outcome])])
    paths = sorted(folder.iterdir())
    table = table_of(paths, [f"{number:02}.mid" for number in range(len(written))])
    ends = set(np.cumsum(steps).tolist())
    read = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BATCH_STEPS", batch_steps)
        patch.setattr(shards, "_BATCH_RECORDS", 5)
        patch.setattr(shards, "_MAX_OPEN_FILES", 2)
        for rows in read_rolls(table, table.order(), paths, 4):
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
@given(written=inputs_of_outcomes, cuts=st.lists(st.integers(0, 5), max_size=4), batch_records=st.integers(1, 4))
def test_shard_read_in_parts_has_the_same_records_as_read_at_once(
    tmp_path_factory: pytest.TempPathFactory, written: list[list[Outcome]], cuts: list[int], batch_records: int
) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard-1"
    path.touch()
    ends = [0, *write_shard(path, list(enumerate(written)))]
    stops = sorted(ends[min(cut, len(written))] for cut in cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BATCH_RECORDS", batch_records)
        parts = [read_shard(path, begin, end) for begin, end in zip([0, *stops], [*stops, None], strict=True)]
    assert [record for part in parts for record in part] == read_shard(path)


@pytest.mark.parametrize("end", [1, 23, 24, 10_000, 1 << 40])
def test_end_after_the_end_of_the_file_reads_the_complete_records(tmp_path: Path, end: int) -> None:
    """A network file system may show less of a shard than its rank has reported."""
    path = tmp_path / "shard"
    path.touch()
    assert read_shard(path, 0, end) == []
    (size,) = write_shard(path, [(0, [kept(1)])])
    assert len(read_shard(path, 0, end)) == (end >= size)
    assert read_shard(path, size, end) == []


def test_empty_shard_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "shard").touch()
    assert list(read_records(tmp_path / "shard")) == []


NAMES = ["a.abc", "a.abc !.mid", "a.abc!.mid", "a.abc#1.mid", "a.abc#7.mid", "a.abc$.mid", "ab.mid", "b.abc", "b.abc#2.mid"]


@exact
@given(nums=st.lists(st.sampled_from([1, 2, 12]), min_size=len(NAMES), max_size=len(NAMES)), data=st.data())
def test_pieces_are_in_order_of_name(tmp_path_factory: pytest.TempPathFactory, nums: list[int], data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard"
    order = data.draw(st.permutations(range(len(NAMES))))
    write_shard(path, [(number, [refused(Reason.NO_NOTES)] * nums[number]) for number in order])
    table = table_of([path], sorted(NAMES))
    names = [table.name(piece) for piece in table.order().tolist()]
    expected = [
        tune
        for name, num in zip(sorted(NAMES), nums, strict=True)
        for tune in ([name] if num == 1 else [f"{name}#{number}" for number in range(1, num + 1)])
    ]
    assert names == sorted(expected)


def inputs_named(*names: str) -> Inputs:
    return Inputs(Input(name, name, 1, 1) for name in names)


def new_work_folder(folder: Path) -> WorkFolder:
    work_folder = WorkFolder.of(folder / "a.h5")
    work_folder.path.mkdir()
    return work_folder


def unfinished(reader: ShardReader) -> list[int]:
    return np.flatnonzero(~reader.table.final_inputs()).tolist()


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CRASHED, Reason.MEMORY, Reason.UNREADABLE])
def test_resume_skips_finished_inputs_and_converts_rejections_by_the_machine_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: Reason
) -> None:
    inputs = inputs_named(*(f"{name}.mid" for name in "abcde"))
    work_folder = new_work_folder(tmp_path)
    logs.configure()
    assert unfinished(work_folder.prepare(inputs, ReadOptions())) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""
    write_shard(work_folder.new_shard(), [(0, [kept(1), kept(9)]), (1, [refused(reason)])])
    write_shard(work_folder.new_shard(), [(2, [refused(Reason.NO_NOTES)]), (4, [refused(reason)])])
    reader = work_folder.prepare(inputs, ReadOptions())
    assert unfinished(reader) == [1, 3, 4]
    assert capsys.readouterr().err.endswith("INFO resuming: 2 of 5 inputs are already finished\n")
    shard = work_folder.new_shard()
    write_shard(shard, [(1, [kept(2)]), (3, [kept(4)]), (4, [kept(5), refused(Reason.NO_NOTES)])])
    reader.read(shard)
    for table in (reader.table, work_folder.prepare(inputs, ReadOptions()).table):
        names = ["a.mid#1", "a.mid#2", "b.mid", "c.mid", "d.mid", "e.mid#1", "e.mid#2"]
        assert [table.name(piece) for piece in table.order().tolist()] == names
        counts = table.rows["counts"][table.order(), 0].tolist()
        assert counts == [1, 9, 2, 0, 4, 5, 0]


@exact
@given(data=st.data())
def test_pieces_of_growing_shards_are_those_of_complete_shards(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    work_folder = WorkFolder(tmp_path_factory.mktemp("work"))
    inputs = inputs_named(*(f"{number:02}.mid" for number in range(data.draw(st.integers(1, 12)))))
    paths = [work_folder.new_shard() for _ in range(3)]
    reader = ShardReader(work_folder.path, inputs)
    for number in range(len(inputs)):
        path = data.draw(st.sampled_from(paths))
        pieces = [kept(number + tune) for tune in range(data.draw(st.integers(1, 3)))]
        (size,) = write_shard(path, [(number, pieces if data.draw(st.booleans()) else [refused(Reason.NO_NOTES, "none")])])
        with path.open("ab") as file:
            file.write(b"PGS3 and an incomplete record")
        if data.draw(st.booleans()):
            reader.read(path, size)
            reader.read(path, data.draw(st.sampled_from([0, size])))  # an old size, or the same size again
        os.truncate(path, size)
    reader.wait_for_all()
    complete = ShardReader(work_folder.path, inputs)
    complete.wait_for_all()
    assert described(reader.table) == described(complete.table)


def described(table: PieceTable) -> list[tuple[object, ...]]:
    columns = ("reason", "steps", "counts", "content", "body_offset")
    return [
        (table.name(piece), table.text(piece), *(table.rows[column][piece].tolist() for column in columns))
        for piece in table.order().tolist()
    ]


def test_shard_that_is_not_visible_yet_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_reader, "_POLL_S", 0.01)
    path = WorkFolder(tmp_path).new_shard()
    reader = ShardReader(tmp_path, inputs_named("a.mid"))
    reader.read(path, 100)
    late = threading.Timer(0.1, write_shard, (path, [(0, [kept(1)])]))
    late.start()
    reader.wait_for_all()
    late.join()
    assert reader.table.rows["counts"][:, 0].tolist() == [1]


def test_input_without_a_record_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_reader, "_MAX_DELAY_S", 0.0)
    write_shard(WorkFolder(tmp_path).new_shard(), [(0, [kept(1)])])
    message = r"no shard in .* holds the outcomes of 1 of 2 inputs, such as b\.mid; run the same command again"
    with pytest.raises(PreprocessError, match=message):
        ShardReader(tmp_path, inputs_named("a.mid", "b.mid")).wait_for_all()


@pytest.mark.parametrize("change", ["size", "time", "name", "number", "options"])
def test_work_of_another_corpus_or_other_options_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    first, second, options = Input("a.mid", "", 1, 1), Input("b.mid", "", 1, 1), ReadOptions()
    work_folder = new_work_folder(tmp_path)
    logs.configure()
    work_folder.prepare(Inputs([first, second]), options)
    write_shard(work_folder.new_shard(), [(0, [kept(1)])])
    changed = {
        "size": [first, Input("b.mid", "", 2, 1)],
        "time": [first, Input("b.mid", "", 1, 2)],
        "name": [first, Input("c.mid", "", 1, 1)],
        "number": [first],
    }
    new_inputs = Inputs(changed.get(change, [first, second]))
    new_options = ReadOptions(keep_rests=True) if change == "options" else options
    assert unfinished(work_folder.prepare(new_inputs, new_options)) == list(range(len(new_inputs)))
    assert f"WARNING {work_folder.path} holds unfinished work of another corpus" in capsys.readouterr().err
    assert not list(work_folder.path.glob("shard-*"))


def test_work_folder_may_be_a_link_to_another_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    work_folder = WorkFolder.of(tmp_path / "a.h5")
    (tmp_path / "disk").mkdir()
    work_folder.path.symlink_to("disk")
    with work_folder.locked(tmp_path / "a.h5", BatchJob()):
        assert list((tmp_path / "disk").iterdir())
    assert f"WARNING {work_folder.path} cannot be removed (" in capsys.readouterr().err
    assert work_folder.path.is_symlink()
    assert not list((tmp_path / "disk").iterdir())
