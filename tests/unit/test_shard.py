"""A shard gives back every whole record and nothing of a broken one, whichever byte it was broken at."""

import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.errors import PianogenError
from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason
from pianogen.roll import Roll
from preprocess import shard as shards
from preprocess import work_folder as jobs
from preprocess.merge import PreprocessError
from preprocess.outcome import Options, Outcome
from preprocess.shard import Entry, append, read_entries, read_rows, split_of
from preprocess.sources import Input
from preprocess.sparse import squeeze
from preprocess.work_folder import Job

exact = settings(derandomize=True, deadline=None, max_examples=60)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
digests = st.one_of(st.just(""), st.binary(min_size=32, max_size=32).map(bytes.hex))
numbers = st.integers(0, 1 << 40)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    if draw(st.booleans()):
        return Outcome(draw(texts), "rejected", draw(st.sampled_from(Reason)), draw(texts), draw(digests))
    steps = draw(st.integers(1, 9))
    source = np.random.default_rng(draw(st.integers(0, 99)))
    roll = Roll(source.integers(0, 256, (steps, 22), np.uint8), source.integers(1, 1 << 24, steps, np.uint32), draw(numbers))
    return Outcome(draw(texts), "kept", sha256=draw(digests), counts=Counts(*draw(st.tuples(*[numbers] * 7))), roll=roll)


def kept(name: str, seed: int, steps: int = 3) -> Outcome:
    source = np.random.default_rng(seed)
    roll = Roll(source.integers(0, 256, (steps, 22), np.uint8), source.integers(1, 1 << 24, steps, np.uint32), seed)
    return Outcome(name, "kept", sha256=f"{seed:064x}", counts=Counts(*range(seed, seed + 7)), roll=roll)


def write(path: Path, written: list[Outcome]) -> list[int]:
    """Appends to a shard; its size after each record."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sizes = []
    for outcome in written:
        append(handle, outcome)
        sizes.append(os.fstat(handle).st_size)
    os.close(handle)
    return sizes


def is_what_was_written(entry: Entry, outcome: Outcome) -> bool:
    fields = ("name", "status", "reason", "message", "counts")
    same = all(getattr(entry, field) == getattr(outcome, field) for field in fields) and entry.source.hex() == outcome.sha256
    if outcome.roll is None:
        return same and entry.steps == 0
    is_same_split = entry.hash_split == split_of(hashlib.sha256(squeeze(outcome.roll)[0]).digest())
    (rows,) = read_rows([entry])
    found = Roll(rows.packed, rows.tempo_us, entry.first_step)
    return same and is_same_split and found == outcome.roll and entry.steps == len(outcome.roll)


@exact
@given(written=st.lists(outcomes(), max_size=5))
def test_what_is_appended_is_read(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("shard") / "shard-1"
    write(path, written)
    entries = list(read_entries(path))
    assert len(entries) == len(written)
    assert all(map(is_what_was_written, entries, written))


def test_equal_rolls_are_known_as_equal_and_tempo_tells_contents_apart(tmp_path):
    one = kept("one", 1)
    same = Outcome("same", "kept", sha256="00" * 32, counts=one.counts, roll=one.roll)
    slower = Outcome("slower", "kept", counts=one.counts, roll=Roll(one.roll.packed, one.roll.tempo_us + 1))
    write(tmp_path / "shard", [one, same, slower, kept("other", 2)])
    first, second, third, fourth = read_entries(tmp_path / "shard")
    assert first.content == second.content
    assert len({entry.content for entry in (first, third, fourth)}) == 3
    assert first.hash_split == second.hash_split == third.hash_split


REFUSED = Outcome("bad.mid", "rejected", Reason.TRUNCATED, "ends\nearly")


@pytest.mark.parametrize("last", [kept("c.mid", 3), REFUSED], ids=["kept", "rejected"])
def test_shard_cut_at_any_byte_of_its_last_record_gives_the_records_before(tmp_path, last):
    path = tmp_path / "shard"
    before = [kept("a.mid", 1), REFUSED, kept("b.mid", 2, steps=1)]
    sizes = write(path, [*before, last])
    data = path.read_bytes()
    assert len(list(read_entries(path))) == 4
    for size in range(sizes[2], sizes[3]):
        path.write_bytes(data[:size])
        entries = list(read_entries(path))
        assert len(entries) == 3, f"cut at byte {size}"
        assert all(map(is_what_was_written, entries, before))


@pytest.mark.parametrize("garbage", [b"\0", b"\0" * 4096, b"PGS1", b"PGS1" + b"\xff" * 60, b"garbage" * 99], ids=range(5))
def test_garbage_behind_the_records_is_not_read(tmp_path, garbage):
    path, written = tmp_path / "shard", [kept("a.mid", 1), REFUSED]
    write(path, written)
    with path.open("ab") as file:
        file.write(garbage)
    entries = list(read_entries(path))
    assert len(entries) == 2
    assert all(map(is_what_was_written, entries, written))


def test_record_with_a_damaged_header_ends_the_shard(tmp_path):
    path, written = tmp_path / "shard", [kept("a.mid", 1), kept("b.mid", 2), kept("c.mid", 3)]
    sizes = write(path, written)
    body_at = [entry.body_at for entry in read_entries(path)]
    data = path.read_bytes()
    for position in range(sizes[0] + 20, body_at[1]):
        damaged = bytearray(data)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        assert [entry.name for entry in read_entries(path)] == ["a.mid"], f"byte {position}"


def test_damaged_rows_are_found_when_they_are_read(tmp_path):
    path, written = tmp_path / "shard", [kept("a.mid", 1), kept("b.mid", 2)]
    write(path, written)
    first = next(read_entries(path))
    data = path.read_bytes()
    for position in range(first.body_at, first.body_at + first.steps * 26):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        entries = list(read_entries(path))
        for several in (entries, reversed(entries), entries[:1]):
            with pytest.raises(PianogenError, match=r"shard: the rows of a\.mid are damaged; remove this file"):
                list(read_rows(several))
        assert is_what_was_written(entries[1], written[1])


@exact
@given(steps=st.lists(st.integers(1, 30), min_size=1, max_size=12), batch_steps=st.integers(1, 60), data=st.data())
def test_rows_of_many_pieces_are_theirs_end_to_end_with_few_files_open(tmp_path_factory, steps, batch_steps, data):
    folder = tmp_path_factory.mktemp("shards")
    written = [kept(f"{index:02}.mid", index, count) for index, count in enumerate(steps)]
    for outcome in written:
        write(folder / f"shard-{data.draw(st.integers(0, 4))}", [outcome])
    entries = sorted(entry for path in folder.iterdir() for entry in read_entries(path))
    ends = set(np.cumsum(steps).tolist())
    read = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BATCH_STEPS", batch_steps)
        patch.setattr(shards, "_MAX_OPEN", 2)
        for rows in read_rows(entries):
            read.append(rows)
            assert sum(map(len, read)) in ends
            assert len(rows) < batch_steps + max(steps)
            assert num_open_below(folder) <= 2
    assert num_open_below(folder) == 0
    assert np.array_equal(np.concatenate([rows.packed for rows in read]), np.concatenate([each.roll.packed for each in written]))
    tempos = [each.roll.tempo_us for each in written]
    assert np.array_equal(np.concatenate([rows.tempo_us for rows in read]), np.concatenate(tempos))


def num_open_below(folder: Path) -> int:
    return sum(os.path.realpath(handle).startswith(str(folder)) for handle in Path("/proc/self/fd").iterdir())


@exact
@given(written=st.lists(outcomes(), max_size=6), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_shard_read_in_pieces_has_the_entries_of_reading_it_once(tmp_path_factory, written, cuts):
    path = tmp_path_factory.mktemp("shard") / "shard-1"
    ends = [0, *write(path, written)]
    stops = sorted(ends[min(cut, len(written))] for cut in cuts)
    pieces = [read_entries(path, begin, end) for begin, end in zip([0, *stops], [*stops, None], strict=True)]
    assert [entry for piece in pieces for entry in piece] == list(read_entries(path))


@pytest.mark.parametrize("end", [1, 19, 20, 10_000, 1 << 40])
def test_end_beyond_what_is_there_reads_what_is_there(tmp_path, end):
    """A network file system may show less of a shard than its writer has told."""
    path = tmp_path / "shard"
    path.touch()
    assert list(read_entries(path, 0, end)) == []
    (size,) = write(path, [kept("a.mid", 1)])
    assert len(list(read_entries(path, 0, end))) == (end >= size)
    assert list(read_entries(path, size, end)) == []


def test_empty_shard_has_no_records(tmp_path):
    (tmp_path / "shard").touch()
    assert list(read_entries(tmp_path / "shard")) == []


def test_resumed_job_leaves_out_what_is_done_and_tries_again_what_the_machine_refused(tmp_path, capsys):
    inputs = [Input(f"{name}.mid", "", 1, 1) for name in "abcde"]
    job = Job(tmp_path / "work")
    job.folder.mkdir()
    assert job.begin(inputs, Options()) == inputs
    assert capsys.readouterr().err == ""
    late = Outcome("b.mid", "rejected", Reason.TIMEOUT)
    refused = Outcome("c.mid", "rejected", Reason.NO_NOTES)
    crashed = Outcome("e.mid", "rejected", Reason.CRASHED)
    write(job.new_shard(), [kept("a.mid", 1), late])
    write(job.new_shard(), [refused, crashed])
    assert [each.name for each in job.begin(inputs, Options())] == ["b.mid", "d.mid", "e.mid"]
    assert capsys.readouterr().err == "resuming: 2 of 5 inputs were finished before\n"
    write(job.new_shard(), [kept("b.mid", 2), kept("d.mid", 4), kept("e.mid", 5)])
    assert [(each.name, each.status) for each in job.finished(inputs)] == [
        ("a.mid", "kept"),
        ("b.mid", "kept"),
        ("c.mid", "rejected"),
        ("d.mid", "kept"),
        ("e.mid", "kept"),
    ]


@exact
@given(data=st.data())
def test_job_that_reads_shards_while_they_grow_knows_what_one_that_reads_them_at_the_end_knows(tmp_path_factory, data):
    job = Job(tmp_path_factory.mktemp("work"))
    inputs = [Input(f"{index}.mid", "", 1, 1) for index in range(data.draw(st.integers(1, 12)))]
    paths = [job.new_shard() for _ in range(3)]
    for seed, each in enumerate(inputs):
        path = data.draw(st.sampled_from(paths))
        is_kept = data.draw(st.booleans())
        (size,) = write(path, [kept(each.name, seed) if is_kept else Outcome(each.name, "rejected", Reason.NO_NOTES, "none")])
        with path.open("ab") as file:
            file.write(b"PGS1 and what is being written")
        if data.draw(st.booleans()):
            job.read_shard(path, size)
            job.read_shard(path, data.draw(st.sampled_from([0, size])))  # told late, or twice
        os.truncate(path, size)
    assert job.finished(inputs) == Job(job.folder).finished(inputs)


def test_shard_that_another_node_is_about_to_show_is_awaited(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_LOOK_EVERY_S", 0.01)
    job, source = Job(tmp_path), Input("a.mid", "", 1, 1)
    path = job.new_shard()
    job.read_shard(path, 100)
    late = threading.Timer(0.1, write, (path, [kept("a.mid", 1)]))
    late.start()
    (entry,) = job.finished([source])
    late.join()
    assert is_what_was_written(entry, kept("a.mid", 1))


def test_input_in_no_shard_is_an_error_and_never_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_HIDDEN_S", 0.0)
    job = Job(tmp_path)
    write(job.new_shard(), [kept("a.mid", 1)])
    with pytest.raises(PreprocessError, match=r"1 inputs are in no shard of .*, b\.mid among them; run the same command again"):
        job.finished([Input("a.mid", "", 1, 1), Input("b.mid", "", 1, 1)])


@pytest.mark.parametrize("change", ["size", "time", "name", "number", "options"])
def test_job_begins_anew_when_corpus_or_options_changed(tmp_path, capsys, change):
    inputs, options = [Input("a.mid", "", 1, 1), Input("b.mid", "", 1, 1)], Options()
    job = Job(tmp_path / "work")
    job.folder.mkdir()
    job.begin(inputs, options)
    write(job.new_shard(), [kept("a.mid", 1)])
    changed = {
        "size": Input("b.mid", "", 2, 1),
        "time": Input("b.mid", "", 1, 2),
        "name": Input("c.mid", "", 1, 1),
    }
    now = [inputs[0], changed.get(change, inputs[1])][: 1 if change == "number" else 2]
    assert job.begin(now, Options(keep_rests=True) if change == "options" else options) == now
    assert str(job.folder) in capsys.readouterr().err
    assert not list(job.folder.glob("shard-*"))
