"""Store and ledger depend on the inputs alone: not on the order of files, folders and arguments, nor on how they are packed."""

import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.made_corpus import made_midi, with_foreign_chunk
from tests.support.paths import ROOT
from tests.support.processes import finished, preprocess_command

# Python imports this at its start. File systems list a folder by hashes of its names; this lists it in any order.
SITE = """
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
    "text.mid": b"this is no music",
    "cut.mid": made_midi(4)[:-5],
}


def written(folder: Path, seed: int) -> Path:
    """The files, made in a random order, among others that are gone again."""
    folder.mkdir()
    names = [*FILES, *(f"{number} gone.mid" for number in range(9))]
    random.Random(seed).shuffle(names)
    for name in names:
        (folder / name).write_bytes(FILES.get(name, b""))
    for path in folder.glob("* gone.mid"):
        path.unlink()
    return folder


def store_of(store: Path, ranks: int, *corpora: Path, **environment: str) -> tuple[bytes, bytes]:
    """The bytes of store and ledger."""
    done = finished(preprocess_command(ranks, *corpora, "--store", store, "--max-rejects", 0.5), **environment)
    assert done.returncode == 0, done.stderr
    return store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("same") / "corpus", 0)


@pytest.fixture(scope="module")
def expected(folder: Path) -> tuple[bytes, bytes]:
    return store_of(folder.parent / "a.h5", 0, folder)


@pytest.mark.parametrize(("seed", "ranks"), [(1, 0), (2, 3), (3, 2)])
def test_order_of_a_folder_does_not_matter(expected: tuple[bytes, bytes], tmp_path: Path, seed: int, ranks: int) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(SITE.format(seed=seed))
    shuffled = {"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    corpus = written(tmp_path / "corpus", seed)
    listed = [finished([sys.executable, "-c", LIST, str(corpus)], **each).stdout for each in ({}, shuffled)]
    assert listed[0] != listed[1]
    assert sorted(listed[0]) == sorted(listed[1])
    assert store_of(tmp_path / "a.h5", ranks, corpus, **shuffled) == expected


@pytest.mark.parametrize(("seed", "ranks"), [(1, 0), (2, 3)])
def test_order_of_arguments_and_how_they_are_packed_does_not_matter(expected: tuple[bytes, bytes], folder: Path, tmp_path: Path, seed: int, ranks: int) -> None:
    """A third of the files is given one by one, a third as a folder and a third as an archive."""
    names, draw = list(FILES), random.Random(seed)
    draw.shuffle(names)
    for name, part in zip(names, ["part", "packed", "alone"] * len(names), strict=False):
        (tmp_path / part).mkdir(exist_ok=True)
        shutil.copy(folder / name, tmp_path / part)
    archive = shutil.make_archive(str(tmp_path / "archive"), draw.choice(["zip", "gztar"]), tmp_path / "packed")
    corpora = [tmp_path / "part", Path(archive), *(tmp_path / "alone").iterdir()]
    draw.shuffle(corpora)
    assert store_of(tmp_path / "a.h5", ranks, *corpora) == expected
