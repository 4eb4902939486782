"""The files of a corpus that are not inputs, by kind and suffix, for the summary."""

import os.path
import re
from collections import Counter
from enum import StrEnum

from pianogen.command import counted
from pianogen.midi.reader import is_input
from preprocess.archives import is_archive

_MAX_SUFFIXES = 8
_ORDINARY_SUFFIX = re.compile(r"\.[a-z0-9_+-]{1,12}")


class FileKind(StrEnum):
    """Files that are not inputs, in the words and the order of the summary.

    Encrypted members are inputs, which are rejected, and archives with an unusual end are read.
    """

    NESTED = "archives in an archive, not opened"
    BEHIND_END = "archives with more members behind the end of a tar, not read"
    NO_END = "archives without the blocks that end a tar, perhaps cut off"
    ENCRYPTED = "encrypted members of archives, rejected"
    NOTATION = "scores and projects in formats that are not read"
    ARCHIVE = "archives in formats that are not read"
    COMPRESSED = "compressed files that are not read"
    AUDIO = "audio files"
    MACOS = "files of macOS (._*, __MACOSX)"
    OTHER = "other files"


# Formats that are common in corpora, by suffix.
_SUFFIXES = {
    FileKind.NOTATION: ".cap .capx .dorico .enc .ftm .gp .gp3 .gp4 .gp5 .gpx .gtp .ly .mei .mml .mscx .mscz .mus .musx .mxml"
    " .nwc .nwctxt .ove .pmw .ptb .rg .sib .tg .xmi .als .band .cpr .flp .logicx .ptx .rpp",
    FileKind.AUDIO: ".aac .aif .aiff .ape .flac .m4a .mp3 .ogg .opus .wav .wma",
    FileKind.ARCHIVE: ".7z .ace .ar .arj .cab .cpgz .cpio .dmg .iso .lha .lzh .rar .sit .sitx .taz .tbz .tlz .wim .xar .z01 .zipx"
    " .zoo",
    FileKind.COMPRESSED: ".br .bz2 .gz .lz .lz4 .lzma .lzo .xz .z .zst",
}
_KINDS = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}


class Unread:
    """Counts of files that are not inputs.

    Attributes:
        counts: the number of files by kind and suffix; the suffix is '' for a name without one.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[FileKind, str]] = Counter()

    def add(self, name: str, kind: FileKind | None = None) -> None:
        """Counts one file.

        Args:
            name: the path of the file.
            kind: None derives the kind from the suffix.
        """
        suffix = suffix_of(name)
        self.counts[kind or _KINDS.get(os.path.splitext(suffix)[1] or suffix, FileKind.OTHER), suffix] += 1

    def lines(self) -> list[str]:
        """One line per kind, with the most common suffixes."""
        by_kind: dict[FileKind, Counter[str]] = {}
        for (kind, suffix), count in self.counts.items():
            by_kind.setdefault(kind, Counter())[suffix] += count
        return [f"{kind}: {describe(by_kind[kind])}" for kind in FileKind if kind in by_kind]


def describe(suffixes: Counter[str]) -> str:
    """The counts of the most common suffixes, such as '13 (12 .txt, 1 without a suffix)'."""
    ordered = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count:,} {suffix or 'without a suffix'}" for suffix, count in ordered[:_MAX_SUFFIXES]]
    if rest := ordered[_MAX_SUFFIXES:]:
        parts.append(f"{sum(count for _, count in rest):,} with {counted(len(rest), 'other suffix')}")
    counts = ", ".join(parts)
    return counts if len(parts) == 1 else f"{suffixes.total():,} ({counts})"


def suffix_of(name: str) -> str:
    """The suffix in lower case, with the suffix of a compressed input or archive before it; '' for a name without one."""
    stem, suffix = os.path.splitext(name.lower())
    if not _ORDINARY_SUFFIX.fullmatch(suffix):
        return ""
    if _KINDS.get(suffix) is FileKind.COMPRESSED and (is_input(stem) or is_archive(name)):
        return os.path.splitext(stem)[1] + suffix
    return suffix


def is_macos_metadata(path: str) -> bool:
    """Whether macOS wrote the file beside the files of the user: AppleDouble files, and everything in a folder __MACOSX."""
    if "._" not in path and "__MACOSX" not in path:
        return False
    folder, _, name = path.rpartition("/")
    return name.startswith("._") or "__MACOSX" in folder.split("/")
