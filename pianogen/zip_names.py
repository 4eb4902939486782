"""The names of the members of zip archives, in the encodings that programs write, and the errors of damaged archives."""

import lzma
import zipfile
import zlib
from struct import Struct
from typing import BinaryIO

# What zipfile raises for a damaged archive.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
_ENTRY = Struct("<28xHHH12x")  # of the directory: the lengths of name, extra field and comment
_ENTRY_SIGNATURE, _ENTRY_FLAGS_AT = b"PK\1\2", 9  # the upper byte of the flags
_HEADER_SIGNATURE, _HEADER_FLAGS_AT, _HEADER_BYTES = b"PK\3\4", 7, 30  # of a member, without its name
_UNICODE_PATH = Struct("<HHBI")  # kind and size of the extra field, version, CRC-32 of the other name
_EXTRA_HEADER_BYTES = 4
_UTF8_NAME = 0x800
_UTF8_NAME_BYTE = _UTF8_NAME >> 8
_WINDOWS = (0, 10, 14)  # values of create_system: MS-DOS, NTFS and VFAT, where a backslash separates folders


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """A zip archive; unlike `zipfile.ZipFile`, a name that is wrongly declared as UTF-8 does not make it unreadable.

    Args:
        file: is not closed with the archive.
    """
    try:
        return zipfile.ZipFile(file)
    except UnicodeDecodeError:
        file.seek(0)
        return zipfile.ZipFile(_NamesWithoutEncoding(file))


def member_name(info: zipfile.ZipInfo) -> bytes:
    """The name of a member, with slashes between folders, as a file system would have it after extraction."""
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


class _NamesWithoutEncoding:
    """A zip file that declares no name as UTF-8: Python then keeps all bytes of the names, as code page 437."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._is_directory_read = False
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """The next bytes; `zipfile` reads the directory at once, before all members, and the header of a member alone."""
        data = self._file.read(size)
        if data.startswith(_HEADER_SIGNATURE) and len(data) == _HEADER_BYTES:
            return data[:_HEADER_FLAGS_AT] + bytes([data[_HEADER_FLAGS_AT] & ~_UTF8_NAME_BYTE]) + data[_HEADER_FLAGS_AT + 1 :]
        if data.startswith(_ENTRY_SIGNATURE) and not self._is_directory_read:
            self._is_directory_read = True
            return _without_utf8_flags(data)
        return data


def _without_utf8_flags(directory: bytes) -> bytes:
    changed = bytearray(directory)
    at = 0
    while changed.startswith(_ENTRY_SIGNATURE, at) and at + _ENTRY.size <= len(changed):
        changed[at + _ENTRY_FLAGS_AT] &= ~_UTF8_NAME_BYTE
        at += _ENTRY.size + sum(_ENTRY.unpack_from(changed, at))
    return bytes(changed)
