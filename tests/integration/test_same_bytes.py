"""Store and ledger do not depend on the order of files, folders and arguments, nor on archives."""

import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.made_corpus import TUNES, made_midi, with_foreign_chunk
from tests.support.paths import ROOT
from tests.support.processes import finished, preprocess_command

# Python imports this module at its start. It changes the order in which a folder is listed, as another file system might.
SITECUSTOMIZE = """
import os
import random

scandir = os.scandir


class Shuffled:
    def __init__(self, *arguments):
        with scandir(*arguments) as entries:
            self._entries = sorted(entries, key=lambda entry: entry.name)
        random.Random({seed}).shuffle(self._entries)

    def __enter__(self):
        return iter(self._entries)

    def __exit__(self, *_):
        pass


os.scandir = Shuffled
"""
LIST = "import os, sys; entries = os.scandir(sys.argv[1]).__enter__(); print([entry.name for entry in entries])"
FILES = {f"{seed:02}.mid": made_midi(seed) for seed in range(16)} | {
    "03 again.mid": made_midi(3),
    "3 in other bytes.mid": with_foreign_chunk(made_midi(3)),
    "05 slower.mid": made_midi(5, tempo_us=900_000),
    "6 slower.mid": made_midi(6, tempo_us=900_000),
    "tunes.abc": TUNES.encode(),
    "text.mid": b"not a MIDI file",
    "truncated.mid": made_midi(4)[:-5],
}


def written(folder: Path, seed: int) -> Path:
    """A folder whose files were written in a random order, with other files that were removed again."""
    folder.mkdir()
    names = [*FILES, *(f"{number} removed.mid" for number in range(9))]
    random.Random(seed).shuffle(names)
    for name in names:
        (folder / name).write_bytes(FILES.get(name, b""))
    for path in folder.glob("* removed.mid"):
        path.unlink()
    return folder


def preprocess(store: Path, ranks: int, *corpora: Path, **environment: str) -> tuple[bytes, bytes]:
    """Preprocesses the corpora; returns the bytes of store and ledger."""
    metadata = store.with_suffix(".csv")
    metadata.write_text("name,group\n" + "".join(f"{seed:02}.mid,{'ABC'[seed % 3]}\n" for seed in range(16)))
    options = ["--max-rejects", 0.5, "--near-duplicates", "drop", "--metadata", metadata]
    done = finished(preprocess_command(ranks, *corpora, "--store", store, *options), **environment)
    assert done.returncode == 0, done.stderr
    return store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("same") / "corpus", 0)


@pytest.fixture(scope="module")
def expected(folder: Path) -> tuple[bytes, bytes]:
    return preprocess(folder.parent / "a.h5", 0, folder)


@pytest.mark.parametrize(("seed", "ranks"), [(1, 0), (2, 3), (3, 2)])
def test_order_of_the_files_in_a_folder_does_not_matter(
    expected: tuple[bytes, bytes], tmp_path: Path, seed: int, ranks: int
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(SITECUSTOMIZE.format(seed=seed))
    shuffled = {"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    corpus = written(tmp_path / "corpus", seed)
    listings = [finished([sys.executable, "-c", LIST, str(corpus)], **environment).stdout for environment in ({}, shuffled)]
    assert listings[0] != listings[1]
    assert sorted(listings[0]) == sorted(listings[1])
    assert preprocess(tmp_path / "a.h5", ranks, corpus, **shuffled) == expected


@pytest.mark.parametrize(("seed", "ranks"), [(1, 0), (2, 3)])
def test_order_of_arguments_and_archives_do_not_matter(
    expected: tuple[bytes, bytes], folder: Path, tmp_path: Path, seed: int, ranks: int
) -> None:
    """A third of the files are arguments, a third are in a folder and a third in an archive."""
    names, generator = list(FILES), random.Random(seed)
    generator.shuffle(names)
    for name, part in zip(names, ["folder", "packed", "single"] * len(names), strict=False):
        (tmp_path / part).mkdir(exist_ok=True)
        shutil.copy(folder / name, tmp_path / part)
    archive = shutil.make_archive(str(tmp_path / "archive"), generator.choice(["zip", "gztar"]), tmp_path / "packed")
    corpora = [tmp_path / "folder", Path(archive), *(tmp_path / "single").iterdir()]
    generator.shuffle(corpora)
    assert preprocess(tmp_path / "a.h5", ranks, *corpora) == expected
