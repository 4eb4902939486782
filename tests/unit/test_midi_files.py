"""Exported MIDI files, plots and their index are complete, do not mix two stores, and are never written outside their folder."""

import csv
import io
from functools import partial
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest

from jobs.export import index, midi_files
from pianogen.config import SamplingConfig
from pianogen.errors import PianogenError
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
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".stores.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_exported_corpus_is_read_as_its_rolls(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    midi_files.write_folder([corpus], out, 1)
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
    midi_files.write_folder([first, second], tmp_path / "midi", 1)
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
    midi_files.write_folder([corpus], tmp_path / "folder", 1)
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
    midi_files.write_folder([corpus], out, 1)
    complete = contents(out)
    (out / "A" / "000.mid").write_bytes(b"mine")
    (out / "A" / "002.png").unlink()
    (out / "B" / "001.mid").unlink()
    midi_files.write_folder([corpus], out, 1)
    assert contents(out) == complete | {"A/000.mid": b"mine"}
    midi_files.write_archive(corpus, archive, 1)
    written_at = archive.stat().st_mtime_ns
    midi_files.write_archive(corpus, archive, 1)
    assert archive.stat().st_mtime_ns == written_at
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(PianogenError, match="is damaged"):
        midi_files.write_archive(corpus, archive, 1)


def test_files_of_a_replaced_store_are_not_mixed_with_those_of_the_new_one(corpus: Path, tmp_path: Path) -> None:
    out, archive = tmp_path / "out", tmp_path / "corpus.zip"
    midi_files.write_folder([corpus], out, 1)
    midi_files.write_archive(corpus, archive, 1)
    before = contents(tmp_path)
    new = store_of(corpus, [made_roll(seed, 40) for seed in (0, 1, 2, 9)], [Split.TRAIN, Split.VALID] * 2)
    for write, target in ((partial(midi_files.write_folder, [new]), out), (partial(midi_files.write_archive, new), archive)):
        with pytest.raises(PianogenError, match=r"was exported from another version of corpus\.h5"):
            write(target, 1)
    assert contents(tmp_path) == before | {"corpus.h5": corpus.read_bytes()}


def test_names_too_long_for_a_file_are_shortened(tmp_path: Path) -> None:
    names = ["a" * 300 + ".mid", "a" * 301 + ".mid", "b/" + "\\xff" * 70, "c" * 251 + ".mid"]
    midi_files.write_folder([store_with_names(tmp_path / "c.h5", *names)], tmp_path / "out", 1)
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
        midi_files.write_folder([store], tmp_path / "out", 1)


@pytest.mark.parametrize("name", ["../up.mid", "/etc/x.mid", "a/../../up", "..", ".", ""])
def test_names_outside_the_folder_are_an_error(tmp_path: Path, name: str) -> None:
    store = store_with_names(tmp_path / "c.h5", "a.mid", name)
    with pytest.raises(PianogenError, match="is not a path below the output folder"):
        midi_files.write_folder([store], tmp_path / "deep" / "out", 1)
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
        (["index.csv/b.mid"], "is both a file and the folder of"),
    ],
)
def test_names_that_collide_are_an_error(tmp_path: Path, names: list[str], message: str) -> None:
    store = store_with_names(tmp_path / "c.h5", *names)
    with pytest.raises(PianogenError, match=message):
        midi_files.write_folder([store], tmp_path / "out", 1)
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
    names = ["Ä ö.mid", "a.MID", "a.kar", "a\\\\b\\xff.mid", "b/c d/é'\"<&>.mid", "con:.mid", ".mid"]
    store = store_with_names(tmp_path / "c.h5", *names)
    midi_files.write_folder([store], tmp_path / "out", 1)
    midi_files.write_archive(store, tmp_path / "c.zip", 1)
    rows = rows_of((tmp_path / "out" / "index.csv").read_text())
    assert [row["name"] for row in rows] == names
    assert [row["file"] for row in rows] == [name if name.endswith(".mid") else f"{name}.mid" for name in names]
    with ZipFile(tmp_path / "c.zip") as archive:
        for index, row in enumerate(rows):
            midi = write_midi(made_roll(index, 8))
            assert (tmp_path / "out" / row["file"]).read_bytes() == midi
            assert archive.read(row["file"]) == midi
