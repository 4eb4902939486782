"""Compressed tars as streams that can be read from any position.

    gzip    read from the points of an index (indexed_gzip)
    bzip2   read from any block of up to 900 kB; an index holds their offsets (rapidgzip)
    xz      read from any block, whose offsets are at the end of the file (python-xz). Since version 5.6, xz writes blocks of
            24 MiB; older versions write one block
    zstd    read from the beginning

Listing the archive writes the index to a file that all ranks read. Chunks of inputs follow the order of the archive, and every
rank keeps its stream open. So a chunk costs one seek, and an archive without blocks costs every rank one pass.
"""

import functools
import gzip
import json
import lzma
import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import indexed_gzip
import xz

from pianogen import atomic
from pianogen.errors import PianogenError, cause
from preprocess.archives.member import ArchiveKind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SEQUENTIAL: Sequence[ArchiveKind] = ("xz", "zstd")  # a seek may decompress everything before
# The errors of damaged compressed data, beside OSError and the built-in errors that archives raise too.
DAMAGE_ERRORS = (indexed_gzip.ZranError, zlib.error, lzma.LZMAError, xz.XZError, zstd.ZstdError)
# An index of a gzip file takes 32 kB per point, and a seek decompresses half the distance between two points on average.
_MIN_SPACING_BYTES = 4 << 20
_MAX_POINTS = 2_048
_COMPRESSION_RATIO = 4  # of a typical corpus; only the number of points depends on it
_PART_BYTES = 1 << 20
_WINDOW_LOG_MAX = zstd.DecompressionParameter.window_log_max
# All windows, also those of `zstd --long=31`, for which zstd itself requires the option again: memory is used as it is filled.
ZSTD_OPTIONS: Mapping[int, int] = {_WINDOW_LOG_MAX: _WINDOW_LOG_MAX.bounds()[1]}


@contextmanager
def listing(path: str, kind: ArchiveKind, index_folder: Path | None) -> Iterator[BinaryIO]:
    """A stream to read forward; at the end, the rest is read too, so that damage is an error, and the index is written.

    Args:
        index_folder: None writes no index.

    Raises:
        PianogenError: the index cannot be written.
    """
    with _open(path, kind) as stream:
        forward = _ForwardReader(stream)
        yield cast(BinaryIO, forward)
        size = forward.read_rest()
        if kind == "gzip":
            _check_end(path, size)
        if index_folder is not None:
            _write_index(stream, kind, _index_path(path, index_folder))


@functools.lru_cache(maxsize=1)  # members of one archive are read one after another
def seekable(path: str, kind: ArchiveKind, index_folder: Path) -> BinaryIO:
    """A stream to read members from in any order; fastest in the order of the archive."""
    index = _index_path(path, index_folder)
    if kind == "gzip":
        return _open_gzip(path, index_file=str(index))
    stream = _open(path, kind)
    if kind == "bzip2":
        offsets = json.loads(index.read_text())
        stream.set_block_offsets({int(bits): size for bits, size in offsets.items()})  # type: ignore[attr-defined]
    return stream


def _open(path: str, kind: ArchiveKind) -> BinaryIO:
    if kind == "gzip":
        spacing = max(_MIN_SPACING_BYTES, _COMPRESSION_RATIO * os.stat(path).st_size // _MAX_POINTS)
        return _open_gzip(path, spacing=spacing)
    if kind == "bzip2":
        import rapidgzip  # here, because loading it takes every rank 20 ms

        return cast(BinaryIO, rapidgzip.IndexedBzip2File(os.fsencode(path), 1))
    if kind == "xz":
        # One open block: a decompressor of `xz -9` takes 64 MiB.
        return cast(BinaryIO, xz.XZFile(path, block_read_strategy=xz.RollingBlockReadStrategy(1)))
    return cast(BinaryIO, zstd.ZstdFile(path, options=ZSTD_OPTIONS))


def _open_gzip(path: str, **options: object) -> BinaryIO:
    # Without drop_handles=False, a path that is not UTF-8 is a segmentation fault.
    return cast(BinaryIO, indexed_gzip.IndexedGzipFile(path, drop_handles=False, **options))


def _write_index(stream: BinaryIO, kind: ArchiveKind, path: Path) -> None:
    try:
        if kind == "gzip":
            stream.build_full_index()  # type: ignore[attr-defined]
            stream.export_index(str(path))  # type: ignore[attr-defined]
        elif kind == "bzip2":
            atomic.write_text(path, json.dumps(stream.block_offsets()))  # type: ignore[attr-defined]
    except (OSError, indexed_gzip.ZranError) as error:
        raise PianogenError(
            f"{path}, the index of an archive, cannot be written ({cause(error)}); free some space and run the same command again"
        ) from error


class _ForwardReader:
    """The reading interface of tarfile. A seek reads what lies between, because only what is read is checked for damage."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._position = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        while self._position < position and self.read(min(position - self._position, _PART_BYTES)):
            pass
        return self._position

    def read_rest(self) -> int:
        """Reads to the end and returns the size of the stream in bytes."""
        while self.read(_PART_BYTES):
            pass
        return self._position


def _check_end(path: str, size: int) -> None:
    """Raises an error for a gzip file that ends before its checksum, which indexed_gzip reads without an error.

    Args:
        size: uncompressed size in bytes; a file of one gzip stream ends with this number modulo 2**32 (RFC 1952).
    """
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(4), "little") == size % (1 << 32):
            return
    with gzip.open(path) as stream:  # several streams or a damaged one; decompressing all of it raises the error
        while stream.read(_PART_BYTES):
            pass


def _index_path(path: str, index_folder: Path) -> Path:
    return index_folder / f"index-{zlib.crc32(path.encode('utf-8', 'surrogateescape')):08x}"
