"""What a command prints of the files that are not inputs, and of a corpus with --dry-run."""

import gzip
import zipfile
from pathlib import Path

import pytest

from tests.support.made_corpus import made_midi
from tests.support.processes import finished, preprocess_command


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder and an archive as a Mac writes them, with other formats and an archive in the archive."""
    root = tmp_path / "corpus"
    (root / "Bach").mkdir(parents=True)
    for seed in range(12):
        (root / f"Bach/{seed:02}.mid").write_bytes(made_midi(seed))
    (root / "zipped.mid.gz").write_bytes(gzip.compress(made_midi(20)))
    (root / "._zipped.mid.gz").write_bytes(b"\0\5\x16\7")
    for name in ("a.sib", "b.mscz", "README", "c.7z", "d.wav", "e.csv"):
        (root / name).write_bytes(b"other data")
    with zipfile.ZipFile(root / "more.zip", "w") as file:
        file.writestr("Satie/one.mid", made_midi(30))
        file.writestr("__MACOSX/Satie/._one.mid", b"\0\5\x16\7")
        file.writestr("inner.zip", b"not opened")
    return root


NOT_INPUTS = """\
  not inputs  archives in an archive, not opened: 1 .zip
  not inputs  scores and projects in formats that are not read: 2 (1 .mscz, 1 .sib)
  not inputs  archives in formats that are not read: 1 .7z
  not inputs  audio files: 1 .wav
  not inputs  files of macOS (._*, __MACOSX): 2 (1 .mid, 1 .mid.gz)
  not inputs  other files: 2 (1 without a suffix, 1 .csv)
"""


def test_summary_counts_the_files_that_are_not_inputs(corpus: Path, tmp_path: Path) -> None:
    done = finished(preprocess_command(0, corpus, "--store", tmp_path / "a.h5"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("14 inputs: 14 kept, 0 duplicates, 0 rejected\n  rejected    none\n" + NOT_INPUTS)


@pytest.mark.parametrize("ranks", [0, 2])
def test_dry_run_prints_what_would_be_read_and_writes_nothing(corpus: Path, tmp_path: Path, ranks: int) -> None:
    num_bytes = sum(path.stat().st_size for path in [*corpus.glob("Bach/*"), corpus / "zipped.mid.gz"]) + len(made_midi(30))
    done = finished(preprocess_command(ranks, corpus, "--store", tmp_path / "a.h5", "--dry-run"))
    assert done.returncode == 0, done.stderr
    names = "".join(f"  name        Bach/{seed:02}.mid\n" for seed in range(10))
    assert done.stdout == (
        f"14 inputs of {num_bytes:,} bytes; nothing was converted or written (--dry-run)\n"
        "  suffixes    14 (13 .mid, 1 .mid.gz)\n"
        f"  archive     {corpus}/more.zip: 1 input\n"
        f"{NOT_INPUTS}{names}              and 4 more\n"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"corpus"}


def test_dry_run_refuses_what_a_run_refuses(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("name,split\nnone.mid,test\n")
    for arguments, message in (
        ([corpus, corpus], "two inputs have the name"),
        ([tmp_path / "none"], "does not exist"),
        ([corpus, "--split-file", tmp_path / "splits.csv"], "no input has the name"),
    ):
        done = finished(preprocess_command(0, *arguments, "--store", tmp_path / "a.h5", "--dry-run"))
        assert done.returncode == 2
        assert message in done.stderr


def test_corpus_without_inputs_names_what_it_contains_and_the_archives_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "scores.7z").write_bytes(b"other data")
    done = finished(preprocess_command(0, tmp_path / "scores.7z", "--store", tmp_path / "a.h5"))
    assert done.returncode == 2
    assert "scores.7z has no inputs" in done.stderr
    assert ".tar.xz" in done.stderr
    assert "found archives in formats that are not read: 1 .7z" in done.stderr
