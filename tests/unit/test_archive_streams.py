"""Archives are read by position, and damage is an error before any conversion."""

import os
import random
import re
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xz

from pianogen.errors import UsageError
from pianogen.midi.rejection import Rejection
from preprocess import sources
from preprocess.unread import FileKind, Unread
from tests.support.archives import DISTINCT_KINDS, KINDS, compressed, contents, pack, tar_of
from tests.support.made_corpus import made_midi


def small_archive(path: Path) -> tuple[bytes, set[bytes]]:
    """Writes an archive of three MIDI files in one folder; returns the bytes of the archive and of the files."""
    folder = path.parent / "three"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.mid").write_bytes(made_midi(seed))
    return pack(folder, path).read_bytes(), set(map(made_midi, range(3)))


@pytest.mark.parametrize("kind", DISTINCT_KINDS)
def test_truncated_archive_is_an_error_or_reported_or_has_every_member(tmp_path: Path, kind: str) -> None:
    data, members = small_archive(tmp_path / f"x.{kind}")
    lengths = {*range(0, len(data), 512), *random.Random(0).sample(range(len(data)), 60)}
    num_errors = 0
    for length in sorted(lengths):
        (tmp_path / f"x.{kind}").write_bytes(data[:length])
        unread = Unread()
        try:
            files = {source.read(tmp_path) for source in sources.scan([str(tmp_path / f"x.{kind}")], tmp_path, unread)}
        except UsageError:
            num_errors += 1
        else:
            assert files == members or (kind == "tar" and unread.counts == {(FileKind.NO_END, ".tar"): 1}), length
    assert num_errors > len(lengths) / 4


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_tar_without_its_end_is_read_and_reported(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    _, members = small_archive(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as file:
        end = max(info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE for info in file)
    archive = tmp_path / f"y.{kind}"
    archive.write_bytes(compressed((tmp_path / "x.tar").read_bytes()[:end], archive.suffix))
    unread = Unread()
    assert {source.read(tmp_path) for source in sources.scan([str(archive)], tmp_path, unread)} == members
    assert unread.lines() == [f"archives without the blocks that end a tar, perhaps cut off: 1 .{kind}"]
    assert "y." in caplog.text
    assert "may have been cut off" in caplog.text


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_members_behind_the_end_of_a_tar_are_reported(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    data, members = small_archive(tmp_path / "x.tar")
    for number, (behind, expected) in enumerate([(data, FileKind.BEHIND_END), (b"garbage" * 200, None), (bytes(20_000), None)]):
        archive = tmp_path / f"{number}.{kind}"
        archive.write_bytes(compressed(data + behind, archive.suffix))
        unread = Unread()
        assert {source.read(tmp_path) for source in sources.scan([str(archive)], tmp_path, unread)} == members
        assert [counted_kind for counted_kind, _ in unread.counts] == ([expected] if expected else [])
    assert caplog.text.count("contains members behind the end of a tar") == 1


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_content_of_a_tar_decides_how_it_is_compressed(tmp_path: Path, kind: str) -> None:
    data, members = small_archive(tmp_path / f"x.{kind}")
    for number, suffix in enumerate(("tar", "tgz", "tar.zst")):
        archive = tmp_path / f"{number}.{suffix}"
        archive.write_bytes(data)
        assert set(contents(archive, tmp_path).values()) == members, suffix


@pytest.mark.parametrize("name", ["BZhang/a.mid", "PK\3\4.mid"])
def test_name_of_the_first_member_of_a_tar_does_not_decide_how_it_is_compressed(tmp_path: Path, name: str) -> None:
    archive = tar_of(tmp_path / "x.tar", (name, made_midi(0)))
    assert list(contents(archive, tmp_path).values()) == [made_midi(0)]


@pytest.mark.parametrize("kind", DISTINCT_KINDS)
def test_path_of_an_archive_and_of_its_index_may_have_bytes_that_are_not_utf8(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    _, members = small_archive(folder / f"x.{kind}")
    assert set(contents(folder / f"x.{kind}", folder).values()) == members


@pytest.mark.parametrize("hundred", range(3))
@pytest.mark.parametrize("kind", DISTINCT_KINDS)
def test_archive_with_changed_bytes_is_an_error_or_has_every_member(tmp_path: Path, kind: str, hundred: int) -> None:
    data, members = small_archive(tmp_path / f"x.{kind}")
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        generator, damaged = random.Random(seed), bytearray(data)
        for _ in range(generator.randint(1, 3)):
            damaged[generator.randrange(len(data))] = generator.choice([0, 0x80, 0xFF, generator.randrange(256)])
        archive = tmp_path / f"{seed}.{kind}"  # a new name, because open archives are cached by name
        archive.write_bytes(damaged)
        try:
            inputs = sources.scan([str(archive)], tmp_path, Unread())
        except UsageError:
            continue
        assert len(inputs) == 3 or kind == "zip"  # a zip has no checksum of its names
        for source in inputs:
            with suppress(Rejection):
                assert source.read(tmp_path) in members or kind == "tar"  # a tar has no checksum of its contents


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_damage_behind_the_last_member_is_an_error(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"x.{kind}"
    tar, _ = small_archive(tmp_path / "x.tar")
    data = bytearray(compressed(tar + random.Random(0).randbytes(3_000_000), archive.suffix))
    data[-100_000] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(UsageError, match=r"cannot be read as an archive"):
        sources.scan([str(archive)], tmp_path, Unread())


def test_compressed_tar_without_its_checksum_is_an_error(tmp_path: Path) -> None:
    """All members are complete, but nothing shows that their bytes are correct."""
    data, _ = small_archive(tmp_path / "x.tar.gz")
    for num_missing in (1, 4, 8, 9):
        (tmp_path / "x.tar.gz").write_bytes(data[:-num_missing])
        with pytest.raises(UsageError, match="cannot be read as an archive"):
            sources.scan([str(tmp_path / "x.tar.gz")], tmp_path, Unread())


COMPRESSED_KINDS = DISTINCT_KINDS[2:]


@pytest.mark.parametrize("kind", COMPRESSED_KINDS)
def test_compressed_tar_of_several_streams_is_read(tmp_path: Path, kind: str) -> None:
    tar, members = small_archive(tmp_path / "x.tar")
    archive = tmp_path / f"x.{kind}"
    archive.write_bytes(compressed(tar[:1_000], archive.suffix) + compressed(tar[1_000:], archive.suffix))
    assert set(contents(archive, tmp_path).values()) == members


def write_compressed(tar: bytes, archive: Path) -> None:
    if archive.name.endswith("blocks.tar.xz"):  # as written by xz --block-size
        with xz.open(archive, "w") as file:
            for begin in range(0, len(tar), 100_000):
                file.change_block()
                file.write(tar[begin : begin + 100_000])
    else:
        archive.write_bytes(compressed(tar, archive.suffix))


@pytest.mark.parametrize("kind", [*COMPRESSED_KINDS, "blocks.tar.xz"])
def test_members_of_many_blocks_are_read_in_any_order(tmp_path: Path, kind: str) -> None:
    generator = random.Random(0)
    files = {f"{number:03}.mid": generator.randbytes(generator.randrange(200_000)) for number in range(40)}
    tar = tar_of(tmp_path / "x.tar", *files.items()).read_bytes()
    archive = tmp_path / f"x.{kind}"
    write_compressed(tar, archive)
    inputs = sources.scan([str(archive)], tmp_path, Unread())
    for source in generator.sample(inputs, 40):
        source.seek(tmp_path)
        assert source.read(tmp_path) == files[source.name]


@pytest.mark.parametrize("kind", COMPRESSED_KINDS)
def test_reading_in_the_order_of_the_archive_decompresses_every_part_once(tmp_path: Path, kind: str) -> None:
    """Seen in the number of bytes read from the file, which an input that starts at the beginning again would multiply."""
    files = {f"{number:03}.mid": random.Random(number).randbytes(100_000) for number in range(60)}
    archive = tmp_path / f"x.{kind}"
    archive.write_bytes(compressed(tar_of(tmp_path / "x.tar", *files.items()).read_bytes(), archive.suffix))
    scanned = sources.scan([str(archive)], tmp_path, Unread())
    inputs = scanned.in_reading_order(np.arange(len(scanned)))
    begin = bytes_read()
    assert [source.read(tmp_path) for source in inputs] == list(files.values())
    assert bytes_read() - begin < 2 * archive.stat().st_size


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "blocks.tar.xz"])
def test_last_member_is_read_without_reading_the_archive(tmp_path: Path, kind: str) -> None:
    files = {f"{number:03}.mid": random.Random(number).randbytes(100_000) for number in range(90)}
    archive = tmp_path / f"x.{kind}"
    write_compressed(tar_of(tmp_path / "x.tar", *files.items()).read_bytes(), archive)
    *_, last = sources.scan([str(archive)], tmp_path, Unread())
    begin = bytes_read()
    last.seek(tmp_path)
    assert last.read(tmp_path) == files[last.name]
    assert bytes_read() - begin < 0.6 * archive.stat().st_size


def bytes_read() -> int:
    """The bytes that this process has read from files so far."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]  # Linux has this line


def test_tar_member_of_negative_size_is_an_error(tmp_path: Path) -> None:
    """With two members that point at each other, tarfile would list members endlessly."""
    blocks = []
    for seed, size in enumerate([512, -1024]):
        member = tarfile.TarInfo(f"{seed}.mid")
        member.size = size
        blocks += [member.tobuf(tarfile.GNU_FORMAT), bytes(512)]
    (tmp_path / "x.tar").write_bytes(b"".join(blocks) + bytes(1024))
    with pytest.raises(UsageError, match=r"x\.tar cannot be read as an archive \(a member has -1024 bytes\)"):
        sources.scan([str(tmp_path / "x.tar")], tmp_path, Unread())


@pytest.mark.parametrize("kind", KINDS)
def test_half_an_archive_is_an_error_before_any_conversion(tmp_path: Path, kind: str) -> None:
    data, _ = small_archive(tmp_path / f"x.{kind}")
    (tmp_path / f"x.{kind}").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"x\..* cannot be read as an archive"):
        sources.scan([str(tmp_path / f"x.{kind}")], tmp_path, Unread())
