"""Archives are read where they lie, and are folders of their content."""

import gzip
import io
import os
import random
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from pianogen.errors import UsageError
from pianogen.midi.rejection import Reason, Rejection
from preprocess import archives, sources
from tests.support.made_corpus import made_midi
from tests.support.processes import finished, preprocess_command

NAMES = ["A/one.mid", "A/two.mid", "B/caf\xe9, with spaces.mid", "B/deep/er/three.MID", "four.mid", "notes.txt"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for seed, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(made_midi(seed))
    return root


def packed(folder: Path, kind: str) -> Path:
    """An archive of a folder's content, by the tools a user has."""
    archive = folder.parent / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(folder.rglob("*"), reverse=True):
                file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as file:
            file.add(folder, ".")
    return archive


def contents(corpus: Path, indexes: Path) -> dict[str, bytes]:
    return {each.name: each.read(indexes) for each in sources.scan([str(corpus)], indexes)}


def refusal(corpus: Path, name: str, indexes: Path) -> Rejection:
    (source,) = [each for each in sources.scan([str(corpus)], indexes) if each.name == name]
    with pytest.raises(Rejection) as caught:
        source.read(indexes)
    return caught.value


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archive_has_the_names_and_bytes_of_its_folder(folder: Path, tmp_path: Path, kind: str) -> None:
    assert contents(packed(folder, kind), tmp_path) == contents(folder, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archive_in_a_folder_is_a_folder_of_its_name(folder: Path, tmp_path: Path, kind: str) -> None:
    above = tmp_path / "above"
    above.mkdir()
    packed(folder, kind).rename(above / f"all.{kind}")
    wanted = {f"all.{kind}/{name}": data for name, data in contents(folder, tmp_path).items()}
    assert contents(above, tmp_path) == wanted


def test_archive_in_an_archive_is_not_opened(folder: Path, tmp_path: Path) -> None:
    packed(folder, "tar").rename(folder / "inner.tar")
    assert "inner.tar/four.mid" not in contents(packed(folder, "zip"), tmp_path)


def test_stores_of_folder_and_archives_are_equal(folder: Path, tmp_path: Path) -> None:
    stores = []
    for number, corpus in enumerate([folder, *(packed(folder, kind) for kind in ("zip", "tar", "tar.gz"))]):
        store = tmp_path / f"{number}.h5"
        done = finished(preprocess_command(0, corpus, "--store", store))
        assert done.returncode == 0, done.stderr
        stores.append((store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()))
    assert len(set(stores)) == 1
    assert not list(tmp_path.glob("*.tmp*"))


def test_bytes_that_are_no_text_have_the_name_they_have_in_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9\\.mid"))).write_bytes(made_midi(0))
    with tarfile.open(tmp_path / "x.tar", "w", errors="surrogateescape") as file:
        file.add(root, ".")
    assert list(contents(tmp_path / "x.tar", tmp_path)) == list(contents(root, tmp_path)) == ["caf\\xe9\\\\.mid"]


def test_member_paths_are_names_and_never_places(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("../../up.mid", made_midi(0))
        file.writestr("/root.mid", made_midi(1))
    assert list(contents(tmp_path / "x.zip", tmp_path)) == ["root.mid", "up.mid"]


def test_links_of_a_tar_are_followed_inside_it_alone(tmp_path: Path) -> None:
    data = made_midi(0)
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        real = tarfile.TarInfo("a/real.mid")
        real.size = len(data)
        file.addfile(real, io.BytesIO(data))
        for name, kind, target in [
            ("./a/./soft.mid", tarfile.SYMTYPE, "real.mid"),
            ("a/chain.mid", tarfile.SYMTYPE, "soft.mid"),
            ("a/circle.mid", tarfile.SYMTYPE, "circle.mid"),
            ("b/up.mid", tarfile.SYMTYPE, "../a/real.mid"),
            ("b/hard.mid", tarfile.LNKTYPE, "a/real.mid"),
            ("b/out.mid", tarfile.SYMTYPE, "/etc/passwd"),
        ]:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            file.addfile(link)
    found = {each.name: each for each in sources.scan([str(tmp_path / "x.tar")], tmp_path)}
    assert all(found[f"{name}.mid"].read(tmp_path) == data for name in ("a/real", "a/soft", "a/chain", "b/up", "b/hard"))
    for name in ("b/out.mid", "a/circle.mid"):
        assert refusal(tmp_path / "x.tar", name, tmp_path).reason is Reason.UNREADABLE


def test_links_of_a_folder_that_tar_packed_are_what_they_are_in_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "soft.mid").symlink_to(next(folder.rglob("*.mid")).relative_to(folder))
    os.link(next(folder.rglob("*.mid")), folder / "hard.mid")
    assert contents(packed(folder, "tar"), tmp_path) == contents(folder, tmp_path)


def test_member_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file, file.open("bomb.mid", "w") as member:
        for _ in range(1024):
            member.write(bytes(1 << 20))
    assert (tmp_path / "x.zip").stat().st_size < 4 << 20
    assert refusal(tmp_path / "x.zip", "bomb.mid", tmp_path).reason is Reason.TOO_LARGE


def test_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.mid", bytes(50 << 20))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (100).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    assert refusal(tmp_path / "x.zip", "bomb.mid", tmp_path).reason is Reason.UNREADABLE


@pytest.mark.parametrize("change", ["encrypted", "method", "content", "header", "place", "place_beyond_the_end"])
def test_damaged_member_is_refused_alone(tmp_path: Path, change: str) -> None:
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
    elif change.startswith("place"):
        data[directory + 42 + 2 * (change == "place_beyond_the_end")] ^= 0x01
    else:
        data[0] = 0
    (tmp_path / "x.zip").write_bytes(data)
    assert refusal(tmp_path / "x.zip", "a.mid", tmp_path).reason is Reason.UNREADABLE
    (other,) = [each for each in sources.scan([str(tmp_path / "x.zip")], tmp_path) if each.name == "b.mid"]
    assert other.read(tmp_path) == made_midi(1)


def small_archive(path: Path) -> tuple[bytes, set[bytes]]:
    """An archive of three MIDI files, all in one folder, and what they hold."""
    folder = path.parent / "three"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.mid").write_bytes(made_midi(seed))
    made = packed(folder, "tar" if path.suffix == ".tar" else path.name.partition(".")[2])
    return made.read_bytes(), set(map(made_midi, range(3)))


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_archive_cut_off_anywhere_is_refused_or_has_every_member(tmp_path: Path, name: str) -> None:
    data, members = small_archive(tmp_path / name)
    lengths = {*range(0, len(data), 512), *random.Random(0).sample(range(len(data)), 60)}
    num_refused = 0
    for length in sorted(lengths):
        (tmp_path / name).write_bytes(data[:length])
        try:
            found = contents(tmp_path / name, tmp_path)
        except UsageError:
            num_refused += 1
        else:
            assert set(found.values()) == members, f"cut at byte {length}"
    assert num_refused > len(lengths) / 4


@pytest.mark.parametrize("hundred", range(3))
@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_archive_with_changed_bytes_is_refused_or_read_and_no_member_of_a_tar_is_lost(
    tmp_path: Path, name: str, hundred: int
) -> None:
    data, members = small_archive(tmp_path / name)
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        draw, damaged = random.Random(seed), bytearray(data)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(data))] = draw.choice([0, 0x80, 0xFF, draw.randrange(256)])
        (tmp_path / name).write_bytes(damaged)
        archives._open_gzip.cache_clear()  # which knows another archive by this name
        try:
            found = sources.scan([str(tmp_path / name)], tmp_path)
        except UsageError:
            continue
        assert len(found) == 3 or name == "x.zip"  # whose names no checksum guards
        for each in found:
            with suppress(Rejection):
                assert each.read(tmp_path) in members or name == "x.tar"  # whose content no checksum guards


def test_compressed_tar_whose_stream_lost_its_end_is_refused(tmp_path: Path) -> None:
    """All members are there, but the checksum that would vouch for them is not."""
    data, _ = small_archive(tmp_path / "x.tar.gz")
    for lost in (1, 4, 8, 9):
        (tmp_path / "x.tar.gz").write_bytes(data[:-lost])
        with pytest.raises(UsageError, match="cannot be read as an archive"):
            sources.scan([str(tmp_path / "x.tar.gz")], tmp_path)


def test_compressed_tar_of_several_streams_is_read(tmp_path: Path) -> None:
    data, members = small_archive(tmp_path / "x.tar.gz")
    tar = gzip.decompress(data)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(tar[:1_000]) + gzip.compress(tar[1_000:]))
    assert set(contents(tmp_path / "x.tar.gz", tmp_path).values()) == members


def test_tar_with_a_member_of_negative_size_is_refused(tmp_path: Path) -> None:
    """Two members that lead to each other would be listed for ever."""
    blocks = []
    for seed, size in enumerate([512, -1024]):
        member = tarfile.TarInfo(f"{seed}.mid")
        member.size = size
        blocks += [member.tobuf(tarfile.GNU_FORMAT), bytes(512)]
    (tmp_path / "x.tar").write_bytes(b"".join(blocks) + bytes(1024))
    with pytest.raises(UsageError, match=r"x\.tar cannot be read as an archive \(a member of -1024 bytes\)"):
        sources.scan([str(tmp_path / "x.tar")], tmp_path)


def test_zip_whose_names_are_no_text_as_they_claim_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("größe.mid", made_midi(0))
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace("ö".encode(), b"\xff\xff"))
    with pytest.raises(UsageError, match=r"x\.zip cannot be read as an archive"):
        sources.scan([str(tmp_path / "x.zip")], tmp_path)


def test_name_of_a_member_ends_at_a_nul(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a.mid+b.mid", made_midi(0))
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"+", b"\0"))
    assert list(contents(tmp_path / "x.zip", tmp_path)) == ["a.mid"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archive_that_was_cut_off_is_refused_before_any_work(folder: Path, tmp_path: Path, kind: str) -> None:
    archive = packed(folder, kind)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(UsageError, match=r"archive\..* cannot be read as an archive"):
        sources.scan([str(archive)], tmp_path)
