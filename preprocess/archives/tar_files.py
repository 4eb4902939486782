"""Members of .tar archives."""

import tarfile
from typing import BinaryIO, Self

from preprocess.archives.member import ArchiveKind, Member, Refusal, UnusualEnd
from preprocess.archives.tree import Tree

_MAX_PADDING_BLOCKS = 2_048  # `tar -b` with 1 MiB; the default of tar is 20


class _Archive(tarfile.TarFile):
    """An archive that has its end until the file ends without one."""

    has_end = True


class _Header(tarfile.TarInfo):
    """The header of a member. What makes tarfile end silently or loop endlessly is an error, except a missing end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end of the archive
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]  # the end of the file
            archive.has_end = False  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"neither a member nor the end of the archive: {error}") from error

    def _block(self, count: int) -> int:
        if count < 0:  # CVE-2025-8194
            raise tarfile.ReadError(f"a member has {count} bytes")
        return -(-count // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def list_tar(stream: BinaryIO, kind: ArchiveKind) -> Tree:
    """The files of a tar archive.

    Args:
        stream: the uncompressed archive; it is only read forward. As with tar, it may end after a member, without the two blocks
            of zeros that show that it is complete.
    """
    tree = Tree(kind)
    with _Archive.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape", tarinfo=_Header) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header in memory
            _add(tree, info, kind)
        if not archive.has_end:
            tree.unusual_end = UnusualEnd.NO_END
        elif _has_member(stream):
            tree.unusual_end = UnusualEnd.MEMBERS_BEHIND_END
    return tree


def _has_member(stream: BinaryIO) -> bool:
    """Whether another archive follows the padding at the end of an archive, as after `cat`."""
    for _ in range(_MAX_PADDING_BLOCKS):
        block = stream.read(tarfile.BLOCKSIZE)
        if block.strip(b"\0"):
            try:
                tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                return False
            return True
    return False


def _add(tree: Tree, info: tarfile.TarInfo, kind: ArchiveKind) -> None:
    name, target = (text.encode("utf-8", "surrogateescape") for text in (info.name, info.linkname))
    if info.issym():
        tree.add_symbolic_link(name, target)
    elif info.islnk():
        tree.add_hard_link(name, target)
    elif info.isfile():
        refusal = Refusal.SPARSE if info.issparse() else 0
        tree.add_file(name, 0 if refusal else info.size, Member(kind, info.offset_data, info.size, refusal))
    elif info.isdir():
        tree.add_folder(name)
    else:
        tree.add_file(name, 0, Member(kind, info.offset_data, 0, Refusal.NOT_A_FILE))
