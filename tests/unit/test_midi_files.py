"""Exported MIDI files, plots and their index are complete, do not mix two stores, and are never written outside their folder."""

import csv
import errno
import io
import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest

from jobs.export import index, midi_files
from jobs.export.archive import opened_archive
from jobs.export.output_folder import OutputFolder
from jobs.records.record_file import RecordError
from pianogen.config import SamplingConfig
from pianogen.errors import PianogenError, UsageError
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.writer import write_midi
from pianogen.roll_plot import plot_roll
from pianogen.sampling.sample_store import Sample, SampleSource, write_samples
from pianogen.store import Pieces, Split, Store, StoreError, write_store
from tests.support.made_music import made_roll, store_of
from tests.support.rolls import roll_in_4_4

SOURCE = SampleSource(run="0003-gru", checkpoint="ckpt-7")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return store_of(tmp_path / "corpus.h5", [made_roll(seed, 40) for seed in range(4)], [Split.TRAIN, Split.VALID] * 2)


def store_with_names(path: Path, *names: str) -> Path:
    """A corpus of pieces with these names."""
    rolls = [made_roll(seed, 8) for seed in range(len(names))]
    pieces = Pieces(
        name=list(names),
        group=[""] * len(rolls),
        steps=np.full(len(rolls), 8, np.uint32),
        first_step=np.zeros(len(rolls), np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.full(len(rolls), Split.NONE, np.uint8),
        sha256=[roll.sha256 for roll in rolls],
    )
    write_store(path, "corpus", pieces, rolls, {"version": "test"})
    return path


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".pianogen.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_exported_corpus_is_read_as_its_rolls(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    midi_files.write_folder([corpus], OutputFolder(out, "test"), 1)
    with Store(corpus) as store:
        for index, name in enumerate(store.pieces.name):
            roll, _ = read_roll((out / name).read_bytes(), name, ReadOptions(keep_rests=True))
            assert roll == store.roll(index)
            assert (out / name).with_suffix(".png").read_bytes() == plot_roll(roll)
    assert len(contents(out)) == 2 * 4 + 1
    rows = rows_of((out / "index.csv").read_text())
    assert [row["file"] for row in rows] == ["A/000.mid", "B/001.mid", "A/002.mid", "B/003.mid"]
    assert {key: rows[1][key] for key in ("name", "group", "split", "steps")} == {
        "name": "B/001.mid",
        "group": "B",
        "split": "valid",
        "steps": "40",
    }
    assert [int(row["notes"]) for row in rows] == [made_roll(seed, 40).num_notes for seed in range(4)]


def test_index_has_the_parameters_of_samples(tmp_path: Path) -> None:
    samples = [Sample(made_roll(seed, 12)) for seed in range(2)]
    first, second = tmp_path / "samples.h5", tmp_path / "samples-seed9.h5"
    write_samples(first, samples, SamplingConfig(num=2, steps=12, threshold=0.3), SOURCE)
    write_samples(second, samples, SamplingConfig(num=2, steps=12, seed=9, primer='a,"b".mid'), SOURCE)
    midi_files.write_folder([first, second], OutputFolder(tmp_path / "midi", "test"), 1)
    rows = rows_of((tmp_path / "midi" / "index.csv").read_text())
    assert [row["file"] for row in rows] == [
        "samples-0000.mid",
        "samples-0001.mid",
        "samples-seed9-0000.mid",
        "samples-seed9-0001.mid",
    ]
    assert list(rows[0].values())[1:] == ["0003-gru", "0", "0", "1.0", "1.0", "0.3", "", "", "", "drawn", "1", "ckpt-7"]
    primer = 'a,"b".mid'
    assert list(rows[3].values())[1:] == ["0003-gru", "9", "1", "1.0", "1.0", "dynamic", primer, "", "", "drawn", "1", "ckpt-7"]
    assert all((tmp_path / "midi" / row["file"]).is_file() for row in rows)


def test_archive_has_the_files_of_the_folder(corpus: Path, tmp_path: Path) -> None:
    midi_files.write_folder([corpus], OutputFolder(tmp_path / "folder", "test"), 1)
    midi_files.write_archive(corpus, tmp_path / "one.zip", 1)
    midi_files.write_archive(corpus, tmp_path / "other.zip", 1)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    with ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents(tmp_path / "folder")
        infos = archive.infolist()
        midi = [info.filename for info in infos if info.filename.endswith(".mid")]
    assert midi == sorted(midi)
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert all(info.compress_type == ZIP_STORED for info in infos if info.filename.endswith(".png"))


def test_existing_files_are_kept(corpus: Path, tmp_path: Path) -> None:
    out, archive = tmp_path / "out", tmp_path / "corpus.zip"
    midi_files.write_folder([corpus], OutputFolder(out, "test"), 1)
    complete = contents(out)
    (out / "A" / "000.mid").write_bytes(b"mine")
    (out / "A" / "002.png").unlink()
    (out / "B" / "001.mid").unlink()
    midi_files.write_folder([corpus], OutputFolder(out, "test"), 1)
    assert contents(out) == complete | {"A/000.mid": b"mine"}
    midi_files.write_archive(corpus, archive, 1)
    written_at = archive.stat().st_mtime_ns
    midi_files.write_archive(corpus, archive, 1)
    assert archive.stat().st_mtime_ns == written_at
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(PianogenError, match="is damaged"):
        midi_files.write_archive(corpus, archive, 1)


# Other bytes of the header of a member, and of its entry in the directory, by position.
DAMAGED_MEMBERS: dict[str, tuple[dict[int, int], dict[int, int]]] = {
    "version": ({}, {6: 255}),
    "encrypted": ({6: 1}, {8: 1}),
    "patched": ({}, {8: 0x20}),
    "unknown compression": ({}, {10: 3}),
    "compressed by another method": ({}, {10: 12}),
    "longer than the file": ({}, {10: 0, 23: 127, 27: 127}),
    "position": ({}, {45: 255}),
    "data": ({40: 255}, {}),
    "name": ({}, {9: 8, 46: 255}),
}


@pytest.mark.parametrize("damage", DAMAGED_MEMBERS)
def test_damaged_archive_is_an_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "samples.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("index.csv", "file,run\n" * 30)
    data = bytearray(path.read_bytes())
    for start, changes in zip((0, data.find(b"PK\1\2")), DAMAGED_MEMBERS[damage], strict=True):
        for position, value in changes.items():
            data[start + position] = value
    path.write_bytes(data)
    message = rf"{path} is damaged \(.+\); remove it and decode again"
    with pytest.raises(PianogenError, match=message), opened_archive(path) as archive:
        archive.read("index.csv")


def test_failing_disk_does_not_make_an_archive_damaged(tmp_path: Path) -> None:
    path = tmp_path / "samples.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("index.csv", "file,run\n")
    with pytest.raises(OSError, match="Input/output error"), opened_archive(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_archive_of_a_replaced_store_is_kept(corpus: Path, tmp_path: Path) -> None:
    archive = tmp_path / "corpus.zip"
    midi_files.write_archive(corpus, archive, 1)
    before = archive.read_bytes()
    new = store_of(corpus, [made_roll(seed, 40) for seed in (0, 1, 2, 9)], [Split.TRAIN, Split.VALID] * 2)
    with pytest.raises(PianogenError, match=r"was exported from another version of corpus\.h5"):
        midi_files.write_archive(new, archive, 1)
    assert archive.read_bytes() == before


def test_files_of_replaced_and_removed_stores_are_removed_and_those_of_the_user_are_kept(tmp_path: Path) -> None:
    """The stores of a run: one is drawn again with fewer samples, one is removed, one is unchanged."""
    drawn, kept, removed = (tmp_path / f"samples{name}.h5" for name in ("", "-seed1", "-seed2"))
    samples = [Sample(made_roll(seed, 12)) for seed in range(3)]
    for path in (drawn, kept, removed):
        write_samples(path, samples[:2], SamplingConfig(num=2, steps=12), SOURCE)
    out = tmp_path / "midi"
    midi_files.write_folder([drawn, kept, removed], OutputFolder(out, "the run"), 1)
    (out / "notes.txt").write_text("mine")
    (out / "samples-seed1-0000.mid").write_bytes(b"edited")
    write_samples(drawn, samples[2:], SamplingConfig(num=1, steps=12), SOURCE)
    midi_files.write_folder([drawn, kept], OutputFolder(out, "the run"), 1)
    midi = sorted(path.name for path in out.glob("*.mid"))
    assert midi == ["samples-0000.mid", "samples-seed1-0000.mid", "samples-seed1-0001.mid"]
    assert (out / "samples-0000.mid").read_bytes() == write_midi(samples[2].roll)
    assert (out / "samples-seed1-0000.mid").read_bytes() == b"edited"
    assert (out / "notes.txt").read_text() == "mine"
    assert len(contents(out)) == 2 * 3 + 2


@pytest.mark.parametrize("name", ["thesis.txt", "index.csv", "A/000.mid"])
def test_folder_of_the_user_is_refused_and_unchanged(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(UsageError, match="exists and was not written by this program; choose another folder with --out"):
        OutputFolder(out, "test")
    assert contents(out) == {name: b"mine"}


def test_folder_of_another_source_is_refused(corpus: Path, tmp_path: Path) -> None:
    midi_files.write_folder([corpus], OutputFolder(tmp_path / "out", "the run 1f"), 1)
    with pytest.raises(UsageError, match="was written from the run 1f, expected the run 2e; remove it"):
        OutputFolder(tmp_path / "out", "the run 2e")


def test_file_of_the_user_in_an_own_folder_is_not_overwritten(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    OutputFolder(out, "test").claim()
    (out / "index.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"index\.csv exists and was not written by this program; move it away"):
        midi_files.write_folder([corpus], OutputFolder(out, "test"), 1)
    assert contents(out) == {"index.csv": b"mine"}


def test_damaged_marker_is_named(tmp_path: Path) -> None:
    OutputFolder(tmp_path / "out", "test").claim()
    (tmp_path / "out" / ".pianogen.json").write_bytes(bytes(30))
    with pytest.raises(RecordError, match=r"\.pianogen\.json cannot be read"):
        OutputFolder(tmp_path / "out", "test")


def test_names_too_long_for_a_file_are_shortened(tmp_path: Path) -> None:
    names = ["a" * 300 + ".mid", "a" * 301 + ".mid", "b/" + "\\xff" * 70, "c" * 251 + ".mid"]
    midi_files.write_folder([store_with_names(tmp_path / "c.h5", *names)], OutputFolder(tmp_path / "out", "test"), 1)
    rows = rows_of((tmp_path / "out" / "index.csv").read_text())
    assert [row["name"] for row in rows] == names
    assert rows[3]["file"] == names[3]
    assert all((tmp_path / "out" / row["file"]).is_file() for row in rows)


def test_damaged_store_leaves_no_archive(corpus: Path, tmp_path: Path) -> None:
    data = bytearray(corpus.read_bytes())
    with Store(corpus) as store:
        at = data.find(store.roll(2).packed.tobytes())
    data[at + 5] ^= 4
    corpus.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        midi_files.write_archive(corpus, tmp_path / "corpus.zip", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.h5"]


def test_tempo_that_midi_cannot_represent_is_an_error_with_its_piece(tmp_path: Path) -> None:
    roll = made_roll(1, 20)
    store = store_of(tmp_path / "c.h5", [roll_in_4_4(roll.packed, np.full(20, 1 << 25, np.uint32))], [Split.NONE])
    with pytest.raises(StoreError, match=r"c\.h5: A/000\.mid: step 0 has a tempo of 33554432"):
        midi_files.write_folder([store], OutputFolder(tmp_path / "out", "test"), 1)


@pytest.mark.parametrize("name", ["../up.mid", "/etc/x.mid", "a/../../up", "..", ".", ""])
def test_names_outside_the_folder_are_an_error(tmp_path: Path, name: str) -> None:
    store = store_with_names(tmp_path / "c.h5", "a.mid", name)
    with pytest.raises(PianogenError, match="is not a path below the output folder"):
        midi_files.write_folder([store], OutputFolder(tmp_path / "deep" / "out", "test"), 1)
    assert contents(tmp_path).keys() == {"c.h5"}


def test_name_with_a_nul_byte_is_an_error() -> None:  # not through a store: HDF5 truncates names at a NUL byte
    with pytest.raises(PianogenError, match="is not a path below the output folder"):
        index.midi_name("a/\0b.mid")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a.mid"], "two pieces have the same MIDI file name"),
        (["a.mid", "./a.mid"], "two pieces have the same MIDI file name"),
        (["a.mid", "a.mid/b.mid"], "is both a file and the folder of"),
        (["a.mid", "a.png/b.mid"], "is both a file and the folder of"),
        (["a.mid", "a.flac/b.mid"], "is both a file and the folder of"),
        (["index.csv/b.mid"], "is both a file and the folder of"),
    ],
)
def test_names_that_collide_are_an_error(tmp_path: Path, names: list[str], message: str) -> None:
    store = store_with_names(tmp_path / "c.h5", *names)
    with pytest.raises(PianogenError, match=message):
        midi_files.write_folder([store], OutputFolder(tmp_path / "out", "test"), 1)
    with pytest.raises(PianogenError, match=message):
        midi_files.write_archive(store, tmp_path / "c.zip", 1)
    assert not (tmp_path / "c.zip").exists()


def test_names_that_differ_only_in_case_stay_distinct_where_case_is_ignored(tmp_path: Path) -> None:
    store = store_with_names(tmp_path / "c.h5", "A/Prelude.mid", "a/prelude.mid", "a/prelude.MID.mid", "a/other.mid")
    with Store(store) as opened:
        names = index.midi_names(opened)
    assert (names[0], names[2:]) == ("A/Prelude.mid", ["a/prelude.MID.mid", "a/other.mid"])
    assert names[1].startswith("a/prelude-")
    midi_files.write_archive(store, tmp_path / "c.zip", 1)
    with ZipFile(tmp_path / "c.zip") as archive:
        assert len({name.casefold() for name in archive.namelist()}) == 1 + 2 * len(names)
        assert archive.read(names[1]) == write_midi(made_roll(1, 8))


def test_unusual_names_are_kept(tmp_path: Path) -> None:
    names = [
        "Ä ö.mid",
        "a.MID",
        "a.kar",
        "a\\\\b\\xff.mid",
        "b/c d/é'\"<&>.mid",
        "con:.mid",
        "\r.mid",
        "two\n\rlines.mid",
        ".mid",
    ]
    store = store_with_names(tmp_path / "c.h5", *names)
    midi_files.write_folder([store], OutputFolder(tmp_path / "out", "test"), 1)
    midi_files.write_archive(store, tmp_path / "c.zip", 1)
    rows = rows_of((tmp_path / "out" / "index.csv").read_bytes().decode())
    assert [row["name"] for row in rows] == names
    assert [row["file"] for row in rows] == [name if name.endswith(".mid") else f"{name}.mid" for name in names]
    with ZipFile(tmp_path / "c.zip") as archive:
        for index, row in enumerate(rows):
            midi = write_midi(made_roll(index, 8))
            assert (tmp_path / "out" / row["file"]).read_bytes() == midi
            assert archive.read(row["file"]) == midi
