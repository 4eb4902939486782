"""Archives of every kind, made from folders."""

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from pianogen.midi.rejection import Rejection
from preprocess import sources
from preprocess.inputs import Input
from preprocess.unread import Unread

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz", "tar.zst", "tzst")
DISTINCT_KINDS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst")  # without the second suffix of a kind


def pack(folder: Path, archive: Path) -> Path:
    """Writes an archive of a folder's content; its suffix gives the kind. Members are not in order of name."""
    paths = sorted(folder.rglob("*"), reverse=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in paths:
                file.write(path, path.relative_to(folder))
        return archive
    with tarfile.open(archive, "w", errors="surrogateescape") as tar:
        for path in paths:
            tar.add(path, path.relative_to(folder), recursive=False)
    archive.write_bytes(compressed(archive.read_bytes(), archive.suffix))
    return archive


def compressed(tar: bytes, suffix: str) -> bytes:
    """The bytes of a tar, compressed for this suffix, with a checksum."""
    if suffix in (".gz", ".tgz"):
        return gzip.compress(tar)
    if suffix in (".bz2", ".tbz2"):
        return bz2.compress(tar)
    if suffix in (".xz", ".txz"):
        return lzma.compress(tar)
    if suffix in (".zst", ".tzst"):
        return zstd.compress(tar, options={zstd.CompressionParameter.checksum_flag: 1})
    return tar


def contents(corpus: Path, indexes: Path) -> dict[str, bytes]:
    return {source.name: source.read(indexes) for source in sources.scan([str(corpus)], indexes, Unread())}


def input_of(corpus: Path, name: str, indexes: Path) -> Input:
    (source,) = [source for source in sources.scan([str(corpus)], indexes, Unread()) if source.name == name]
    return source


def rejection_of(corpus: Path, name: str, indexes: Path) -> Rejection:
    with pytest.raises(Rejection) as caught:
        input_of(corpus, name, indexes).read(indexes)
    return caught.value


def zip_of(path: Path, *members: tuple[str, bytes], system: int = 3, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip with these members, made on a system: 0 is DOS and Windows, 3 is Unix."""
    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings(action="ignore"):  # of equal names
        for name, data in members:
            info = zipfile.ZipInfo()
            info.filename, info.create_system = name, system
            file.writestr(info, data, method)
    return path


def tar_of(path: Path, *members: tuple[str, bytes] | tuple[str, bytes, str]) -> Path:
    """A tar of files (name, content) and of other members (name, type, target)."""
    with tarfile.open(path, "w") as file:
        for member in members:
            info = tarfile.TarInfo(member[0])
            if len(member) == 2:
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
            else:
                info.type, info.linkname = member[1:]
                file.addfile(info)
    return path
