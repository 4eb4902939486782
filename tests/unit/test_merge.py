"""The merge of shards into a store and a ledger: duplicates, splits, and errors after which there is a ledger but no store."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from pianogen import logs
from pianogen.errors import UsageError
from pianogen.midi.options import ReadOptions
from pianogen.midi.rejection import Reason
from pianogen.store import Split, Store
from preprocess.errors import PreprocessError
from preprocess.merge import MergeResult, merge
from preprocess.outcome import convert, rejected
from preprocess.shard import Entry, append, read_entries, read_rolls, split_of
from preprocess.sources import Input
from preprocess.sparse import encode
from preprocess.split_file import read_split_file
from tests.support.made_corpus import DRUMS, made_midi, with_foreign_chunk
from tests.support.made_music import made_roll

LEDGER = [
    *("name", "status", "reason", "message", "steps", "notes"),
    *("notes_out_of_range", "notes_drum", "notes_program", "notes_lost", "notes_merged", "notes_unreleased"),
    *("tempo_seen", "tempo_kept"),
]
PROVENANCE = {"version": "test"}
TEXT = b"not a MIDI file"


def converted(folder: Path, files: Mapping[str, bytes | Reason]) -> list[Entry]:
    """The entries of these inputs in order of name; an input with a reason instead of bytes is rejected for this reason."""
    handle = os.open(folder / "shard", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for name, content in files.items():
        source = Input(name, str(folder / "input"), 0, 0)
        if isinstance(content, Reason):
            append(handle, rejected(source, content, "a message"))
            continue
        Path(source.path).write_bytes(content)
        append(handle, convert(source, ReadOptions(), folder))
    os.close(handle)
    return sorted(read_entries(folder / "shard"), key=lambda entry: entry.name)


def merged(
    folder: Path, files: Mapping[str, bytes | Reason], splits: Mapping[str, Split] | None = None, max_rejects: float = 0
) -> MergeResult:
    return merge(converted(folder, files), folder / "a.h5", folder / "a.ledger.csv", splits, max_rejects, 4, PROVENANCE)


def ledger(folder: Path) -> list[dict[str, str]]:
    with (folder / "a.ledger.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, strict=True))
    assert rows[0] == LEDGER
    assert {len(row) for row in rows} == {len(LEDGER)}
    return [dict(zip(LEDGER, row, strict=True)) for row in rows[1:]]


def splits_of(folder: Path) -> dict[str, int]:
    with Store(folder / "a.h5") as store:
        return dict(zip(store.pieces.name, store.pieces.split.tolist(), strict=True))


def midi_of(split: Split, number: int = 0) -> bytes:
    """A MIDI file whose hash puts it into this split."""

    def is_in_split(seed: int) -> bool:
        rows = encode(made_roll(seed, 40)).rows
        return split_of(hashlib.sha256(rows).digest()) == split

    return [made_midi(seed) for seed in range(60) if is_in_split(seed)][number]


def test_first_by_name_of_equal_pieces_is_kept_and_the_ledger_names_it(tmp_path: Path) -> None:
    one, other = midi_of(Split.TRAIN), midi_of(Split.TRAIN, 1)
    files = {"z.mid": one, "b.mid": one, "B/c.mid": with_foreign_chunk(one), "a.mid": other, "y.mid": other}
    result = merged(tmp_path, files)
    assert (result.num_kept, result.num_duplicates, result.rejected.total()) == (2, 3, 0)
    assert [(row["name"], row["status"], row["reason"], row["message"]) for row in ledger(tmp_path)] == [
        ("B/c.mid", "kept", "", ""),
        ("a.mid", "kept", "", ""),
        ("b.mid", "duplicate", "", "equal to B/c.mid"),
        ("y.mid", "duplicate", "", "equal to a.mid"),
        ("z.mid", "duplicate", "", "equal to B/c.mid"),
    ]
    with Store(tmp_path / "a.h5") as store:
        assert (store.pieces.name, store.pieces.group) == (["B/c.mid", "a.mid"], ["B", ""])


def test_pieces_that_differ_only_in_tempo_are_kept_in_one_split(tmp_path: Path) -> None:
    variants = {
        f"{seed:02} {tempo_us}.mid": made_midi(seed, tempo_us=tempo_us) for seed in range(20) for tempo_us in (400_000, 500_000)
    }
    assert merged(tmp_path, variants).num_kept == 40
    splits = splits_of(tmp_path)
    assert len(set(splits.values())) > 1
    assert all(splits[f"{seed:02} 400000.mid"] == splits[f"{seed:02} 500000.mid"] for seed in range(20))


def test_added_files_never_move_a_piece_to_another_split(tmp_path: Path) -> None:
    files = {f"m/{seed:02}.mid": made_midi(seed) for seed in range(20)}
    merged(tmp_path, files)
    before = splits_of(tmp_path)
    added = {f"{folder}/{seed}.mid": made_midi(seed) for folder, seed in zip("abmz" * 6, range(20, 44), strict=True)}
    merged(tmp_path, {**added, **files, "l/renamed.mid": files["m/07.mid"]})
    after = splits_of(tmp_path)
    assert len(after) == 44
    assert after["l/renamed.mid"] == before.pop("m/07.mid")
    assert {name: after[name] for name in before} == before


def test_hash_splits_about_80_10_10() -> None:
    counts = Counter(split_of(hashlib.sha256(bytes([0, *divmod(number, 256)])).digest()) for number in range(20_000))
    assert set(counts) == {Split.TRAIN, Split.VALID, Split.TEST}
    assert counts[Split.TRAIN] == pytest.approx(16_000, rel=0.03)
    assert counts[Split.VALID] == pytest.approx(2_000, rel=0.1)


def test_pieces_that_the_split_file_does_not_list_get_no_split(tmp_path: Path) -> None:
    files = {f"{letter}.mid": made_midi(seed) for seed, letter in enumerate("abcd")}
    (tmp_path / "splits.csv").write_text('split,name,why\ntrain,a.mid,x\nvalid,"b.mid",\ntest,c.mid,y\n')
    splits = read_split_file(tmp_path / "splits.csv", list(files))
    merged(tmp_path, files, splits)
    assert splits_of(tmp_path) == {"a.mid": 0, "b.mid": 1, "c.mid": 2, "d.mid": 255}


def test_split_of_a_listed_duplicate_applies_to_the_kept_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise an unlisted copy with an earlier name would take a piece of a published corpus out of its split."""
    logs.configure()
    files = {name: midi_of(Split.TRAIN, number) for number, name in enumerate(("a.mid", "c.mid", "e.mid"))}
    files |= {"b.mid": files["a.mid"], "d.mid": files["c.mid"]}
    merged(tmp_path, files, {"b.mid": Split.TEST, "c.mid": Split.VALID, "d.mid": Split.TEST, "e.mid": Split.TRAIN})
    assert splits_of(tmp_path) == {"a.mid": Split.TEST, "c.mid": Split.VALID, "e.mid": Split.TRAIN}
    message = (
        "WARNING c.mid and d.mid are equal and become one piece of the split valid, although the split file assigns the second"
    )
    assert message in capsys.readouterr().err


def test_split_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("name,split\na.mid,test\n", encoding="utf-8-sig")
    assert read_split_file(tmp_path / "splits.csv", ["a.mid"]) == {"a.mid": Split.TEST}


def test_split_file_reads_names_with_special_characters(tmp_path: Path) -> None:
    names = ['"quoted", with commas.mid', "two\nlines.mid", "caf\\xe9.mid", "größe.mid"]
    with (tmp_path / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "split"), *((name, "test") for name in names)])
    assert read_split_file(tmp_path / "splits.csv", names) == dict.fromkeys(names, Split.TEST)


WRONG_SPLIT_FILES: dict[str, tuple[str | bytes, list[str]]] = {
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
def test_error_in_a_split_file_names_line_and_value(tmp_path: Path, wrong: str) -> None:
    text, parts = WRONG_SPLIT_FILES[wrong]
    (tmp_path / "splits.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        read_split_file(tmp_path / "splits.csv", ["a.mid", "b.mid"])
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize("place", ["none.csv", "."], ids=["missing", "folder"])
def test_unreadable_split_file_is_an_error(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_split_file(tmp_path / place, ["a.mid"])


def test_piece_with_two_splits_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("name,split\na.mid,train\na.mid,test\n")
    with pytest.raises(UsageError, match=r"splits\.csv:3: a\.mid appears twice, with different splits"):
        read_split_file(tmp_path / "splits.csv", ["a.mid"])


FOUR_INPUTS: dict[str, bytes | Reason] = {
    "a.mid": midi_of(Split.TRAIN),
    "b.mid": TEXT,
    "c.mid": midi_of(Split.TRAIN, 1),
    "d.mid": midi_of(Split.TRAIN),
}


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_store_is_written_up_to_the_allowed_share_of_rejects(tmp_path: Path, share: float) -> None:
    result = merged(tmp_path, FOUR_INPUTS, max_rejects=share)
    assert (result.num_kept, result.num_duplicates, result.rejected) == (2, 1, Counter({Reason.NOT_MIDI: 1}))
    assert (tmp_path / "a.h5").exists()
    assert [row["status"] for row in ledger(tmp_path)] == ["kept", "rejected", "kept", "duplicate"]


@pytest.mark.parametrize("share", [0.249, 0])
def test_more_rejects_are_an_error_and_no_store_is_written(tmp_path: Path, share: float) -> None:
    with pytest.raises(PreprocessError, match=r"1 of 4 inputs were rejected \(1 not_midi\), more than --max-rejects"):
        merged(tmp_path, FOUR_INPUTS, max_rejects=share)
    assert not (tmp_path / "a.h5").exists()
    assert [row["status"] for row in ledger(tmp_path)] == ["kept", "rejected", "kept", "duplicate"]


NO_STORE: dict[str, tuple[dict[str, bytes | Reason], dict[str, Split] | None, float, str]] = {
    "too_many_rejects": ({"a.mid": midi_of(Split.TRAIN), "b.mid": TEXT}, None, 0.1, "--max-rejects"),
    "nothing_kept": ({"a.mid": TEXT, "b.mid": DRUMS}, None, 1, "all 2 inputs were rejected"),
    "train_is_empty_by_hash": ({"a.mid": midi_of(Split.VALID), "b.mid": midi_of(Split.TEST)}, None, 0, "train split"),
    "train_is_empty_by_file": ({"a.mid": midi_of(Split.TRAIN)}, {"a.mid": Split.VALID}, 0, "train split"),
}


@pytest.mark.parametrize("case", NO_STORE)
def test_failed_merge_writes_the_ledger_and_keeps_the_old_store(tmp_path: Path, case: str) -> None:
    files, splits, max_rejects, message = NO_STORE[case]
    (tmp_path / "a.h5").write_bytes(b"the old store")
    with pytest.raises(PreprocessError, match=message):
        merged(tmp_path, files, splits, max_rejects)
    assert (tmp_path / "a.h5").read_bytes() == b"the old store"
    assert [row["name"] for row in ledger(tmp_path)] == list(files)
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "a.ledger.csv", "shard", "input"}


def test_ledger_has_one_row_per_input_with_its_counts(tmp_path: Path) -> None:
    # Two onsets of one key and step, one note out of range, one without a note-off, one drum note, and a tempo of no step.
    track = bytes.fromhex("00 ff5103 07a120 01 ff5103 061a80 01 ff5103 0493e0 00 903c40 01 803c40 01 903c40 60 803c40")
    track += bytes.fromhex("00 901440 00 903e40 00 992440 60 903c00 00 ff2f00")
    counted = bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b") + len(track).to_bytes(4, "big") + track
    files: dict[str, bytes | Reason] = {
        "a.mid": counted,
        "b.mid": with_foreign_chunk(counted),
        "c.mid": TEXT,
        "d.mid": Reason.CRASHED,
    }
    result = merged(tmp_path, files, {"a.mid": Split.TRAIN}, max_rejects=0.5)
    a, b, c, d = ledger(tmp_path)
    # A step has 24 ticks; the note without a note-off begins at tick 100 in step 4, and lasts for this step.
    numbers = {
        "steps": "5",
        "notes": "2",
        "notes_out_of_range": "1",
        "notes_drum": "1",
        "notes_program": "0",
        "notes_lost": "0",
        "notes_merged": "1",
        "notes_unreleased": "1",
        "tempo_seen": "3",
        "tempo_kept": "2",
    }
    assert a == {"name": "a.mid", "status": "kept", "reason": "", "message": ""} | numbers
    assert b == {"name": "b.mid", "status": "duplicate", "reason": "", "message": "equal to a.mid"} | numbers
    no_numbers = dict.fromkeys(LEDGER[4:], "")
    assert c["message"]
    assert c == {"name": "c.mid", "status": "rejected", "reason": "not_midi", "message": c["message"]} | no_numbers
    assert d == {"name": "d.mid", "status": "rejected", "reason": "crashed", "message": "a message"} | no_numbers
    assert {"steps": result.num_steps} | result.counts._asdict() == {name: int(value) for name, value in numbers.items()}


def test_ledger_keeps_names_with_special_characters(tmp_path: Path) -> None:
    names = ['"quoted", with commas.mid', " a .mid", "a\rb.mid", "a\r\nb.mid", "caf\\xe9.mid", "größe.mid", "two\nlines.mid"]
    merged(tmp_path, {name: made_midi(seed) for seed, name in enumerate(names)}, {names[0]: Split.TRAIN})
    assert [row["name"] for row in ledger(tmp_path)] == sorted(names)


def test_store_holds_the_pieces_in_order_of_name_with_source_hash_and_provenance(tmp_path: Path) -> None:
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
        rolls = [replace(rows, first_step=entry.first_step) for entry in entries for rows in read_rolls([entry], 4)]
        assert [store.roll(index) for index in range(4)] == rolls
        assert store.pieces.notes.tolist() == [roll.num_notes for roll in rolls]


def test_store_and_ledger_do_not_depend_on_the_order_of_completion(tmp_path: Path) -> None:
    files = {f"{seed}.mid": made_midi(seed) for seed in range(6)}
    contents = []
    for order in (list(files), list(reversed(files))):
        merged(tmp_path, {name: files[name] for name in order})
        contents.append(((tmp_path / "a.h5").read_bytes(), (tmp_path / "a.ledger.csv").read_bytes()))
    assert contents[0] == contents[1]
