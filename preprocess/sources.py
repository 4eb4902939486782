"""The inputs of a corpus: every MIDI file and score below the given folders, files and archives, in order of name."""

import importlib.util
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from pianogen.errors import UsageError
from pianogen.midi.reader import MAX_BYTES, MIDI_SUFFIXES, SCORE_SUFFIXES, is_input, too_large
from pianogen.midi.rejection import Reason, Rejection
from preprocess.archives import Member, is_archive, list_members, read_member

_BUNDLED = "music21:"


class Input(NamedTuple):
    """A file, or a member of an archive, that is converted to one piece or rejected.

    Attributes:
        name: path below the corpus root, with '/'; invalid bytes as \\xNN, a backslash doubled.
        path: the file, or the archive that contains the member.
        size: bytes, -1 if the file system does not tell.
        mtime_ns: modification time of the file or archive; name, size and time identify a version of the input.
        member: the position in the archive, None for a file.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    member: Member | None = None

    @property
    def reading_order(self) -> tuple[str, int, str]:
        """A sort key: members of an archive are sorted by position, and files by name."""
        return ("", 0, self.name) if self.member is None else (self.path, self.member.offset, self.name)

    def read(self, index_folder: Path) -> bytes:
        """The bytes of the input.

        Args:
            index_folder: the folder of the archive indexes.

        Raises:
            Rejection: the input cannot be read, is not a regular file, or is larger than 16,777,216 bytes.
        """
        if self.size > MAX_BYTES:
            raise too_large(self.size)
        try:
            if self.member is not None:
                return read_member(self.path, self.member, self.size, index_folder)
            return _read_file(self.path)
        except OSError as error:
            raise Rejection(Reason.UNREADABLE, error.strerror or str(error)) from error


def _read_file(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # O_NONBLOCK: opening a FIFO would block until it has a writer
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Rejection(Reason.UNREADABLE, "not a regular file")
        if status.st_size > MAX_BYTES:
            raise too_large(status.st_size)
        parts = []
        while part := os.read(handle, MAX_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def group_of(name: str) -> str:
    """The first folder below the corpus root, '' if there is none."""
    return name.partition("/")[0] if "/" in name else ""


def scan(corpora: Sequence[str], index_folder: Path) -> list[Input]:
    """All inputs of the corpora, in order of name.

    Args:
        corpora: folders, files, archives, or music21:NAME.
        index_folder: the folder to write archive indexes to.

    Raises:
        UsageError: a corpus does not exist, is damaged or has no inputs, or two inputs have the same name.
    """
    inputs: list[Input] = []
    for corpus in corpora:
        inputs_of_corpus = list(_scan_corpus(corpus, index_folder))
        if not inputs_of_corpus:
            suffixes = " ".join(sorted(MIDI_SUFFIXES | SCORE_SUFFIXES))
            raise UsageError(f"{corpus} has no inputs, which are files with the suffixes {suffixes}; name another corpus")
        inputs += inputs_of_corpus
    inputs.sort(key=lambda source: source.name)
    for first, second in pairwise(inputs):
        if first.name == second.name:
            raise UsageError(
                f"two inputs have the name {first.name}: {first.path} and {second.path}; "
                "rename one of them, or name their common parent folder as the corpus"
            )
    return inputs


def _scan_corpus(corpus: str, index_folder: Path) -> Iterator[Input]:
    if corpus.startswith(_BUNDLED):
        root, name = _bundled_corpus(), corpus.removeprefix(_BUNDLED)
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("_"))
        if name not in names:
            raise UsageError(f"music21 has no corpus {name!r}; valid names: {', '.join(names)}")
        yield from _scan_folder(str(root / name), str(root), index_folder)
    elif os.path.isdir(corpus):
        yield from _scan_folder(corpus, corpus, index_folder)
    elif not os.path.exists(corpus):
        raise UsageError(f"{corpus} does not exist; name a folder, a file, an archive, or music21:NAME")
    elif is_archive(corpus):
        yield from _scan_archive(corpus, "", index_folder)
    elif is_input(corpus):
        yield _make_input(corpus, os.path.basename(corpus))


def _scan_folder(folder: str, root: str, index_folder: Path) -> Iterator[Input]:
    """The inputs below a folder. Links to folders are followed, except a link to a folder that contains the link."""
    root_length = len(os.path.join(root, ""))
    stack: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while stack:
        current, parents = stack.pop()
        status = os.stat(current)
        identity = (status.st_dev, status.st_ino)
        if identity in parents:
            continue
        with os.scandir(current) as entries:
            for entry in entries:
                if _is_folder(entry):
                    stack.append((entry.path, parents | {identity}))
                elif is_input(entry.name):
                    yield _make_input(entry.path, entry.path[root_length:])
                elif is_archive(entry.name):
                    yield from _scan_archive(entry.path, entry.path[root_length:], index_folder)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself or below a file; it is rejected with the reason when it is read
        return False


def _scan_archive(path: str, parent: str, index_folder: Path) -> Iterator[Input]:
    """The inputs of an archive, with the names of files in a folder `parent`."""
    mtime_ns = os.stat(path).st_mtime_ns
    for member_name, size, member in list_members(path, index_folder):
        name = os.fsdecode(member_name)
        if is_input(name):
            yield Input(_escape(os.path.join(parent, name)), path, size, mtime_ns, member)


def _make_input(path: str, relative_path: str) -> Input:
    try:
        status = os.stat(path)
    except OSError:  # a dangling link; it is rejected with the reason when it is read
        return Input(_escape(relative_path), path, -1, 0)
    return Input(_escape(relative_path), path, status.st_size, status.st_mtime_ns)


def _escape(relative_path: str) -> str:
    """The name of an input: the path with its invalid bytes, which Python represents as surrogates, as \\xNN."""
    if relative_path.isascii() and "\\" not in relative_path:
        return relative_path
    return os.fsencode(relative_path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _bundled_corpus() -> Path:
    spec = importlib.util.find_spec("music21")
    if spec is None or spec.origin is None:
        raise UsageError("music21 is not installed; install this package with its requirements")
    return Path(spec.origin).parent / "corpus"
