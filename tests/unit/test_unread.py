"""Files that are not inputs are counted for the summary, each kind in its own words."""

from pathlib import Path

import pytest

from preprocess.sources import scan
from preprocess.unread import FileKind, Unread, is_macos_metadata
from tests.support.archives import DISTINCT_KINDS, pack
from tests.support.made_corpus import made_midi

KINDS = {
    "score.mscz": FileKind.NOTATION,
    "score.SIB": FileKind.NOTATION,
    "score.gp5": FileKind.NOTATION,
    "score.mei": FileKind.NOTATION,
    "all.7z": FileKind.ARCHIVE,
    "all.rar": FileKind.ARCHIVE,
    "all.cpgz": FileKind.ARCHIVE,
    "a.krn.gz": FileKind.COMPRESSED,
    "a.mid.xz": FileKind.COMPRESSED,
    "table.csv.gz": FileKind.COMPRESSED,
    "a.wav": FileKind.AUDIO,
    "README": FileKind.OTHER,
    "notes.txt": FileKind.OTHER,
    ".mid": FileKind.OTHER,
}


@pytest.mark.parametrize("name", KINDS)
def test_kind_of_a_file_that_is_not_an_input(name: str) -> None:
    unread = Unread()
    unread.add(f"folder/{name}")
    ((kind, _),) = unread.counts
    assert kind is KINDS[name]


def test_lines_name_the_most_common_suffixes_first_and_are_bounded() -> None:
    unread = Unread()
    for number in range(300):
        for _ in range(300 - number):
            unread.add(f"a.x{number}")
    unread.add("a\n.b\nc")
    (line,) = unread.lines()
    assert line.startswith("other files: 45,151 (300 .x0, 299 .x1, ")
    assert line.endswith(", 293 .x7, 42,779 with 293 other suffixes)")


def test_suffix_of_a_compressed_file_contains_that_of_its_content() -> None:
    unread = Unread()
    for name in ("a.mid.bz2", "b.abc.GZ", "c.csv.gz"):
        unread.add(name)
    assert unread.lines() == ["compressed files that are not read: 3 (1 .abc.gz, 1 .gz, 1 .mid.bz2)"]


@pytest.mark.parametrize("path", ["._a.mid", "Bach/._a.mid", "__MACOSX/a.mid", "x/__MACOSX/Bach/a.mid", "._all.zip"])
def test_litter(path: str) -> None:
    assert is_macos_metadata(path)


@pytest.mark.parametrize("path", ["a.mid", ".a.mid", "a._b.mid", "__MACOSX", "my__MACOSX/a.mid", "__MACOSX.mid", "._b/a.mid"])
def test_no_litter(path: str) -> None:
    assert not is_macos_metadata(path)


@pytest.mark.parametrize("kind", DISTINCT_KINDS)
def test_folder_and_archive_have_the_same_counts_but_for_nested_archives(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    for name in ("a.mid", "._a.mid", "__MACOSX/Bach/b.mid", "Bach/b.mid", "Bach/c.sib", "d.txt", "Bach/._d.zip"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(made_midi(0))
    in_folder, in_archive = Unread(), Unread()
    scan([str(root)], tmp_path, in_folder)
    assert in_folder.lines() == [
        "scores and projects in formats that are not read: 1 .sib",
        "files of macOS (._*, __MACOSX): 3 (2 .mid, 1 .zip)",
        "other files: 1 .txt",
    ]
    scan([str(pack(root, tmp_path / f"root.{kind}"))], tmp_path, in_archive)
    assert in_archive.counts == in_folder.counts
    pack(root, root / f"nested.{kind}")
    nested = Unread()
    scan([str(pack(root, tmp_path / f"outer.{kind}"))], tmp_path, nested)
    assert nested.lines()[0] == f"archives in an archive, not opened: 1 .{kind}"
