"""The inputs of a corpus: which files are inputs, their names, and the rejection of unreadable files."""

import gzip
import os
import re
import socket
import tracemalloc
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.errors import PianogenError, UsageError
from pianogen.midi.reader import MAX_BYTES
from pianogen.midi.rejection import Reason, Rejection
from preprocess.inputs import Input, Inputs
from preprocess.sources import group_of, scan
from preprocess.unread import Unread
from tests.support.archives import DISTINCT_KINDS, KINDS, pack


def folder_with(folder: Path, *names: bytes) -> Path:
    """A folder of files that contain their own names."""
    for name in names:
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    return folder


NO_INDEXES = Path("no corpus here has a compressed archive")


def inputs_of(*corpora: object) -> Inputs:
    return scan(list(map(str, corpora)), None, Unread())


def names_of(*corpora: object) -> list[str]:
    return [source.name for source in inputs_of(*corpora)]


def reason_of(source: Input) -> Reason:
    with pytest.raises(Rejection) as caught:
        source.read(NO_INDEXES)
    return caught.value.reason


SPECIAL_NAMES = {
    b"plain.mid": "plain.mid",
    b"folder/plain.mid": "folder/plain.mid",
    b"a/b/c/d.mid": "a/b/c/d.mid",
    b"two words .mid": "two words .mid",
    b" leading.mid": " leading.mid",
    b"'single' \"double\".mid": "'single' \"double\".mid",
    b"a,b;c.mid": "a,b;c.mid",
    b"two\nlines.mid": "two\nlines.mid",
    b"a\r\tb.mid": "a\r\tb.mid",
    b"-n.mid": "-n.mid",
    b"*?[x]$HOME.mid": "*?[x]$HOME.mid",
    b"back\\slash.mid": "back\\\\slash.mid",
    b"latin \xe9.mid": "latin \\xe9.mid",
    b"latin \\xe9.mid": "latin \\\\xe9.mid",
    b"\xff\xfe/\xc3.mid": "\\xff\\xfe/\\xc3.mid",
    b"surrogate \xed\xa0\x80.mid": "surrogate \\xed\\xa0\\x80.mid",
    "größe/ピアノ🎹.mid".encode(): "größe/ピアノ🎹.mid",
}


@pytest.mark.parametrize("raw", SPECIAL_NAMES, ids=repr)
def test_name_is_the_path_below_the_root_with_invalid_bytes_escaped(tmp_path: Path, raw: bytes) -> None:
    (source,) = inputs_of(folder_with(tmp_path / "corpus", raw))
    assert source.name == SPECIAL_NAMES[raw]
    assert source.size == len(raw)
    assert source.read(NO_INDEXES) == raw


file_names = st.binary(min_size=1, max_size=20).filter(lambda raw: not set(raw) & set(b"/\0"))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(raw=st.sets(file_names, min_size=1, max_size=6))
def test_names_are_unique_and_can_be_decoded(tmp_path_factory: pytest.TempPathFactory, raw: set[bytes]) -> None:
    files = {b"n" + name + b".mid" for name in raw}
    inputs = inputs_of(folder_with(tmp_path_factory.mktemp("corpus"), *files))

    def original(match: "re.Match[bytes]") -> bytes:
        return b"\\" if match[0] == b"\\\\" else bytes([int(match[1], 16)])

    assert {re.sub(rb"\\\\|\\x([0-9a-f]{2})", original, source.name.encode()) for source in inputs} == files
    assert [source.name for source in inputs] == sorted(source.name for source in inputs)
    assert {source.read(NO_INDEXES) for source in inputs} == files


def test_group_is_the_first_folder(tmp_path: Path) -> None:
    names = names_of(folder_with(tmp_path, b"a.mid", b"Bach/b.mid", b"Bach/suites/c.mid", b"back\\slash/d.mid"))
    assert {name: group_of(name) for name in names} == {
        "a.mid": "",
        "Bach/b.mid": "Bach",
        "Bach/suites/c.mid": "Bach",
        "back\\\\slash/d.mid": "back\\\\slash",
    }


def test_inputs_are_in_order_of_name_for_any_order_of_corpora(tmp_path: Path) -> None:
    first = folder_with(tmp_path / "1", b"b.mid", b"Z/a.mid", b"a/z.mid")
    second = folder_with(tmp_path / "2", b"a.mid", b"\xc3\xa4.mid", b"a!.mid")
    assert names_of(first, second) == names_of(second, first) == ["Z/a.mid", "a!.mid", "a.mid", "a/z.mid", "b.mid", "ä.mid"]


SUFFIXES = [".mid", ".midi", ".kar", ".rmi", ".smf", ".mxl", ".musicxml", ".xml", ".krn", ".abc"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_suffix_is_recognized_in_any_case(tmp_path: Path, suffix: str) -> None:
    spellings = [suffix, suffix.upper(), suffix.title(), ".x" + suffix]
    names = [f"{index}{spelling}".encode() for index, spelling in enumerate(spellings)]
    assert names_of(folder_with(tmp_path, *names)) == [name.decode() for name in names]


def test_other_files_are_not_inputs(tmp_path: Path) -> None:
    others = [
        b"README",
        b"a.txt",
        b"mid",
        b".mid",
        b".mid.gz",
        b"a.gz",
        b"a.abc.gz",
        b"a.mid.bz2",
        b"a.mid~",
        b"a.mid.part",
        b"a.wav",
        b"a.mid ",
        b"a.h5",
        b"a.json",
    ]
    assert names_of(folder_with(tmp_path, *others, b"a.mid")) == ["a.mid"]


def test_name_of_a_single_file_is_its_file_name(tmp_path: Path) -> None:
    folder_with(tmp_path, b"deep/folder/a.mid")
    assert names_of(tmp_path / "deep/folder/a.mid") == ["a.mid"]


def test_folder_with_the_suffix_of_an_input_is_a_folder(tmp_path: Path) -> None:
    assert names_of(folder_with(tmp_path, b"album.mid/1.mid", b"album.mid/2.mid")) == ["album.mid/1.mid", "album.mid/2.mid"]


def test_link_to_a_folder_or_file_is_followed(tmp_path: Path) -> None:
    elsewhere = folder_with(tmp_path / "elsewhere", b"a.mid")
    corpus = folder_with(tmp_path / "corpus", b"b.mid")
    (corpus / "folder").symlink_to(elsewhere)
    (corpus / "file.mid").symlink_to(elsewhere / "a.mid")
    assert names_of(corpus) == ["b.mid", "file.mid", "folder/a.mid"]


def test_links_to_a_parent_folder_are_not_followed(tmp_path: Path) -> None:
    corpus = folder_with(tmp_path / "corpus", b"a.mid", b"inner/b.mid", b"inner/core/c.mid")
    (corpus / "self").symlink_to(".")
    (corpus / "inner/up").symlink_to("..")
    (corpus / "inner/core/top").symlink_to(corpus)
    (corpus / "inner/core/outside").symlink_to(tmp_path)
    names = names_of(corpus)
    assert [name for name in names if name in ("a.mid", "inner/b.mid", "inner/core/c.mid")] == [
        "a.mid",
        "inner/b.mid",
        "inner/core/c.mid",
    ]


def test_link_to_itself_is_rejected(tmp_path: Path) -> None:
    corpus = folder_with(tmp_path, b"a.mid")
    (corpus / "loop").symlink_to("loop")
    (corpus / "loop.mid").symlink_to("loop.mid")
    (corpus / "link1.mid").symlink_to("link2.mid")
    (corpus / "link2.mid").symlink_to("link1.mid")
    inputs = {source.name: source for source in inputs_of(corpus)}
    assert set(inputs) == {"a.mid", "link1.mid", "link2.mid", "loop.mid"}
    assert [reason_of(inputs[name]) for name in ("link1.mid", "link2.mid", "loop.mid")] == [Reason.UNREADABLE] * 3


def dangling_link(path: Path) -> None:
    path.symlink_to("no such file")


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # the address of a socket has at most 107 bytes


UNREADABLE: dict[str, Callable[[Path], None]] = {
    "dangling_link": dangling_link,
    "link_below_a_file": lambda path: path.symlink_to(__file__ + "/a.mid"),
    "fifo": os.mkfifo,
    "socket": socket_file,
    "link_to_an_endless_device": lambda path: path.symlink_to("/dev/zero"),
    "link_to_a_terminal": lambda path: path.symlink_to("/dev/tty"),
    # stat() shows a regular file, and reading it fails for every user.
    "file_with_a_read_error": lambda path: path.symlink_to("/proc/self/mem"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_file_is_an_input_and_is_rejected_without_blocking(tmp_path: Path, kind: str) -> None:
    UNREADABLE[kind](tmp_path / "x.mid")
    folder_with(tmp_path, b"a.mid")
    valid, unreadable = inputs_of(tmp_path)
    assert (valid.name, unreadable.name) == ("a.mid", "x.mid")
    assert valid.read(NO_INDEXES) == b"a.mid"
    assert reason_of(unreadable) == Reason.UNREADABLE


def test_file_that_was_removed_or_replaced_after_the_scan_is_unreadable(tmp_path: Path) -> None:
    corpus = folder_with(tmp_path, b"a.mid", b"b.mid", b"c.mid")
    removed, fifo, folder = inputs = inputs_of(corpus)
    for source in inputs:
        os.unlink(source.path)
    os.mkfifo(fifo.path)
    os.mkdir(folder.path)
    assert [reason_of(source) for source in (removed, fifo, folder)] == [Reason.UNREADABLE] * 3


def test_input_over_the_size_limit_is_rejected_and_one_at_the_limit_is_read(tmp_path: Path) -> None:
    for name, size in (("a.mid", MAX_BYTES), ("b.mid", MAX_BYTES + 1), ("c.mid", 1 << 40)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    allowed, over, far_over = inputs_of(tmp_path)
    assert len(allowed.read(NO_INDEXES)) == MAX_BYTES
    assert reason_of(over) == reason_of(far_over) == Reason.TOO_LARGE
    with pytest.raises(Rejection, match=r"1,099,511,627,776 bytes; at most 16,777,216"):
        far_over.read(NO_INDEXES)


def test_two_inputs_with_the_same_name_are_an_error_that_shows_both_paths(tmp_path: Path) -> None:
    first, second = folder_with(tmp_path / "1", b"x/a.mid"), folder_with(tmp_path / "2", b"x/a.mid", b"b.mid")
    with pytest.raises(UsageError) as caught:
        names_of(first, second)
    assert "x/a.mid" in str(caught.value)
    assert str(first / "x/a.mid") in str(caught.value)
    assert str(second / "x/a.mid") in str(caught.value)


def test_same_corpus_twice_is_an_error(tmp_path: Path) -> None:
    folder_with(tmp_path, b"a.mid")
    with pytest.raises(UsageError, match=r"two inputs have the name a\.mid: .*; the corpus is named twice: name it once"):
        names_of(tmp_path, tmp_path)


NFC, NFD = (unicodedata.normalize(form, "Dvořák/é.mid") for form in ("NFC", "NFD"))


def test_names_are_compared_in_nfc_and_kept_as_they_are(tmp_path: Path) -> None:
    composed, decomposed = folder_with(tmp_path / "1", NFC.encode()), folder_with(tmp_path / "2", NFD.encode())
    assert names_of(decomposed) == [NFD] != [NFC]
    folder_with(composed, b"Dvos.mid")  # in order of code points, this name is between the two
    with pytest.raises(UsageError, match=r"two inputs have the name .*rename one of them"):
        names_of(composed, decomposed)
    with pytest.raises(UsageError, match=r"two inputs have the name .*, in two forms of Unicode: "):
        names_of(folder_with(composed, NFD.encode()))


def test_names_that_differ_in_case_only_are_different(tmp_path: Path) -> None:
    assert names_of(folder_with(tmp_path, b"A.mid", b"a.mid", b"a.MID")) == ["A.mid", "a.MID", "a.mid"]


@pytest.mark.parametrize("name", ["a.mid.gz", "b.MIDI.GZ", "c.kar.gz"])
def test_compressed_midi_file_is_an_input(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"one ") + gzip.compress(b"file"))
    (source,) = inputs_of(tmp_path)
    assert (source.name, source.read(NO_INDEXES)) == (name, b"one file")


@pytest.mark.parametrize("data", [b"MThd", b"\x1f", b"", b"x"])
def test_file_that_is_already_decompressed_is_read_as_it_is(tmp_path: Path, data: bytes) -> None:
    """Browsers decompress a .mid.gz that they download, and keep its name."""
    (tmp_path / "a.mid.gz").write_bytes(data)
    (source,) = inputs_of(tmp_path)
    assert source.read(NO_INDEXES) == data


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:20], lambda data: data + b"x"])
def test_damaged_compressed_midi_file_is_rejected(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    (tmp_path / "a.mid.gz").write_bytes(change(gzip.compress(bytes(range(256)))))
    (source,) = inputs_of(tmp_path)
    with pytest.raises(Rejection, match="the gzip data is damaged") as caught:
        source.read(NO_INDEXES)
    assert caught.value.reason is Reason.UNREADABLE


def test_compressed_midi_file_is_decompressed_up_to_the_size_limit_only(tmp_path: Path) -> None:
    for name, size in (("allowed.mid.gz", MAX_BYTES), ("bomb.mid.gz", 64 * MAX_BYTES), ("over.mid.gz", MAX_BYTES + 1)):
        with gzip.open(tmp_path / name, "wb", compresslevel=1) as file:
            for begin in range(0, size, 1 << 20):
                file.write(bytes(min(1 << 20, size - begin)))
    allowed, bomb, over = inputs_of(tmp_path)
    assert len(allowed.read(NO_INDEXES)) == MAX_BYTES
    tracemalloc.start()
    try:
        assert reason_of(bomb) == reason_of(over) == Reason.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_work_folder_in_the_corpus_is_not_part_of_it(tmp_path: Path) -> None:
    folder_with(tmp_path, b"a.mid", b"store.h5.tmp-work/lock", b"old.h5.tmp-work/lock")
    unread = Unread()
    assert len(scan([str(tmp_path)], tmp_path / "store.h5.tmp-work", unread)) == 1
    assert unread.lines() == ["other files: 1 without a suffix"]


def test_files_that_macos_writes_are_not_inputs(tmp_path: Path) -> None:
    folder_with(tmp_path, b"a.mid", b"._a.mid", b"Bach/._b.mid", b"__MACOSX/Bach/b.mid", b"Bach/__MACOSX/c.mid", b"._all.zip")
    assert names_of(tmp_path) == ["a.mid"]


def test_missing_corpus_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        names_of(tmp_path / "none")


def test_corpus_without_inputs_is_an_error_that_lists_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder_with(tmp_path / "texts", b"a.txt")
    for corpus in (tmp_path / "empty", tmp_path / "texts", tmp_path / "texts/a.txt"):
        with pytest.raises(UsageError) as caught:
            names_of(corpus)
        assert str(corpus) in str(caught.value)
        assert all(suffix in str(caught.value) for suffix in SUFFIXES)


def test_empty_corpus_beside_another_is_an_error(tmp_path: Path) -> None:
    folder_with(tmp_path / "full", b"a.mid")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty has no inputs"):
        names_of(tmp_path / "full", tmp_path / "empty")


def test_group_of_a_bundled_corpus_is_its_name() -> None:
    names = names_of("music21:bach")
    assert len(names) > 300
    assert {group_of(name) for name in names} == {"bach"}
    assert any(name.startswith("bach/bwv") and name.endswith(".mxl") for name in names)


@pytest.mark.parametrize("name", ["nonsense", "", ".", "..", "../corpus/bach", "bach/../../corpus", "/", "/tmp"])
def test_unknown_bundled_corpus_is_an_error_that_lists_the_valid_names(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        names_of(f"music21:{name}")
    assert f"music21 has no corpus {name!r}" in str(caught.value)
    valid = str(caught.value).partition("valid names: ")[2].split(", ")
    assert {"bach", "haydn", "mozart"} <= set(valid)
    assert names_of(f"music21:{valid[0]}")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
@pytest.mark.parametrize("kind", ["dangling_link", "fifo", "socket", "link_to_an_endless_device"])
def test_archive_that_is_not_a_regular_file_is_an_error(tmp_path: Path, name: str, kind: str) -> None:
    UNREADABLE[kind](tmp_path / name)
    with pytest.raises(UsageError, match=r"cannot be read as an archive \((not a regular file|No such file)"):
        names_of(tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in DISTINCT_KINDS if kind != "zip"])
def test_archive_that_the_file_system_cannot_read_is_not_called_damaged(tmp_path: Path, kind: str) -> None:
    UNREADABLE["file_with_a_read_error"](tmp_path / f"a.{kind}")
    with pytest.raises(UsageError, match=r"cannot be read as an archive \(Input/output error\); make it readable or remove it"):
        names_of(tmp_path)


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2"])
def test_index_that_cannot_be_written_is_not_an_error_of_its_archive(tmp_path: Path, kind: str) -> None:
    archive = pack(folder_with(tmp_path / "corpus", b"a.mid"), tmp_path / f"a.{kind}")
    with pytest.raises(PianogenError, match=r"none/index-\w+, the index of an archive, cannot be written \(No such file"):
        scan([str(archive)], tmp_path / "none", Unread())


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archive_is_an_error_that_shows_its_path(tmp_path: Path, kind: str) -> None:
    name = f"a.{kind}"
    (tmp_path / name).write_bytes(b"not an archive" * 99)
    with pytest.raises(UsageError, match="cannot be read as an archive") as caught:
        scan([str(tmp_path / name)], tmp_path, Unread())
    assert str(tmp_path / name) in str(caught.value)
