"""The inputs of a corpus: every MIDI file and score below the given folders, files and archives, in order of name."""

import importlib.util
import io
import os
import stat
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from gzip import GzipFile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from pianogen.errors import UsageError
from pianogen.midi.reader import MAX_BYTES, MIDI_SUFFIXES, SCORE_SUFFIXES, is_input, is_score, too_large
from pianogen.midi.rejection import Reason, Rejection
from preprocess import archives
from preprocess.archives import Member, Refusal, is_archive, list_members, read_member, seek_member
from preprocess.unread import FileKind, Unread, is_litter

_BUNDLED = "music21:"
_GZIP = ".gz"
_GZIPPED_SUFFIXES = sorted(suffix + _GZIP for suffix in MIDI_SUFFIXES)


class Input(NamedTuple):
    """A file, or a member of an archive, that is converted to one piece or rejected.

    Attributes:
        name: path below the corpus root, with '/'; invalid bytes as \\xNN, a backslash doubled.
        path: the file, or the archive that contains the member.
        size: bytes, -1 if the file system does not tell; the compressed size of a .mid.gz.
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

    def seek(self, index_folder: Path) -> None:
        """Moves to the input in its archive; what lies before it costs time that is not due to this input."""
        if self.member is not None:
            seek_member(self.path, self.member, index_folder)

    def read(self, index_folder: Path) -> bytes:
        """The bytes of the input, uncompressed.

        Args:
            index_folder: the folder of the archive indexes.

        Raises:
            Rejection: the input cannot be read, is not a regular file, or is larger than 16,777,216 bytes.
        """
        if self.size > MAX_BYTES:
            raise too_large(self.size)
        try:
            if self.member is not None:
                data = read_member(self.path, self.member, self.size, index_folder)
            else:
                data = _read_file(self.path)
        except OSError as error:
            raise Rejection(Reason.UNREADABLE, error.strerror or str(error)) from error
        return _gunzip(data) if self.name.lower().endswith(_GZIP) else data


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


def _gunzip(data: bytes) -> bytes:
    with GzipFile(fileobj=io.BytesIO(data)) as stream:
        try:
            content = stream.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Rejection(Reason.UNREADABLE, f"the gzip data is damaged: {error}") from error
    if len(content) > MAX_BYTES:
        raise Rejection(Reason.TOO_LARGE, f"more than {MAX_BYTES:,} bytes, uncompressed")
    return content


def group_of(name: str) -> str:
    """The first folder below the corpus root, '' if there is none."""
    return name.partition("/")[0] if "/" in name else ""


def comparable(name: str) -> str:
    """The form in which names are compared, Unicode NFC: macOS and Linux encode one name differently."""
    return unicodedata.normalize("NFC", name)


def in_one_line(name: str) -> str:
    """A name for the terminal, with line breaks and other control characters escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def scan(corpora: Sequence[str], index_folder: Path | None, unread: Unread) -> list[Input]:
    """All inputs of the corpora, in order of name.

    Args:
        corpora: folders, files, archives, or music21:NAME.
        index_folder: the folder to write archive indexes to; None writes none, and the inputs cannot be read.
        unread: counts the other files.

    Raises:
        UsageError: a corpus does not exist, is damaged or has no inputs, or two inputs have the same name.
    """
    inputs: list[Input] = []
    for corpus in corpora:
        others = Unread()
        inputs_of_corpus = list(_scan_corpus(corpus, index_folder, others))
        if not inputs_of_corpus:
            suffixes = " ".join(sorted(MIDI_SUFFIXES | SCORE_SUFFIXES))
            found = "; ".join(others.lines()) or "no files"
            raise UsageError(
                f"{corpus} has no inputs, which are files with the suffixes {suffixes}, or {' '.join(_GZIPPED_SUFFIXES)}, in "
                f"folders and archives ({' '.join(archives.SUFFIXES)}); found {found}; name another corpus"
            )
        inputs += inputs_of_corpus
        unread.counts.update(others.counts)
    inputs.sort(key=lambda source: source.name)
    for first, second in pairwise(sorted(inputs, key=lambda source: comparable(source.name))):
        if comparable(first.name) == comparable(second.name):
            raise UsageError(
                f"two inputs have the name {in_one_line(first.name)}: {first.path} and {second.path}; "
                "rename one of them, or name their common parent folder as the corpus"
            )
    return inputs


def _is_input(name: str) -> bool:
    """Whether a file with this name is an input; a compressed score is none."""
    stem, suffix = os.path.splitext(name)
    return is_input(name) or (suffix.lower() == _GZIP and is_input(stem) and not is_score(stem))


def _scan_corpus(corpus: str, index_folder: Path | None, unread: Unread) -> Iterator[Input]:
    if corpus.startswith(_BUNDLED):
        root, name = _bundled_corpus(), corpus.removeprefix(_BUNDLED)
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("_"))
        if name not in names:
            raise UsageError(f"music21 has no corpus {name!r}; valid names: {', '.join(names)}")
        yield from _scan_folder(str(root / name), str(root), index_folder, unread)
    elif os.path.isdir(corpus):
        yield from _scan_folder(corpus, corpus, index_folder, unread)
    elif not os.path.exists(corpus):
        raise UsageError(f"{corpus} does not exist; name a folder, a file, an archive, or music21:NAME")
    elif is_archive(corpus):
        yield from _scan_archive(corpus, "", index_folder, unread)
    else:
        yield from _scan_file(corpus, os.path.basename(corpus), index_folder, unread)


def _scan_folder(folder: str, root: str, index_folder: Path | None, unread: Unread) -> Iterator[Input]:
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
                else:
                    yield from _scan_file(entry.path, entry.path[root_length:], index_folder, unread)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself or below a file; it is rejected with the reason when it is read
        return False


def _scan_file(path: str, relative_path: str, index_folder: Path | None, unread: Unread) -> Iterator[Input]:
    """The input that a file is, or the inputs of an archive."""
    if is_litter(relative_path):
        unread.add(relative_path, FileKind.MACOS)
    elif _is_input(path):
        yield _make_input(path, relative_path)
    elif is_archive(path):
        yield from _scan_archive(path, relative_path, index_folder, unread)
    else:
        unread.add(relative_path)


def _scan_archive(path: str, parent: str, index_folder: Path | None, unread: Unread) -> Iterator[Input]:
    """The inputs of an archive, with the names of files in a folder `parent`."""
    archive = _make_input(path, parent)
    for member_name, size, member in list_members(path, index_folder):
        name = os.fsdecode(member_name)
        if is_litter(name):
            unread.add(name, FileKind.MACOS)
        elif _is_input(name):
            if member.method == Refusal.ENCRYPTED:
                unread.add(name, FileKind.ENCRYPTED)
            yield Input(_escape(os.path.join(parent, name)), path, size, archive.mtime_ns, member)
        else:
            unread.add(name, FileKind.NESTED if is_archive(name) else None)


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
