"""Archives of every kind, made from folders."""

import bz2
import gzip
import lzma
import sys
import tarfile
import zipfile
from pathlib import Path

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
