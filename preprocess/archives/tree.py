"""The files of an archive as a file system would show them after all members are extracted in order."""

from collections.abc import Iterator

from preprocess.archives.member import ArchiveKind, Member, Refusal, UnusualEnd

_MAX_LINKS = 40  # the limit of Linux
# A chain of folders that contain two links to the next folder would show 2**n files.
_MAX_VISITS_PER_MEMBER = 64


class TreeError(Exception):
    """The links of an archive show too many files."""


class Tree:
    """Members by path. Of two members with one path the last counts, as with tar and unzip.

    Symbolic links are followed as in a folder: to files and folders, except a link to a folder that contains the link. A member
    below a link is in the folder that the link leads to.

    Args:
        kind: the kind of the archive.

    Attributes:
        unusual_end: set if the archive may contain more files.
    """

    def __init__(self, kind: ArchiveKind) -> None:
        self._unresolved = Member(kind, 0, 0, Refusal.LINK)
        self._entries: dict[bytes, tuple[int, Member] | bytes] = {}  # size and position of a file, or the target of a link
        self._has_links = False
        self.unusual_end: UnusualEnd | None = None

    def add_file(self, name: bytes, size: int, member: Member) -> None:
        """Adds a file of this uncompressed size."""
        self._entries[self._place(name)] = size, member

    def add_folder(self, name: bytes) -> None:
        """Adds a folder, which replaces a file or a link."""
        self._entries.pop(self._place(name), None)

    def add_symbolic_link(self, name: bytes, target: bytes) -> None:
        """Adds a link; its target is resolved when all members are known."""
        self._entries[self._place(name)] = target
        self._has_links = True

    def add_hard_link(self, name: bytes, target: bytes) -> None:
        """Adds another name of a member that was added before."""
        self._entries[self._place(name)] = self._entries.get(self._place(target), (0, self._unresolved))

    def _place(self, name: bytes) -> bytes:
        """The path of a member in its folder, which an earlier link may lead to."""
        path = relative_path(name)
        if not self._has_links:
            return path
        folder, _, last = path.rpartition(b"/")
        real = self._resolve(folder)
        return path if real is None else _join(real, last)

    def files(self) -> Iterator[tuple[bytes, int, Member]]:
        """The path, uncompressed size and position of every file.

        Raises:
            TreeError: the links show each member more than 64 times.
        """
        if self._has_links:
            yield from self._follow_links()
        else:
            for path, entry in self._entries.items():
                if path and isinstance(entry, tuple):
                    yield path, *entry

    def _follow_links(self) -> Iterator[tuple[bytes, int, Member]]:
        children = self._children()
        for folder in children:
            if isinstance(self._entries.get(folder), bytes):
                del self._entries[folder]  # a link that would hide members: it comes after them, or leads out of the archive
        num_visits = 0
        stack: list[tuple[bytes, bytes, frozenset[bytes]]] = [(b"", b"", frozenset())]
        while stack:
            folder, shown_folder, parents = stack.pop()
            parents |= {folder}
            for name in children[folder]:
                num_visits += 1
                if num_visits > _MAX_VISITS_PER_MEMBER * len(self._entries):
                    raise TreeError(f"its links show each member more than {_MAX_VISITS_PER_MEMBER} times")
                path, shown = _join(folder, name), _join(shown_folder, name)
                real = self._resolve(path)
                entry = None if real is None else self._entries.get(real)
                if isinstance(entry, tuple):
                    yield shown, *entry
                if real is None or (entry is None and real not in children):
                    yield shown, 0, self._unresolved
                elif real in children and real not in parents:
                    stack.append((real, shown, parents))

    def _children(self) -> dict[bytes, dict[bytes, None]]:
        """The names in every folder."""
        children: dict[bytes, dict[bytes, None]] = {b"": {}}
        for path in filter(None, self._entries):
            while path:
                folder, _, name = path.rpartition(b"/")
                is_known = folder in children
                children.setdefault(folder, {})[name] = None
                if is_known:
                    break
                path = folder
        return children

    def _resolve(self, path: bytes) -> bytes | None:
        """The path without links, None if a link leads out of the archive or in a circle (path_resolution(7))."""
        pending = path.split(b"/")[::-1]
        resolved: list[bytes] = []
        num_links = 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if not resolved:
                    return None
                resolved.pop()
                continue
            resolved.append(part)
            target = self._entries.get(b"/".join(resolved))
            if isinstance(target, bytes):
                num_links += 1
                if target.startswith(b"/") or num_links > _MAX_LINKS:
                    return None
                resolved.pop()
                pending += target.split(b"/")[::-1]
        return b"/".join(resolved)


def relative_path(name: bytes) -> bytes:
    """The path of a member below the archive's root, up to a NUL byte; it is used as a name and never opened."""
    return b"/".join(part for part in name.partition(b"\0")[0].split(b"/") if part not in (b"", b".", b".."))


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
