"""Where the music comes from: the inputs of a corpus, by name."""

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
    """One file, or member of an archive, that may become a piece.

    Attributes:
        name: path below the corpus root, with '/'; invalid bytes as \\xNN, a backslash doubled.
        path: the file it is read from.
        size: bytes; -1 where the file system does not tell.
        mtime_ns: last change of that file; with name and size it tells one state of a corpus from another.
        member: where it lies in an archive.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    member: Member | None = None

    @property
    def reading_order(self) -> tuple[str, int, str]:
        """Members of one archive in the order they lie in it, everything else by name."""
        return ("", 0, self.name) if self.member is None else (self.path, self.member.offset, self.name)

    def read(self, folder: Path) -> bytes:
        """The bytes of the input.

        Args:
            folder: where the indexes of archives are.

        Raises:
            Rejection: it cannot be read, is no regular file, or is larger than 16,777,216 bytes.
        """
        if self.size > MAX_BYTES:
            raise too_large(self.size)
        try:
            if self.member is not None:
                return read_member(self.path, self.member, self.size, folder)
            return _read_file(self.path)
        except OSError as error:
            raise Rejection(Reason.UNREADABLE, error.strerror or str(error)) from error


def _read_file(path: str) -> bytes:
    # O_NONBLOCK: opening a fifo would wait for a writer for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
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


def scan(corpora: Sequence[str], folder: Path) -> list[Input]:
    """Every input of the corpora, in order of name.

    Args:
        corpora: folders, single files, archives, or music21:NAME.
        folder: where the indexes of archives are kept.

    Raises:
        UsageError: one does not exist, is damaged or holds no input, or two inputs have one name.
    """
    inputs: list[Input] = []
    for corpus in corpora:
        found = list(_inputs_of(corpus, folder))
        if not found:
            suffixes = " ".join(sorted(MIDI_SUFFIXES | SCORE_SUFFIXES))
            raise UsageError(f"{corpus} holds no input: no file below it ends in {suffixes}")
        inputs += found
    inputs.sort(key=lambda each: each.name)
    for first, second in pairwise(inputs):
        if first.name == second.name:
            raise UsageError(
                f"two inputs are named {first.name}: {first.path} and {second.path}; "
                "rename one, or name the folder above both corpora as the one corpus"
            )
    return inputs


def _inputs_of(corpus: str, indexes: Path) -> Iterator[Input]:
    if corpus.startswith(_BUNDLED):
        root, name = _bundled_corpus(), corpus.removeprefix(_BUNDLED)
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("_"))
        if name not in names:
            raise UsageError(f"{corpus} is not bundled with music21; there are: {', '.join(names)}")
        yield from _walk(str(root / name), str(root), indexes)
        return
    if os.path.isdir(corpus):
        yield from _walk(corpus, corpus, indexes)
    elif os.path.exists(corpus):
        if is_archive(corpus):
            yield from _members("", corpus, indexes)
        elif is_input(corpus):
            yield _input(os.path.basename(corpus), corpus)
    else:
        raise UsageError(f"{corpus} does not exist; name a folder, a file, an archive, or music21:NAME")


def _walk(folder: str, root: str, indexes: Path) -> Iterator[Input]:
    """Inputs below a folder; links to folders are followed, but none that leads back to a folder above itself."""
    below_root = len(os.path.join(root, ""))
    stack: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while stack:
        here, above = stack.pop()
        status = os.stat(here)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        with os.scandir(here) as entries:
            for entry in entries:
                if _is_folder(entry):
                    stack.append((entry.path, above | {identity}))
                elif is_input(entry.name):
                    yield _input(entry.path[below_root:], entry.path)
                elif is_archive(entry.name):
                    yield from _members(entry.path[below_root:], entry.path, indexes)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or below a file: not a folder, and reading it will tell the cause
        return False


def _members(below: str, path: str, indexes: Path) -> Iterator[Input]:
    """The inputs in an archive, as if it were a folder."""
    mtime_ns = os.stat(path).st_mtime_ns
    for member_name, size, member in list_members(path, indexes):
        name = os.fsdecode(member_name)
        if is_input(name):
            yield Input(_name(os.path.join(below, name)), path, size, mtime_ns, member)


def _input(relative: str, path: str) -> Input:
    try:
        status = os.stat(path)
    except OSError:  # a link to nowhere: an input all the same, which reading it will refuse with the cause
        return Input(_name(relative), path, -1, 0)
    return Input(_name(relative), path, status.st_size, status.st_mtime_ns)


def _name(relative: str) -> str:
    """The name of a path, whose invalid bytes Python holds as surrogates."""
    if relative.isascii() and "\\" not in relative:
        return relative
    return os.fsencode(relative).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _bundled_corpus() -> Path:
    spec = importlib.util.find_spec("music21")
    if spec is None or spec.origin is None:
        raise UsageError("music21 is not installed; install this package with its requirements")
    return Path(spec.origin).parent / "corpus"
