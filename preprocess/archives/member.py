"""The position of a member in its archive, and the reasons why a member cannot be read."""

from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Literal

ArchiveKind = Literal["zip", "tar", "gzip", "bzip2", "xz", "zstd"]


class Refusal(IntEnum):
    """Members that are listed and never read; negative, because zip compression methods are not."""

    ENCRYPTED = -1
    LINK = -2
    SPARSE = -3
    NOT_A_FILE = -4


class UnusualEnd(Enum):
    """An unusual end of a tar, which is read with a warning because members may be missing."""

    NO_END = auto()
    MEMBERS_BEHIND_END = auto()


REFUSAL_MESSAGES = {
    Refusal.ENCRYPTED: "the member is encrypted; pack the archive again without a password",
    Refusal.LINK: "the member is a link out of the archive, or to a file that the archive does not contain",
    Refusal.SPARSE: "the member is a sparse file; pack the archive again without --sparse",
    Refusal.NOT_A_FILE: "not a regular file",
}


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """The position of a member in its archive.

    Attributes:
        kind: "tar" is uncompressed; "gzip", "bzip2", "xz" and "zstd" are compressed tars.
        offset: byte offset of the local header of a zip member, or of the uncompressed data of a tar member.
        stored_size: compressed size in bytes.
        method: the zip compression method, 0 for a tar member, or a `Refusal`.
        crc: the CRC-32 of a zip member.
    """

    kind: ArchiveKind
    offset: int
    stored_size: int
    method: int = 0
    crc: int = 0
