"""Corpora in the form of MAESTRO and ASAP with their own metadata files, from the archive to the store."""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pianogen.store import Split, Store
from tests.support.made_corpus import MUSICXML, made_midi
from tests.support.processes import finished, preprocess_command

COMPOSERS = ("Alban Berg", "Frédéric Chopin", "Franz Schubert / Franz Liszt")
SPLITS = ("train", "train", "validation", "test")


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def made_maestro(root: Path) -> Path:
    """Twelve performances in folders of years, and the metadata of all but the last; returns the metadata."""
    rows: list[dict[str, object]] = []
    for seed in range(12):
        year = 2004 + 2 * (seed % 3)
        name = f"{year}/MIDI-Unprocessed_{seed:02}_R1_{year}_wav--1"
        path = root / f"{name}.midi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made_midi(seed))
        rows.append(
            {
                "canonical_composer": COMPOSERS[seed % 3],
                "canonical_title": f'Sonata No. {seed}, "Etude"',
                "split": SPLITS[seed % 4],
                "year": year,
                "midi_filename": f"{name}.midi",
                "audio_filename": f"{name}.wav",
                "duration": 100.5 + seed,
            }
        )
    (root / "README").write_text("not an input")
    (root / "maestro-v3.0.0.json").write_text("{}")
    return write_csv(root / "maestro-v3.0.0.csv", rows[:-1])


def made_asap(root: Path) -> Path:
    """Four scores with two performances each, and their metadata; returns the metadata."""
    rows: list[dict[str, object]] = []
    for seed in range(4):
        composer, folder = ("Bach", f"Bach/Fugue/bwv_{seed}") if seed < 2 else ("Liszt", f"Liszt/Sonata_{seed}")
        (root / folder).mkdir(parents=True)
        (root / folder / "midi_score.mid").write_bytes(made_midi(10 * seed))
        (root / folder / "xml_score.musicxml").write_text(MUSICXML.replace("<step>C", f"<step>{'CDEF'[seed]}"))
        (root / folder / "midi_score_annotations.txt").write_text("0.0\t0.0\tdb")
        for number, player in enumerate(("Shi05M", "Lan01M"), 1):
            (root / folder / f"{player}.mid").write_bytes(made_midi(10 * seed + number))
            (root / folder / f"{player}_annotations.txt").write_text("0.0\t0.0\tdb")
            has_audio = number == 1
            rows.append(
                {
                    "composer": composer,
                    "title": f"Fugue_{seed}",
                    "folder": folder,
                    "xml_score": f"{folder}/xml_score.musicxml",
                    "midi_score": f"{folder}/midi_score.mid",
                    "midi_performance": f"{folder}/{player}.mid",
                    "performance_annotations": f"{folder}/{player}_annotations.txt",
                    "midi_score_annotations": f"{folder}/midi_score_annotations.txt",
                    "maestro_midi_performance": "{maestro}/2006/19_R1.midi" if has_audio else "",
                    "maestro_audio_performance": "{maestro}/2006/19_R1.wav" if has_audio else "",
                    "start": 144.5 if has_audio else "",
                    "end": "",
                    "audio_performance": f"{folder}/{player}.wav" if has_audio else "",
                }
            )
    return write_csv(root / "metadata.csv", rows)


def zipped(root: Path) -> Path:
    """An archive of the folder, with its name in front of every member."""
    return Path(shutil.make_archive(str(root.parent / "archive"), "zip", root.parent, root.name))


def preprocess(ranks: int, store: Path, *arguments: object) -> tuple[list[str], list[str], list[int], str]:
    """Names, groups and splits of the store, and the summary."""
    done = finished(preprocess_command(ranks, *arguments, "--store", store))
    assert done.returncode == 0, done.stderr
    with Store(store) as made:
        made.verify()
        return list(made.pieces.name), list(made.pieces.group), made.pieces.split.tolist(), done.stdout


@pytest.mark.parametrize(("pack", "prefix"), [(Path, ""), (zipped, "maestro-v3.0.0/")], ids=["folder", "archive"])
def test_maestro_has_its_published_splits_and_composers(tmp_path: Path, pack: Callable[[Path], Path], prefix: str) -> None:
    root = tmp_path / "maestro-v3.0.0"
    metadata = made_maestro(root)
    contents = []
    for ranks in (0, 3):
        store = tmp_path / f"{ranks}.h5"
        names, groups, splits, summary = preprocess(ranks, store, pack(root), "--metadata", metadata)
        contents.append((store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()))
    assert contents[0] == contents[1]
    assert "12 inputs: 12 kept" in summary
    expected = {}
    with metadata.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            split = {"train": Split.TRAIN, "validation": Split.VALID, "test": Split.TEST}[row["split"]]
            expected[prefix + row["midi_filename"]] = (row["canonical_composer"], split)
    for name, group, split in zip(names, groups, splits, strict=True):
        folder = (prefix or name).partition("/")[0]
        assert (group, split) == expected.get(name, (folder, Split.NONE)), name
    assert sorted(names) == names


@pytest.mark.parametrize("pack", [Path, zipped], ids=["folder", "archive"])
def test_asap_has_its_composers_and_splits_by_hash(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
    root = tmp_path / "asap-dataset-master"
    metadata = made_asap(root)
    corpus = pack(root)
    names, groups, splits, summary = preprocess(2, tmp_path / "a.h5", corpus, "--metadata", metadata)
    assert "16 inputs: 16 kept" in summary
    assert groups == ["Bach" if "Bach" in name else "Liszt" for name in names]
    assert splits == preprocess(0, tmp_path / "b.h5", corpus)[2]
    with Store(tmp_path / "a.h5") as store:
        assert store.provenance["split"] == "hash"
        assert len(store.provenance["metadata"]) == 64


def test_unknown_name_in_the_metadata_is_an_error_before_any_work(tmp_path: Path) -> None:
    root = tmp_path / "maestro-v3.0.0"
    metadata = made_maestro(root)
    text = metadata.read_text(encoding="utf-8").replace("Unprocessed_05", "Unprocessed-05")
    metadata.write_text(text, encoding="utf-8")
    done = finished(preprocess_command(2, root, "--store", tmp_path / "a.h5", "--metadata", metadata))
    assert done.returncode == 2
    assert f"UsageError: {metadata}:7: no input has the name '2008/MIDI-Unprocessed-05_R1_2008_wav--1.midi'" in done.stderr
    assert "the nearest name is '2008/MIDI-Unprocessed_05_R1_2008_wav--1.midi'" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {root.name}
