"""The merge of shards into a store and a ledger: duplicates, splits, and errors after which there is a ledger but no store."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest

from pianogen import logs
from pianogen.errors import UsageError
from pianogen.midi.counts import Counts
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason
from pianogen.midi.shingles import minhash
from pianogen.midi.writer import write_midi
from pianogen.roll import pack
from pianogen.store import Split, Store
from pianogen.store.__main__ import main as describe_store
from preprocess.errors import PreprocessError
from preprocess.hash_split import hash_split
from preprocess.inputs import Input
from preprocess.merge import MergeOptions, MergeResult, merge
from preprocess.metadata import Metadata, Target
from preprocess.outcome import Outcome, convert, rejected
from preprocess.summary import describe_result
from preprocess.text_column import Names
from preprocess.unread import Unread
from tests.support.made_corpus import DRUMS, made_midi, with_foreign_chunk
from tests.support.made_music import made_roll
from tests.support.shard_files import table_of, write_shard
from tests.support.shingles import jaccard

LEDGER = [
    *("name", "status", "reason", "message", "steps", "notes"),
    *("notes_out_of_range", "notes_drum", "notes_program", "notes_lost", "notes_merged", "notes_unreleased"),
    *("repairs", "tempo_seen", "tempo_kept", "similar_to", "similarity"),
]
Content = bytes | Reason | Sequence[Outcome]
PROVENANCE = {"version": "test"}
TEXT = b"not a MIDI file"
NO_SIMILAR = {"similar_to": "", "similarity": ""}


class Files:
    """The names of some inputs, their metadata, and a shard with their records in the given order.

    Args:
        files: the bytes of each input, its outcomes, or the reason for which it is rejected.
    """

    def __init__(self, folder: Path, files: Mapping[str, Content]) -> None:
        self.names = Names(sorted(files))
        self.shard = folder / "shard"
        self.shard.unlink(missing_ok=True)
        records = []
        for name, content in files.items():
            (folder / "input").write_bytes(content if isinstance(content, bytes) else b"")
            source = Input(name, str(folder / "input"), 0, 0, number=self.number(name))
            outcomes = convert(source, ReadOptions(), folder)
            if isinstance(content, Reason):
                outcomes = [rejected(content, "a message")]
            elif not isinstance(content, bytes):
                outcomes = list(content)
            records.append((source.number, outcomes))
        write_shard(self.shard, records)

    def number(self, name: str) -> int:
        number = self.names.find(name)
        assert number is not None
        return number

    def metadata(self, splits: Mapping[str, Split], groups: Mapping[str, str]) -> Metadata:
        metadata = Metadata(len(self.names), has_splits=bool(splits))
        for name in {**splits, **groups}:
            stem, _, tune = name.partition("#")
            target = Target(self.number(stem), int(tune or 0))
            assert metadata.assign(target, groups.get(name), splits.get(name, Split.NONE))
        return metadata


def merged(
    folder: Path,
    files: Mapping[str, Content],
    splits: Mapping[str, Split] | None = None,
    max_rejects: float = 0,
    groups: Mapping[str, str] | None = None,
    should_drop: bool = False,
) -> MergeResult:
    written = Files(folder, files)
    metadata = None if splits is None and groups is None else written.metadata(splits or {}, groups or {})
    table = table_of([written.shard], written.names)
    options = MergeOptions(metadata, should_drop, Fraction(str(max_rejects)))
    return merge(table, [written.shard], folder / "a.h5", folder / "a.ledger.csv", options, PROVENANCE)


def tune(seed: int, tempo_us: int = 500_000) -> Outcome:
    """The outcome of one tune of a score."""
    roll = made_roll(seed, 40)
    counts = Counts(**dict.fromkeys(Counts._fields, 0) | {"notes": roll.num_notes})
    return Outcome("ab" * 32, counts=counts, roll=replace(roll, tempo_us=roll.tempo_us * 0 + tempo_us), minhash=minhash(roll))


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
        roll = made_roll(seed, 40)
        return hash_split(roll, minhash(roll)) == split

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


def test_pieces_that_the_metadata_does_not_list_get_no_split(tmp_path: Path) -> None:
    files = {f"{letter}.mid": made_midi(seed) for seed, letter in enumerate("abcd")}
    merged(tmp_path, files, {"a.mid": Split.TRAIN, "b.mid": Split.VALID, "c.mid": Split.TEST})
    assert splits_of(tmp_path) == {"a.mid": 0, "b.mid": 1, "c.mid": 2, "d.mid": 255}


def test_split_of_a_listed_duplicate_applies_to_the_kept_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise an unlisted copy with an earlier name would take a piece of a published corpus out of its split."""
    logs.configure()
    files = {name: midi_of(Split.TRAIN, number) for number, name in enumerate(("a.mid", "c.mid", "e.mid"))}
    files |= {"b.mid": files["a.mid"], "d.mid": files["c.mid"]}
    merged(tmp_path, files, {"b.mid": Split.TEST, "c.mid": Split.VALID, "d.mid": Split.TEST, "e.mid": Split.TRAIN})
    assert splits_of(tmp_path) == {"a.mid": Split.TEST, "c.mid": Split.VALID, "e.mid": Split.TRAIN}
    message = "WARNING c.mid and d.mid become one piece of the split valid, although the metadata assigns the second to test"
    assert message in capsys.readouterr().err


FOUR_INPUTS: dict[str, Content] = {
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
    with pytest.raises(PreprocessError, match=r"1 of 4 pieces were rejected \(1 not_midi\), more than --max-rejects"):
        merged(tmp_path, FOUR_INPUTS, max_rejects=share)
    assert not (tmp_path / "a.h5").exists()
    assert [row["status"] for row in ledger(tmp_path)] == ["kept", "rejected", "kept", "duplicate"]


NO_STORE: dict[str, tuple[dict[str, Content], dict[str, Split] | None, float, str]] = {
    "too_many_rejects": ({"a.mid": midi_of(Split.TRAIN), "b.mid": TEXT}, None, 0.1, "--max-rejects"),
    "nothing_kept": ({"a.mid": TEXT, "b.mid": DRUMS}, None, 1, "all 2 pieces were rejected"),
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
    header = bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b")
    counted, repaired = (header + (len(track) + excess).to_bytes(4, "big") + track for excess in (0, 100))
    files: dict[str, Content] = {
        "a.mid": counted,
        "b.mid": repaired,
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
    assert a == {"name": "a.mid", "status": "kept", "reason": "", "message": "", **numbers, **NO_SIMILAR, "repairs": ""}
    assert b == {**a, "name": "b.mid", "status": "duplicate", "message": "equal to a.mid", "repairs": "long_track"}
    summary = describe_result(result, len(files), Unread(), tmp_path / "a.h5", tmp_path / "a.ledger.csv").splitlines()
    assert summary[1:3] == ["  rejected    1 crashed, 1 not_midi", "  repaired    1 long_track"]
    no_numbers = dict.fromkeys(LEDGER[4:], "")
    assert c["message"]
    assert c == {"name": "c.mid", "status": "rejected", "reason": "not_midi", "message": c["message"]} | no_numbers
    assert d == {"name": "d.mid", "status": "rejected", "reason": "crashed", "message": "a message"} | no_numbers
    expected = {name: int(value) for name, value in numbers.items()} | {"notes_silent": 0}
    assert {"steps": result.num_steps} | result.counts._asdict() == expected


def test_ledger_says_how_many_notes_of_a_score_are_silent(tmp_path: Path) -> None:
    with_cues, without = tune(0), tune(1)
    assert with_cues.counts is not None
    with_cues = replace(with_cues, counts=with_cues.counts._replace(notes_silent=1_200))
    merged(tmp_path, {"a.abc": [with_cues, without], "b.abc": [with_cues]})
    assert [row["message"] for row in ledger(tmp_path)] == [
        "1,200 notes of the score are silent, such as cue notes",
        "",
        "equal to a.abc#1",
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("  two\nlines\r\n\tand a tab\n", "two lines and a tab"),
        (os.fsdecode(b"caf\xe9.tgz is damaged"), "caf\\xe9.tgz is damaged"),
    ],
)
def test_message_of_a_rejection_is_one_line_with_invalid_bytes_escaped(message: str, expected: str) -> None:
    assert rejected(Reason.UNREADABLE, message).message == expected


def test_ledger_keeps_names_with_special_characters(tmp_path: Path) -> None:
    names = ['"quoted", with commas.mid', " a .mid", "a\rb.mid", "a\r\nb.mid", "caf\\xe9.mid", "größe.mid", "two\nlines.mid"]
    merged(tmp_path, {name: made_midi(seed) for seed, name in enumerate(names)}, {names[0]: Split.TRAIN})
    assert [row["name"] for row in ledger(tmp_path)] == sorted(names)


def test_store_holds_the_pieces_in_order_of_name_with_source_hash_and_provenance(tmp_path: Path) -> None:
    files = {f"{folder}/{seed}.mid": made_midi(seed) for seed, folder in enumerate("cabZ")}
    merged(tmp_path, files, dict.fromkeys(files, Split.TRAIN))
    digests = [hashlib.sha256(files[name]).hexdigest() for name in sorted(files)]
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert [name.decode() for name in file["piece/name"]] == ["Z/3.mid", "a/1.mid", "b/2.mid", "c/0.mid"]
        assert [digest.decode() for digest in file["piece/sha256"]] == digests
        assert file.attrs["kind"] == "corpus"
    with Store(tmp_path / "a.h5") as store:
        store.verify()
        assert store.provenance == {**PROVENANCE, "near_duplicates": {"rule": "keep", "found": 0, "across_splits": 0}}
        rolls = [read_roll(files[name], name)[0] for name in sorted(files)]
        assert [store.roll(index) for index in range(4)] == rolls
        assert store.pieces.notes.tolist() == [roll.num_notes for roll in rolls]


def test_store_and_ledger_do_not_depend_on_the_order_of_completion(tmp_path: Path) -> None:
    files = {f"{seed}.mid": made_midi(seed) for seed in range(6)}
    contents = []
    for order in (list(files), list(reversed(files))):
        merged(tmp_path, {name: files[name] for name in order})
        contents.append(((tmp_path / "a.h5").read_bytes(), (tmp_path / "a.ledger.csv").read_bytes()))
    assert contents[0] == contents[1]


def test_near_duplicates_are_kept_and_the_ledger_names_the_most_similar_earlier_piece(tmp_path: Path) -> None:
    roll = made_roll(1, 200)
    files: dict[str, Content] = {
        "a.mid": write_midi(roll),
        "b.mid": made_midi(7, 200),
        "c.mid": write_midi(roll.rows(0, 160)),
        "d.mid": made_midi(1, 200, tempo_us=700_000),
    }
    result = merged(tmp_path, files)
    assert (result.num_kept, result.num_duplicates, result.num_similar) == (4, 0, 2)
    assert [(row["status"], row["similar_to"]) for row in ledger(tmp_path)] == [
        *(("kept", ""), ("kept", "")),
        *(("kept", "a.mid"), ("kept", "a.mid")),
    ]
    assert [row["similarity"] for row in ledger(tmp_path)][::3] == ["", "1.0"]
    assert float(ledger(tmp_path)[2]["similarity"]) == pytest.approx(jaccard(roll, roll.rows(0, 160)), abs=0.13)


def test_dropped_near_duplicates_are_duplicates_in_the_ledger(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "a.mid": made_midi(1, 200),
        "b.mid": made_midi(1, 200, tempo_us=700_000),
        "c.mid": with_foreign_chunk(made_midi(1, 200, tempo_us=700_000)),
        "d.mid": write_midi(made_roll(1, 200).rows(0, 130)),
        "e.mid": made_midi(2, 200),
    }
    result = merged(tmp_path, files, should_drop=True)
    assert (result.num_kept, result.num_duplicates, result.num_similar) == (3, 2, 1)
    assert [(row["status"], row["message"], row["similar_to"]) for row in ledger(tmp_path)] == [
        ("kept", "", ""),
        ("duplicate", "similar (1.00) to a.mid", "a.mid"),
        ("duplicate", "equal to a.mid", ""),
        ("kept", "", "a.mid"),
        ("kept", "", ""),
    ]
    with Store(tmp_path / "a.h5") as store:
        assert store.pieces.name == ["a.mid", "d.mid", "e.mid"]
        assert store.provenance["near_duplicates"] == {
            "rule": "drop",
            "found": 1,
            "across_splits": result.num_across_splits,
        }


def test_near_duplicates_in_different_splits_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variants = {f"{letter}.mid": made_midi(1, 100, tempo_us=500_000 + number) for number, letter in enumerate("abcde")}
    splits = {"a.mid": Split.TRAIN, "b.mid": Split.TRAIN, "c.mid": Split.TEST, "d.mid": Split.VALID}
    result = merged(tmp_path, variants, splits)
    assert (result.num_similar, result.num_across_splits) == (4, 2)
    assert describe_store(["info", str(tmp_path / "a.h5")]) == 0
    line = "near-duplicates      kept; 4 pieces resemble an earlier one, 2 of them in another split"
    assert line in capsys.readouterr().out.splitlines()
    assert merged(tmp_path, {"a.mid": midi_of(Split.TRAIN)} | variants).num_across_splits == 0


def test_transposed_and_tempo_changed_copies_are_in_the_split_of_their_original(tmp_path: Path) -> None:
    files: dict[str, Content] = {}
    for seed in range(30):
        roll = made_roll(seed, 60)
        higher = replace(roll, packed=pack(np.roll(roll.states, 5, axis=1)), tempo_us=roll.tempo_us + 1_000)
        files |= {f"{seed:02} original.mid": write_midi(roll), f"{seed:02} higher.mid": write_midi(higher)}
    merged(tmp_path, files)
    splits = splits_of(tmp_path)
    assert len(splits) == 60
    assert len(set(splits.values())) == 3
    assert all(splits[f"{seed:02} original.mid"] == splits[f"{seed:02} higher.mid"] for seed in range(30))


def test_metadata_without_splits_gives_groups_and_keeps_the_splits_by_hash(tmp_path: Path) -> None:
    files = {f"x/{seed:02}.mid": made_midi(seed) for seed in range(12)}
    merged(tmp_path, files)
    by_hash = splits_of(tmp_path)
    merged(tmp_path, files, groups={"x/03.mid": "Chopin", "x/05.mid": "Liszt"})
    assert splits_of(tmp_path) == by_hash
    with Store(tmp_path / "a.h5") as store:
        assert list(store.pieces.group[3:6]) == ["Chopin", "x", "Liszt"]


def test_tunes_are_pieces_of_their_own(tmp_path: Path) -> None:
    """Also with metadata for a single tune, a rejected tune, a tune that is a duplicate, and names in order."""
    files: dict[str, Content] = {
        "s/b.abc": [tune(number) for number in range(9)] + [tune(0), rejected(Reason.NO_NOTES, "no notes"), tune(20)],
        "s/a.mid": made_midi(33),
    }
    splits = {"s/b.abc": Split.TRAIN, "s/b.abc#2": Split.TEST}
    result = merged(tmp_path, files, splits, max_rejects=0.1, groups={"s/b.abc#12": "dance"})
    assert (result.num_pieces, result.num_kept, result.num_duplicates, result.rejected.total()) == (13, 11, 1, 1)
    rows = {row["name"]: row for row in ledger(tmp_path)}
    assert list(rows) == sorted(["s/a.mid", *(f"s/b.abc#{number}" for number in range(1, 13))])
    assert (rows["s/b.abc#10"]["status"], rows["s/b.abc#10"]["message"]) == ("duplicate", "equal to s/b.abc#1")
    assert (rows["s/b.abc#11"]["status"], rows["s/b.abc#11"]["reason"]) == ("rejected", "no_notes")
    with Store(tmp_path / "a.h5") as store:
        split = splits_of(tmp_path)
        assert (split["s/a.mid"], split["s/b.abc#1"], split["s/b.abc#2"]) == (Split.NONE, Split.TRAIN, Split.TEST)
        assert dict(zip(store.pieces.name, store.pieces.group, strict=True))["s/b.abc#12"] == "dance"
        index = list(store.pieces.name).index("s/b.abc#9")
        assert np.array_equal(store.roll(index).packed, made_roll(8, 40).packed)
        assert store.pieces.sha256[index] == "ab" * 32


def test_share_of_rejects_counts_tunes(tmp_path: Path) -> None:
    files: dict[str, Content] = {"a.abc": [tune(1), rejected(Reason.NO_NOTES, ""), tune(2)], "b.mid": midi_of(Split.TRAIN)}
    assert merged(tmp_path, files, max_rejects=0.25).num_kept == 3
    with pytest.raises(PreprocessError, match="1 of 4"):
        merged(tmp_path, files, max_rejects=0.24)


def test_metadata_of_a_tune_that_does_not_exist_is_an_error_with_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the metadata names tune 3 of a\.abc, which has 2 tunes"):
        merged(tmp_path, {"a.abc": [tune(1), tune(2)]}, groups={"a.abc#3": "dance"})
    assert [row["name"] for row in ledger(tmp_path)] == ["a.abc#1", "a.abc#2"]


def test_metadata_may_name_the_tunes_of_a_rejected_score_and_the_only_tune_of_a_score(tmp_path: Path) -> None:
    files: dict[str, Content] = {"a.abc": Reason.BAD_SCORE, "b.abc": [tune(1)]}
    splits = {"a.abc#1": Split.TRAIN, "a.abc#2": Split.TRAIN, "b.abc#1": Split.TRAIN}
    assert merged(tmp_path, files, splits, max_rejects=0.5).num_kept == 1
    assert splits_of(tmp_path) == {"b.abc": Split.TRAIN}
