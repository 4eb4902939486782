"""Members of .zip archives."""

import bz2
import io
import lzma
import stat
import struct
import sys
import zipfile
import zlib

from pianogen.midi.reader import MAX_BYTES
from pianogen.midi.rejection import Reason, Rejection
from pianogen.zip_names import member_name, open_zip
from preprocess.archives.member import Member, Refusal
from preprocess.archives.streams import ZSTD_OPTIONS
from preprocess.archives.tree import Tree

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, skipped fields, lengths of name and extra field
_ENCRYPTED = 0x1
_UNIX = 3  # value of create_system
_MAX_TARGET_BYTES = 4_096  # PATH_MAX of Linux
_LZMA_HEADER = struct.Struct("<2xH")  # version of the LZMA SDK, size of the properties
_ZSTD = 93
_MAX_NUMBER = (1 << 63) - 1  # zip64 has numbers up to twice as large: damage, because no file is so large
# Method numbers of APPNOTE.TXT 4.4.5 that are not read.
_UNREAD_METHODS = {
    1: "shrunk",
    6: "imploded",
    9: "deflate64",
    10: "PKWARE imploded",
    95: "xz",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}


def list_zip(path: str) -> Tree:
    """The files of a .zip archive."""
    tree = Tree("zip")
    with open(path, "rb") as file, open_zip(file) as archive:
        for info in archive.infolist():
            name = member_name(info)
            if name.endswith(b"/"):
                continue
            method = Refusal.ENCRYPTED if info.flag_bits & _ENCRYPTED else info.compress_type
            offset, stored_size, size = (
                min(number, _MAX_NUMBER) for number in (info.header_offset, info.compress_size, info.file_size)
            )
            member = Member("zip", offset, stored_size, method, info.CRC)
            if info.create_system == _UNIX and stat.S_ISLNK(info.external_attr >> 16) and method != Refusal.ENCRYPTED:
                tree.add_symbolic_link(name, _link_target(path, member, size))
            else:
                tree.add_file(name, size, member)
    return tree


def read_zip(path: str, member: Member, size: int) -> bytes:
    """The uncompressed bytes of a member.

    Raises:
        Rejection: the compression method is not supported, or the member differs from the archive's directory.
    """
    with open(path, "rb") as file:
        file.seek(member.offset)
        signature, name_size, extra_size = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        file.seek(name_size + extra_size, io.SEEK_CUR)
        stored = file.read(min(member.stored_size, 2 * MAX_BYTES))
    data = _decompress(stored, member.method, size)
    if signature != b"PK\x03\x04" or len(data) != size or zlib.crc32(data) != member.crc:
        raise Rejection(Reason.UNREADABLE, "size or checksum of the member differ from the archive's directory")
    return data


def _decompress(stored: bytes, method: int, size: int) -> bytes:
    """At most one byte more than the declared size, which shows that the declared size is wrong."""
    if method == zipfile.ZIP_STORED:
        return stored
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, size + 1)
    if method == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(stored, size + 1)
    if method == zipfile.ZIP_LZMA:
        # The properties, the size and the data are the format .lzma (APPNOTE.TXT 5.8.8).
        (properties_size,) = _LZMA_HEADER.unpack_from(stored)
        begin = _LZMA_HEADER.size + properties_size
        header = stored[_LZMA_HEADER.size : begin] + size.to_bytes(8, "little")
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(header + stored[begin:], size + 1)
    if method == _ZSTD:
        return zstd.ZstdDecompressor(options=ZSTD_OPTIONS).decompress(stored, size + 1)
    name = _UNREAD_METHODS.get(method, "unknown")
    raise Rejection(
        Reason.UNREADABLE,
        f"zip compression method {name} ({method}), expected stored, deflated, bzip2, lzma or zstd; pack the archive again",
    )


def _link_target(path: str, member: Member, size: int) -> bytes:
    """The target of a symbolic link, or for a damaged link a path out of the archive."""
    try:
        return read_zip(path, member, min(size, _MAX_TARGET_BYTES))
    except Rejection:
        return b".."
