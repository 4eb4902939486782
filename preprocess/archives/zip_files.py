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
from preprocess.archives.member import Member, Refusal
from preprocess.archives.tree import Tree

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, skipped fields, lengths of name and extra field
_UNICODE_PATH = struct.Struct("<HHBI")  # kind and size of the extra field, version, CRC-32 of the other name
_EXTRA_HEADER_BYTES = 4
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_WINDOWS, _UNIX = (0, 10, 14), 3  # values of create_system: MS-DOS, NTFS and VFAT, where a backslash separates folders
_MAX_TARGET_BYTES = 4_096  # PATH_MAX of Linux
_LZMA_HEADER = struct.Struct("<2xH")  # version of the LZMA SDK, size of the properties
_ZSTD = 93
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
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _name(info)
            if name.endswith(b"/"):
                continue
            method = Refusal.ENCRYPTED if info.flag_bits & _ENCRYPTED else info.compress_type
            member = Member("zip", info.header_offset, info.compress_size, method, info.CRC)
            if info.create_system == _UNIX and stat.S_ISLNK(info.external_attr >> 16) and method != Refusal.ENCRYPTED:
                tree.add_symbolic_link(name, _link_target(path, member, info.file_size))
            else:
                tree.add_file(name, info.file_size, member)
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
        return zstd.ZstdDecompressor().decompress(stored, size + 1)
    name = _UNREAD_METHODS.get(method, "unknown")
    raise Rejection(
        Reason.UNREADABLE,
        f"zip compression method {name} ({method}), expected stored, deflated, bzip2, lzma or zstd; pack the archive again",
    )


def _name(info: zipfile.ZipInfo) -> bytes:
    # A name without the UTF-8 flag has an unknown encoding, and Python decodes it as code page 437.
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437", "surrogateescape")
    name = _unicode_path(info.extra, zlib.crc32(name)) or name
    # The rule of unzip and libarchive for MS-DOS, which Java writes too, on Linux and with a slash between folders.
    if info.create_system in _WINDOWS and b"/" not in name:
        return name.replace(b"\\", b"/")
    return name


def _unicode_path(extra: bytes, name_crc: int) -> bytes | None:
    """The name in UTF-8 that some programs write beside a name in another encoding (APPNOTE.TXT 4.6.9)."""
    while len(extra) >= _UNICODE_PATH.size:
        kind, num_bytes, version, crc = _UNICODE_PATH.unpack_from(extra)
        end = _EXTRA_HEADER_BYTES + num_bytes
        if (kind, version, crc) == (0x7075, 1, name_crc):
            return extra[_UNICODE_PATH.size : end]
        extra = extra[end:]
    return None


def _link_target(path: str, member: Member, size: int) -> bytes:
    """The target of a symbolic link, or for a damaged link a path out of the archive."""
    try:
        return read_zip(path, member, min(size, _MAX_TARGET_BYTES))
    except Rejection:
        return b".."
