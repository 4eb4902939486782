"""Archives are read in place, and give the same inputs as a folder with their content."""

import bz2
import io
import lzma
import os
import stat
import struct
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.errors import UsageError
from pianogen.midi.rejection import Reason, Rejection
from preprocess import sources
from preprocess.unread import Unread
from tests.support.archives import DISTINCT_KINDS, KINDS, contents, input_of, pack, rejection_of, tar_of, zip_of
from tests.support.made_corpus import made_midi
from tests.support.processes import finished, preprocess_command

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAMES = ["A/one.mid", "A/two.mid", "B/caf\xe9, with spaces.mid", "B/deep/er/three.MID", "four.mid", "notes.txt"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for seed, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(made_midi(seed))
    return root


def packed(folder: Path, kind: str) -> Path:
    """An archive of a folder's content."""
    return pack(folder, folder.parent / f"archive.{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_archive_has_the_names_and_bytes_of_its_folder(folder: Path, tmp_path: Path, kind: str) -> None:
    assert contents(packed(folder, kind), tmp_path) == contents(folder, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_archive_in_a_folder_counts_as_a_folder_with_its_name(folder: Path, tmp_path: Path, kind: str) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    packed(folder, kind).rename(parent / f"all.{kind}")
    expected = {f"all.{kind}/{name}": data for name, data in contents(folder, tmp_path).items()}
    assert contents(parent, tmp_path) == expected


def test_archive_in_an_archive_is_not_opened(folder: Path, tmp_path: Path) -> None:
    packed(folder, "tar").rename(folder / "inner.tar")
    assert "inner.tar/four.mid" not in contents(packed(folder, "zip"), tmp_path)


def test_stores_of_folder_and_archives_are_equal(folder: Path, tmp_path: Path) -> None:
    stores = []
    for number, corpus in enumerate([folder, *(packed(folder, kind) for kind in DISTINCT_KINDS)]):
        store = tmp_path / f"{number}.h5"
        done = finished(preprocess_command(number % 3, corpus, "--store", store))
        assert done.returncode == 0, done.stderr
        stores.append((store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()))
    assert len(set(stores)) == 1
    assert not list(tmp_path.glob("*.tmp*"))


def test_invalid_bytes_in_a_name_are_escaped_as_in_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9\\.mid"))).write_bytes(made_midi(0))
    with tarfile.open(tmp_path / "x.tar", "w", errors="surrogateescape") as file:
        file.add(root, ".")
    assert list(contents(tmp_path / "x.tar", tmp_path)) == list(contents(root, tmp_path)) == ["caf\\xe9\\\\.mid"]


def test_last_of_two_members_with_one_name_counts(tmp_path: Path) -> None:
    members = [("A/a.mid", made_midi(0)), ("b.mid", made_midi(1)), ("./A//a.mid", made_midi(2))]
    expected = {"A/a.mid": made_midi(2), "b.mid": made_midi(1)}
    assert contents(zip_of(tmp_path / "x.zip", *members), tmp_path) == expected
    assert contents(tar_of(tmp_path / "x.tar", *members), tmp_path) == expected


def test_hard_link_keeps_the_content_that_its_target_had(tmp_path: Path) -> None:
    link = ("b.mid", tarfile.LNKTYPE, "a.mid")
    archive = tar_of(tmp_path / "x.tar", ("a.mid", made_midi(0)), link, ("a.mid", made_midi(1)))
    assert contents(archive, tmp_path) == {"a.mid": made_midi(1), "b.mid": made_midi(0)}


@pytest.mark.parametrize(
    ("name", "system", "expected"),
    [
        ("Bach\\sub\\one.mid", 0, "Bach/sub/one.mid"),
        ("\\one.mid", 0, "one.mid"),
        ("Bach\\one.mid", 10, "Bach/one.mid"),
        ("Bach\\one.mid", 14, "Bach/one.mid"),
        ("Bach\\..\\one.mid", 0, "Bach/one.mid"),
        ("Bach\\one.mid", 3, "Bach\\\\one.mid"),
        ("Bach/on\\e.mid", 0, "Bach/on\\\\e.mid"),  # Java on Linux writes the system DOS; unzip and libarchive keep this name
    ],
)
def test_backslash_separates_folders_in_zips_from_windows(tmp_path: Path, name: str, system: int, expected: str) -> None:
    assert list(contents(zip_of(tmp_path / "x.zip", (name, made_midi(0)), system=system), tmp_path)) == [expected]


def test_folders_of_a_zip_from_windows_are_not_files(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "x.zip", ("album.mid\\", b""), ("album.mid\\a.mid", made_midi(0)), system=0)
    assert list(contents(archive, tmp_path)) == ["album.mid/a.mid"]


@pytest.mark.parametrize(("name_of_crc", "expected"), [(b"Dvo\xfdak.mid", "Dvořák.mid"), (b"renamed.mid", "Dvo\\xfdak.mid")])
def test_name_in_utf8_beside_a_name_in_another_encoding_counts_unless_it_is_outdated(
    tmp_path: Path, name_of_crc: bytes, expected: str
) -> None:
    utf8 = "Dvořák.mid".encode()
    info = zipfile.ZipInfo("Dvo+ak.mid")
    info.extra = b"\x55\x54\1\0\0" + struct.pack("<HHBI", 0x7075, 5 + len(utf8), 1, zlib.crc32(name_of_crc)) + utf8
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(info, made_midi(0))
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"Dvo+ak.mid", b"Dvo\xfdak.mid"))
    assert list(contents(tmp_path / "x.zip", tmp_path)) == [expected]


def test_name_that_is_wrongly_declared_as_utf8_has_its_invalid_bytes_escaped(tmp_path: Path) -> None:
    names = ["Bach/one.mid", "Bach/\u4e2d.mid", "Bach/\u4e2d\u6587.mid"]
    members = [(name, made_midi(seed)) for seed, name in enumerate(names)]
    archive = zip_of(tmp_path / "x.zip", *members, method=zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace("\u4e2d.mid".encode(), b"\xfc\xe9a.mid"))
    expected = {"Bach/one.mid": made_midi(0), "Bach/\\xfc\\xe9a.mid": made_midi(1), "Bach/\u4e2d\u6587.mid": made_midi(2)}
    assert contents(archive, tmp_path) == expected


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_compression_method_is_read(tmp_path: Path, method: int) -> None:
    members = [(f"{seed}.mid", made_midi(seed)) for seed in range(3)]
    assert contents(zip_of(tmp_path / "x.zip", *members, method=method), tmp_path) == dict(members)


def with_method(archive: Path, method: int, compressed_data: bytes, size: int, crc: int) -> None:
    """Writes a zip of one member a.mid in a method that zipfile does not write."""
    numbers = struct.pack("<HHHHIIIHH", 0, method, 0, 0, crc, len(compressed_data), size, 5, 0)
    local = b"PK\3\4" + struct.pack("<H", 20) + numbers + b"a.mid" + compressed_data
    central = b"PK\1\2" + struct.pack("<HH", 20, 20) + numbers + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a.mid"
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    archive.write_bytes(local + central + end)


def test_zstd_member_of_a_zip_is_read(tmp_path: Path) -> None:
    data = made_midi(0)
    with_method(tmp_path / "x.zip", 93, zstd.compress(data), len(data), zlib.crc32(data))
    assert contents(tmp_path / "x.zip", tmp_path) == {"a.mid": data}


@pytest.mark.parametrize("kind", ["zip", "tar.zst"])
def test_zstd_window_of_more_than_128_mb_is_read(tmp_path: Path, kind: str) -> None:
    """As `zstd --long=28` writes it from a pipe."""
    data, archive = made_midi(0), tmp_path / f"x.{kind}"
    content = data if kind == "zip" else tar_of(tmp_path / "x.tar", ("a.mid", data)).read_bytes()
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    compressed_data = compressor.compress(content) + compressor.flush()
    if kind == "zip":
        with_method(archive, 93, compressed_data, len(data), zlib.crc32(data))
    else:
        archive.write_bytes(compressed_data)
    assert contents(archive, tmp_path) == {"a.mid": data}


@pytest.mark.parametrize(("method", "name"), [(9, "deflate64"), (98, "PPMd"), (77, "unknown")])
def test_zip_compression_method_that_is_not_read_is_named(tmp_path: Path, method: int, name: str) -> None:
    with_method(tmp_path / "x.zip", method, b"x", 1, 0)
    rejection = rejection_of(tmp_path / "x.zip", "a.mid", tmp_path)
    assert rejection.reason is Reason.UNREADABLE
    assert f"zip compression method {name} ({method})" in str(rejection)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93])
def test_member_that_is_larger_than_declared_is_decompressed_to_the_declared_size_only(tmp_path: Path, method: int) -> None:
    bomb = bytes(200 << 20)
    compress: dict[int, Callable[[bytes], bytes]] = {
        zipfile.ZIP_DEFLATED: lambda data: zlib.compress(data, wbits=-15),
        zipfile.ZIP_BZIP2: bz2.compress,
        # The first 5 bytes of the format .lzma are the properties, the next 8 the size.
        zipfile.ZIP_LZMA: lambda data: b"\x09\x14\5\0" + (alone := lzma.compress(data, lzma.FORMAT_ALONE))[:5] + alone[13:],
        93: zstd.compress,
    }
    with_method(tmp_path / "x.zip", method, compress[method](bomb), 1_000, zlib.crc32(bomb))
    source = input_of(tmp_path / "x.zip", "a.mid", tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(Rejection, match=r"size or checksum|damaged"):
            source.read(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20  # LZMA has a dictionary of 8 MiB
    finally:
        tracemalloc.stop()


def test_refusals_of_members_have_their_own_words(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "x.tar",
        ("out.mid", tarfile.SYMTYPE, "../../secret.mid"),
        ("absolute.mid", tarfile.SYMTYPE, "/etc/passwd"),
        ("dangling.mid", tarfile.SYMTYPE, "none.mid"),
        ("hard.mid", tarfile.LNKTYPE, "none.mid"),
        ("pipe.mid", tarfile.FIFOTYPE, ""),
        ("sparse.mid", tarfile.GNUTYPE_SPARSE, ""),
    )
    messages = {source.name: "" for source in sources.scan([str(archive)], tmp_path, Unread())}
    for name in messages:
        messages[name] = str(rejection_of(archive, name, tmp_path))
    link = "the member is a link out of the archive, or to a file that the archive does not contain"
    assert messages == {
        **dict.fromkeys(("out.mid", "absolute.mid", "dangling.mid", "hard.mid"), link),
        "pipe.mid": "not a regular file",
        "sparse.mid": "the member is a sparse file; pack the archive again without --sparse",
    }
    data = bytearray(zip_of(tmp_path / "x.zip", ("a.mid", made_midi(0))).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    unread = Unread()
    (source,) = sources.scan([str(tmp_path / "x.zip")], tmp_path, unread)
    assert unread.lines() == ["encrypted members of archives, rejected: 1 .mid"]
    with pytest.raises(Rejection, match="the member is encrypted"):
        source.read(tmp_path)


def test_absolute_and_parent_paths_of_members_become_relative_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("../../up.mid", made_midi(0))
        file.writestr("/root.mid", made_midi(1))
    assert list(contents(tmp_path / "x.zip", tmp_path)) == ["root.mid", "up.mid"]


def test_links_in_a_tar_are_followed_only_inside_the_archive(tmp_path: Path) -> None:
    data = made_midi(0)
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        real = tarfile.TarInfo("a/real.mid")
        real.size = len(data)
        file.addfile(real, io.BytesIO(data))
        for name, kind, target in [
            ("./a/./soft.mid", tarfile.SYMTYPE, "real.mid"),
            ("a/chain.mid", tarfile.SYMTYPE, "soft.mid"),
            ("a/loop.mid", tarfile.SYMTYPE, "loop.mid"),
            ("b/up.mid", tarfile.SYMTYPE, "../a/real.mid"),
            ("b/hard.mid", tarfile.LNKTYPE, "a/real.mid"),
            ("b/out.mid", tarfile.SYMTYPE, "/etc/passwd"),
        ]:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            file.addfile(link)
    inputs = {source.name: source for source in sources.scan([str(tmp_path / "x.tar")], tmp_path, Unread())}
    assert all(inputs[f"{name}.mid"].read(tmp_path) == data for name in ("a/real", "a/soft", "a/chain", "b/up", "b/hard"))
    for name in ("b/out.mid", "a/loop.mid"):
        assert rejection_of(tmp_path / "x.tar", name, tmp_path).reason is Reason.UNREADABLE


def outcomes(corpus: Path, indexes: Path) -> dict[str, bytes | None]:
    """The bytes of every input, None for a rejected one."""
    found: dict[str, bytes | None] = {}
    for source in sources.scan([str(corpus)], indexes, Unread()):
        found[source.name] = None
        with suppress(Rejection):
            found[source.name] = source.read(indexes)
    return found


folders = st.sampled_from(["", "d/", "d/e/", "f/"])
files = st.builds(str.__add__, folders, st.sampled_from(["a.mid", "b.mid", "c.mid"]))
folder_links = st.sampled_from(["x", "d/x", "d/e/y"])
ups = st.sampled_from(["", "./", "../", "../../", "../f/../"])
members_of_tars = st.lists(
    st.one_of(
        st.tuples(files, st.binary(min_size=1, max_size=3)),
        st.tuples(files, st.just(tarfile.SYMTYPE), st.builds(str.__add__, ups, files)),
        st.tuples(
            folder_links, st.just(tarfile.SYMTYPE), st.builds(str.__add__, ups, st.sampled_from([".", "d", "d/e", "f", "x"]))
        ),
    ),
    max_size=12,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(members=members_of_tars, hard_links=st.lists(files, max_size=3))
def test_tar_shows_what_tar_extracts(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[tuple[str, bytes] | tuple[str, bytes, str]],
    hard_links: list[str],
) -> None:
    tmp_path = tmp_path_factory.mktemp("tar")
    members = [("d/e/first.mid", b"1"), ("f/first.mid", b"2"), *members]
    plain = [member[0] for member in members if len(member) == 2]
    members += [(f"hard{index}.mid", tarfile.LNKTYPE, name) for index, name in enumerate(hard_links) if name in plain]
    archive = tar_of(tmp_path / "x.tar", *members)
    root = tmp_path / "1/2/3/root"  # links out of the root lead to empty folders
    root.mkdir(parents=True)
    # -P: without it, GNU tar extracts links that contain ".." at the end, and not in the order of the archive.
    extracted = finished(["tar", "-x", "-P", "-f", str(archive), "-C", str(root)])
    assert extracted.returncode == 0, extracted.stderr
    assert outcomes(archive, tmp_path) == outcomes(root, tmp_path)


A_AND_LINK: list[tuple[str, bytes] | tuple[str, bytes, str]] = [("A/x.mid", b"x"), ("L", tarfile.SYMTYPE, "A")]
LINKED_FOLDERS: dict[str, tuple[list[tuple[str, bytes] | tuple[str, bytes, str]], dict[str, bytes]]] = {
    "file_below_a_link": (
        [*A_AND_LINK, ("L/y.mid", b"y")],
        {"A/x.mid": b"x", "A/y.mid": b"y", "L/x.mid": b"x", "L/y.mid": b"y"},
    ),
    "link_below_a_link": (
        [*A_AND_LINK, ("L/y.mid", tarfile.SYMTYPE, "x.mid")],
        dict.fromkeys(("A/x.mid", "A/y.mid", "L/x.mid", "L/y.mid"), b"x"),
    ),
    "hard_link_to_a_file_below_a_link": (
        [*A_AND_LINK, ("y.mid", tarfile.LNKTYPE, "L/x.mid")],
        dict.fromkeys(("A/x.mid", "L/x.mid", "y.mid"), b"x"),
    ),
    "folder_that_replaces_a_link": (
        [*A_AND_LINK, ("L", tarfile.DIRTYPE, ""), ("L/y.mid", b"y")],
        {"A/x.mid": b"x", "L/y.mid": b"y"},
    ),
    "folder_that_replaces_a_file": (
        [("a.mid", b"x"), ("a.mid", tarfile.DIRTYPE, ""), ("a.mid/b.mid", b"y")],
        {"a.mid/b.mid": b"y"},
    ),
    "link_at_the_path_of_a_folder_with_members": (
        [("L/y.mid", b"y"), *A_AND_LINK],
        {"A/x.mid": b"x", "L/y.mid": b"y"},
    ),
    "file_below_a_link_out_of_the_archive": (
        [("L", tarfile.SYMTYPE, "../B"), ("L/y.mid", b"y")],
        {"L/y.mid": b"y"},
    ),
}


@pytest.mark.parametrize("case", LINKED_FOLDERS)
def test_members_at_and_below_links_are_not_lost(tmp_path: Path, case: str) -> None:
    members, expected = LINKED_FOLDERS[case]
    assert contents(tar_of(tmp_path / "x.tar", *members), tmp_path) == expected


@pytest.mark.parametrize("kind", DISTINCT_KINDS[1:])
def test_links_to_folders_in_a_tar_give_the_same_inputs_as_in_the_folder(folder: Path, tmp_path: Path, kind: str) -> None:
    (folder / "all").symlink_to(".")
    (folder / "A/up").symlink_to("..")
    (folder / "B/other").symlink_to("../A/", target_is_directory=True)
    (folder / "deep").symlink_to("B/deep")
    (folder / "through.mid").symlink_to("B/other/one.mid")
    expected = contents(folder, tmp_path)
    assert {"B/other/one.mid", "deep/er/three.MID", "through.mid"} <= expected.keys()
    assert contents(packed(folder, kind), tmp_path) == expected


def test_symbolic_link_in_a_zip_is_followed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("A/a.mid", made_midi(0))
        for name, target in (("soft.mid", "A/a.mid"), ("B", "A"), ("out.mid", "../a.mid")):
            link = zipfile.ZipInfo(name)
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            file.writestr(link, target)
    rejection_of(tmp_path / "x.zip", "out.mid", tmp_path)
    inputs = sources.scan([str(tmp_path / "x.zip")], tmp_path, Unread())
    found = {source.name: source.read(tmp_path) for source in inputs if source.name != "out.mid"}
    assert found == dict.fromkeys(("A/a.mid", "B/a.mid", "soft.mid"), made_midi(0))


def test_links_that_show_members_again_and_again_are_an_error(tmp_path: Path) -> None:
    members: list[tuple[str, bytes] | tuple[str, bytes, str]] = [("30/a.mid", made_midi(0))]
    for number in range(30):
        members += [(f"{number}/{side}", tarfile.SYMTYPE, f"../{number + 1}") for side in ("left", "right")]
    with pytest.raises(UsageError, match=r"x\.tar cannot be read .*links show each member more than 64 times"):
        sources.scan([str(tar_of(tmp_path / "x.tar", *members))], tmp_path, Unread())


def test_links_in_a_tar_give_the_same_bytes_as_in_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "soft.mid").symlink_to(next(folder.rglob("*.mid")).relative_to(folder))
    os.link(next(folder.rglob("*.mid")), folder / "hard.mid")
    assert contents(packed(folder, "tar"), tmp_path) == contents(folder, tmp_path)


def test_member_that_declares_gigabytes_is_rejected_without_reading_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file, file.open("bomb.mid", "w") as member:
        for _ in range(1024):
            member.write(bytes(1 << 20))
    assert (tmp_path / "x.zip").stat().st_size < 4 << 20
    assert rejection_of(tmp_path / "x.zip", "bomb.mid", tmp_path).reason is Reason.TOO_LARGE


def test_member_larger_than_its_declared_size_is_rejected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.mid", bytes(50 << 20))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (100).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    assert rejection_of(tmp_path / "x.zip", "bomb.mid", tmp_path).reason is Reason.UNREADABLE


@pytest.mark.parametrize("change", ["encrypted", "method", "content", "header", "offset", "offset_after_the_end"])
def test_damaged_member_does_not_affect_the_other_members(tmp_path: Path, change: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.mid", made_midi(0))
        file.writestr("b.mid", made_midi(1))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    directory = data.index(b"PK\x01\x02")
    if change == "encrypted":
        data[directory + 8] |= 1
    elif change == "method":
        data[directory + 10] = 99
    elif change == "content":
        data[60] ^= 0xFF
    elif change.startswith("offset"):
        data[directory + 42 + 2 * (change == "offset_after_the_end")] ^= 0x01
    else:
        data[0] = 0
    (tmp_path / "x.zip").write_bytes(data)
    assert rejection_of(tmp_path / "x.zip", "a.mid", tmp_path).reason is Reason.UNREADABLE
    assert input_of(tmp_path / "x.zip", "b.mid", tmp_path).read(tmp_path) == made_midi(1)


@pytest.mark.parametrize(
    ("place", "reason"),
    [(20, Reason.UNREADABLE), (24, Reason.TOO_LARGE), (42, Reason.UNREADABLE)],
    ids=["stored", "size", "offset"],
)
def test_member_with_the_largest_number_of_zip64_does_not_affect_the_other_members(
    tmp_path: Path, place: int, reason: Reason
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        info = zipfile.ZipInfo("a.mid")
        info.extra = struct.pack("<HHQ", 1, 8, (1 << 64) - 1)
        file.writestr(info, made_midi(0))
        file.writestr("b.mid", made_midi(1))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    number = data.index(b"PK\1\2") + place
    data[number : number + 4] = b"\xff" * 4  # the number is in the extra field
    (tmp_path / "x.zip").write_bytes(data)
    assert rejection_of(tmp_path / "x.zip", "a.mid", tmp_path).reason is reason
    assert input_of(tmp_path / "x.zip", "b.mid", tmp_path).read(tmp_path) == made_midi(1)


def test_name_of_a_member_ends_at_a_nul_byte(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a.mid+b.mid", made_midi(0))
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"+", b"\0"))
    assert list(contents(tmp_path / "x.zip", tmp_path)) == ["a.mid"]
