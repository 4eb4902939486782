"""Shards to a store and a ledger: duplicates, splits, and the refusals that leave a ledger and no store."""

import csv
import hashlib
import os
from collections import Counter
from pathlib import Path

import h5py
import pytest

from pianogen.errors import UsageError
from pianogen.midi.rejection import Reason
from pianogen.roll import Roll
from pianogen.store import Split, Store
from preprocess.merge import Merged, PreprocessError, merge, read_split_file
from preprocess.outcome import Options, convert, rejected
from preprocess.shard import Entry, append, read_entries, read_rows, split_of
from preprocess.sources import Input
from preprocess.sparse import squeeze
from tests.support.made_corpus import DRUMS, made_midi, with_foreign_chunk
from tests.support.made_music import made_roll

LEDGER = [
    *("name", "status", "reason", "message", "steps", "notes"),
    *("notes_out_of_range", "notes_drum", "notes_merged", "notes_unreleased", "tempo_seen", "tempo_kept"),
]
PROVENANCE = {"version": "test"}
TEXT = b"this is no music"


def converted(folder: Path, files: dict[str, bytes | Reason]) -> list[Entry]:
    """Entries of these inputs in order of name; a reason stands for an input that was refused for it."""
    handle = os.open(folder / "shard", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for name, content in files.items():
        source = Input(name, str(folder / "input"), 0, 0)
        if isinstance(content, Reason):
            append(handle, rejected(source, content, "as told"))
            continue
        Path(source.path).write_bytes(content)
        append(handle, convert(source, Options(), folder))
    os.close(handle)
    return sorted(read_entries(folder / "shard"), key=lambda entry: entry.name)


def merged(
    folder: Path, files: dict[str, bytes | Reason], splits: dict[str, Split] | None = None, max_rejects: float = 0
) -> Merged:
    return merge(converted(folder, files), folder / "a.h5", folder / "a.ledger.csv", splits, max_rejects, PROVENANCE)


def ledger(folder: Path) -> list[dict[str, str]]:
    with (folder / "a.ledger.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, strict=True))
    assert rows[0] == LEDGER
    assert {len(row) for row in rows} == {len(LEDGER)}
    return [dict(zip(LEDGER, row, strict=True)) for row in rows[1:]]


def splits_of(folder: Path) -> dict[str, int]:
    with Store(folder / "a.h5") as store:
        return dict(zip(store.pieces.name, store.pieces.split.tolist(), strict=True))


def sound(split: Split, number: int = 0) -> bytes:
    """A MIDI file whose roll the hash puts into this split."""

    def is_in_split(seed: int) -> bool:
        rows, _ = squeeze(made_roll(seed, 40))
        return split_of(hashlib.sha256(rows).digest()) == split

    return [made_midi(seed) for seed in range(60) if is_in_split(seed)][number]


def test_first_by_name_of_equal_pieces_is_kept_and_named(tmp_path):
    one, other = sound(Split.TRAIN), sound(Split.TRAIN, 1)
    files = {"z.mid": one, "b.mid": one, "B/c.mid": with_foreign_chunk(one), "a.mid": other, "y.mid": other}
    result = merged(tmp_path, files)
    assert (result.kept, result.duplicates, result.rejected.total()) == (2, 3, 0)
    assert [(row["name"], row["status"], row["reason"], row["message"]) for row in ledger(tmp_path)] == [
        ("B/c.mid", "kept", "", ""),
        ("a.mid", "kept", "", ""),
        ("b.mid", "duplicate", "", "equal to B/c.mid"),
        ("y.mid", "duplicate", "", "equal to a.mid"),
        ("z.mid", "duplicate", "", "equal to B/c.mid"),
    ]
    with Store(tmp_path / "a.h5") as store:
        assert (store.pieces.name, store.pieces.group) == (["B/c.mid", "a.mid"], ["B", ""])


def test_pieces_that_differ_in_tempo_alone_are_both_kept_in_one_split(tmp_path):
    variants = {
        f"{seed:02} {tempo_us}.mid": made_midi(seed, tempo_us=tempo_us) for seed in range(20) for tempo_us in (400_000, 500_000)
    }
    assert merged(tmp_path, variants).kept == 40
    splits = splits_of(tmp_path)
    assert len(set(splits.values())) > 1
    assert all(splits[f"{seed:02} 400000.mid"] == splits[f"{seed:02} 500000.mid"] for seed in range(20))


def test_added_files_move_no_piece_to_another_split(tmp_path):
    files = {f"m/{seed:02}.mid": made_midi(seed) for seed in range(20)}
    merged(tmp_path, files)
    before = splits_of(tmp_path)
    added = {f"{folder}/{seed}.mid": made_midi(seed) for folder, seed in zip("abmz" * 6, range(20, 44), strict=True)}
    merged(tmp_path, {**added, **files, "l/renamed.mid": files["m/07.mid"]})
    after = splits_of(tmp_path)
    assert len(after) == 44
    assert after["l/renamed.mid"] == before.pop("m/07.mid")
    assert {name: after[name] for name in before} == before


def test_hash_splits_about_eight_one_one():
    counts = Counter(split_of(hashlib.sha256(bytes([0, *divmod(number, 256)])).digest()) for number in range(20_000))
    assert set(counts) == {Split.TRAIN, Split.VALID, Split.TEST}
    assert counts[Split.TRAIN] == pytest.approx(16_000, rel=0.03)
    assert counts[Split.VALID] == pytest.approx(2_000, rel=0.1)


def test_split_file_decides_and_leaves_out_what_it_does_not_name(tmp_path):
    files = {f"{letter}.mid": made_midi(seed) for seed, letter in enumerate("abcd")}
    (tmp_path / "splits.csv").write_text('split,name,why\ntrain,a.mid,x\nvalid,"b.mid",\ntest,c.mid,y\n')
    splits = read_split_file(tmp_path / "splits.csv", list(files))
    merged(tmp_path, files, splits)
    assert splits_of(tmp_path) == {"a.mid": 0, "b.mid": 1, "c.mid": 2, "d.mid": 255}


def test_duplicate_that_a_split_file_names_stands_for_the_piece_that_is_kept(tmp_path, capsys):
    """Otherwise a copy beside a published corpus would take a piece out of its split without a word."""
    files = {name: sound(Split.TRAIN, number) for number, name in enumerate(("a.mid", "c.mid", "e.mid"))}
    files |= {"b.mid": files["a.mid"], "d.mid": files["c.mid"]}
    merged(tmp_path, files, {"b.mid": Split.TEST, "c.mid": Split.VALID, "d.mid": Split.TEST, "e.mid": Split.TRAIN})
    assert splits_of(tmp_path) == {"a.mid": Split.TEST, "c.mid": Split.VALID, "e.mid": Split.TRAIN}
    assert "c.mid and d.mid are equal: they are one piece, in valid, though" in capsys.readouterr().err


def test_split_file_that_a_spreadsheet_wrote_is_read(tmp_path):
    (tmp_path / "splits.csv").write_text("name,split\na.mid,test\n", encoding="utf-8-sig")
    assert read_split_file(tmp_path / "splits.csv", ["a.mid"]) == {"a.mid": Split.TEST}


def test_split_file_may_hold_hostile_names(tmp_path):
    names = ['"quoted", with commas.mid', "two\nlines.mid", "caf\\xe9.mid", "größe.mid"]
    with (tmp_path / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "split"), *((name, "test") for name in names)])
    assert read_split_file(tmp_path / "splits.csv", names) == dict.fromkeys(names, Split.TEST)


WRONG_SPLIT_FILES = {
    "unknown_name": ("name,split\na.mid,train\nnone.mid,train\n", ["splits.csv:3", "'none.mid'"]),
    "unknown_split": ("name,split\na.mid,training\n", ["splits.csv:2", "'training'", "train, valid or test"]),
    "no_split": ("name,split\na.mid\n", ["splits.csv:2", "train, valid or test"]),
    "empty_split": ("name,split\na.mid,\n", ["splits.csv:2", "train, valid or test"]),
    "number_for_a_split": ("name,split\na.mid,0\n", ["splits.csv:2", "'0'"]),
    "other_columns": ("file,part\na.mid,train\n", ["splits.csv", "'file'", "expected name and split"]),
    "no_header": ("a.mid,train\n", ["splits.csv", "expected name and split"]),
    "empty": ("", ["splits.csv", "expected name and split"]),
    "not_text": (b"name,split\n\xff\xfe.mid,train\n", ["splits.csv"]),
}


@pytest.mark.parametrize("wrong", WRONG_SPLIT_FILES)
def test_wrong_split_file_is_refused_by_line(tmp_path, wrong):
    text, said = WRONG_SPLIT_FILES[wrong]
    (tmp_path / "splits.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        read_split_file(tmp_path / "splits.csv", ["a.mid", "b.mid"])
    assert all(part in str(caught.value) for part in said)


@pytest.mark.parametrize("place", ["none.csv", "."], ids=["missing", "folder"])
def test_split_file_that_cannot_be_read_is_refused(tmp_path, place):
    with pytest.raises(UsageError, match="cannot be read"):
        read_split_file(tmp_path / place, ["a.mid"])


def test_piece_named_twice_with_two_splits_is_refused(tmp_path):
    (tmp_path / "splits.csv").write_text("name,split\na.mid,train\na.mid,test\n")
    with pytest.raises(UsageError, match=r"a\.mid"):
        read_split_file(tmp_path / "splits.csv", ["a.mid"])


@pytest.mark.parametrize(("share", "is_allowed"), [(0.5, True), (0.25, True), (0.249, False), (0, False)])
def test_rejects_are_allowed_up_to_their_share(tmp_path, share, is_allowed):
    files = {"a.mid": sound(Split.TRAIN), "b.mid": TEXT, "c.mid": sound(Split.TRAIN, 1), "d.mid": sound(Split.TRAIN)}
    if is_allowed:
        result = merged(tmp_path, files, max_rejects=share)
        assert (result.kept, result.duplicates, result.rejected) == (2, 1, Counter(not_midi=1))
    else:
        with pytest.raises(PreprocessError, match=r"1 of 4 inputs were refused \(1 not_midi\), more than --max-rejects"):
            merged(tmp_path, files, max_rejects=share)
    assert (tmp_path / "a.h5").exists() == is_allowed
    assert [row["status"] for row in ledger(tmp_path)] == ["kept", "rejected", "kept", "duplicate"]


REFUSED = {
    "too_many_rejects": ({"a.mid": sound(Split.TRAIN), "b.mid": TEXT}, None, 0.1, "--max-rejects"),
    "nothing_kept": ({"a.mid": TEXT, "b.mid": DRUMS}, None, 1, "none of 2 inputs became a roll"),
    "train_is_empty_by_hash": ({"a.mid": sound(Split.VALID), "b.mid": sound(Split.TEST)}, None, 0, "train split"),
    "train_is_empty_by_file": ({"a.mid": sound(Split.TRAIN)}, {"a.mid": Split.VALID}, 0, "train split"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_store_has_a_ledger_and_the_old_store_stays(tmp_path, case):
    files, splits, max_rejects, said = REFUSED[case]
    (tmp_path / "a.h5").write_bytes(b"the old store")
    with pytest.raises(PreprocessError, match=said):
        merged(tmp_path, files, splits, max_rejects)
    assert (tmp_path / "a.h5").read_bytes() == b"the old store"
    assert [row["name"] for row in ledger(tmp_path)] == list(files)
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "a.ledger.csv", "shard", "input"}


def test_ledger_has_a_row_per_input_with_its_numbers(tmp_path):
    # Two notes of one step on a key, one out of range, one never released, one of the drums, and a tempo that no step hears.
    track = bytes.fromhex("00 ff5103 07a120 01 ff5103 061a80 01 ff5103 0493e0 00 903c40 01 803c40 01 903c40 60 803c40")
    track += bytes.fromhex("00 901440 00 903e40 00 992440 60 903c00 00 ff2f00")
    counted = bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b") + len(track).to_bytes(4, "big") + track
    files = {"a.mid": counted, "b.mid": with_foreign_chunk(counted), "c.mid": TEXT, "d.mid": Reason.CRASHED}
    result = merged(tmp_path, files, {"a.mid": Split.TRAIN}, max_rejects=0.5)
    a, b, c, d = ledger(tmp_path)
    # 24 ticks are a step; the note never released begins at tick 100, step 4, and lasts that step.
    numbers = {
        "steps": "5",
        "notes": "2",
        "notes_out_of_range": "1",
        "notes_drum": "1",
        "notes_merged": "1",
        "notes_unreleased": "1",
        "tempo_seen": "3",
        "tempo_kept": "2",
    }
    assert a == {"name": "a.mid", "status": "kept", "reason": "", "message": ""} | numbers
    assert b == {"name": "b.mid", "status": "duplicate", "reason": "", "message": "equal to a.mid"} | numbers
    nothing = dict.fromkeys(LEDGER[4:], "")
    assert c["message"]
    assert c == {"name": "c.mid", "status": "rejected", "reason": "not_midi", "message": c["message"]} | nothing
    assert d == {"name": "d.mid", "status": "rejected", "reason": "crashed", "message": "as told"} | nothing
    assert result.totals == Counter({name: int(value) for name, value in numbers.items()})


def test_ledger_keeps_hostile_names(tmp_path):
    names = ['"quoted", with commas.mid', " a .mid", "a\rb.mid", "a\r\nb.mid", "caf\\xe9.mid", "größe.mid", "two\nlines.mid"]
    merged(tmp_path, {name: made_midi(seed) for seed, name in enumerate(names)}, {names[0]: Split.TRAIN})
    assert [row["name"] for row in ledger(tmp_path)] == sorted(names)


def test_store_holds_the_pieces_in_order_of_name_with_their_origin(tmp_path):
    files = {f"{folder}/{seed}.mid": made_midi(seed) for seed, folder in enumerate("cabZ")}
    merged(tmp_path, files, dict.fromkeys(files, Split.TRAIN))
    entries = converted(tmp_path, files)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert [name.decode() for name in file["piece/name"]] == ["Z/3.mid", "a/1.mid", "b/2.mid", "c/0.mid"]
        assert [digest.decode() for digest in file["piece/sha256"]] == [entry.source.hex() for entry in entries]
        assert file.attrs["kind"] == "corpus"
    with Store(tmp_path / "a.h5") as store:
        store.verify()
        assert store.provenance == PROVENANCE
        rolls = [Roll(rows.packed, rows.tempo_us, entry.first_step) for entry in entries for rows in read_rows([entry])]
        assert [store.roll(index) for index in range(4)] == rolls
        assert store.pieces.notes.tolist() == [roll.num_notes for roll in rolls]


def test_equal_entries_give_equal_bytes_in_whatever_order_they_were_finished(tmp_path):
    files = {f"{seed}.mid": made_midi(seed) for seed in range(6)}
    written = []
    for order in (list(files), list(reversed(files))):
        merged(tmp_path, {name: files[name] for name in order})
        written.append(((tmp_path / "a.h5").read_bytes(), (tmp_path / "a.ledger.csv").read_bytes()))
    assert written[0] == written[1]
