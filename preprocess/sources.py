"""The inputs of a corpus: every MIDI file and score below the given folders, files and archives, in order of name."""

import ctypes
import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pianogen.errors import UsageError
from pianogen.midi.reader import MIDI_SUFFIXES, SCORE_SUFFIXES, is_input, is_score
from preprocess import archives
from preprocess.archives import Refusal, UnusualEnd, is_archive, list_members
from preprocess.inputs import GZIP, Input, Inputs
from preprocess.unread import FileKind, Unread, is_macos_metadata

_log = logging.getLogger(__name__)
_BUNDLED = "music21:"
_GZIPPED_SUFFIXES = sorted(suffix + GZIP for suffix in MIDI_SUFFIXES)
_UNUSUAL_ENDS = {
    UnusualEnd.NO_END: (
        FileKind.NO_END,
        "ends after a member, without the blocks of zeros that end a tar: it is read, as tar does, but may have been cut off; if "
        "members are missing, copy it again",
    ),
    UnusualEnd.MEMBERS_BEHIND_END: (
        FileKind.BEHIND_END,
        "contains members behind the end of a tar, as after cat: they are not read, as by tar; give each tar a file of its own",
    ),
}


def group_of(name: str) -> str:
    """The first folder below the corpus root, '' if there is none."""
    return name.partition("/")[0] if "/" in name else ""


def in_one_line(name: str) -> str:
    """A name for the terminal, with line breaks and other control characters escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def scan(corpora: Sequence[str], index_folder: Path | None, unread: Unread) -> Inputs:
    """All inputs of the corpora, in order of name.

    Args:
        corpora: folders, files, archives, or music21:NAME.
        index_folder: the folder to write archive indexes to, which is not part of a corpus; None writes none, and the inputs
            cannot be read.
        unread: counts the other files.

    Raises:
        UsageError: a corpus does not exist, is damaged or has no inputs, or two inputs have the same name.
    """
    inputs = Inputs(source for corpus in corpora for source in _scan_nonempty(corpus, index_folder, unread))
    if repeated := inputs.names.first_repeated():
        first, second = (inputs[index] for index in repeated)
        forms = "" if first.name == second.name else ", in two forms of Unicode"
        action = "rename one of them, or name their common parent folder as the corpus"
        if (first.name, first.path) == (second.name, second.path):
            action = "the corpus is named twice: name it once"
        raise UsageError(f"two inputs have the name {in_one_line(first.name)}{forms}: {first.path} and {second.path}; {action}")
    ctypes.CDLL(None).malloc_trim(0)  # the C library would keep the memory of the scan, 140 MB for two million inputs
    return inputs


def _scan_nonempty(corpus: str, index_folder: Path | None, unread: Unread) -> Iterator[Input]:
    """The inputs of one corpus, at least one."""
    others, is_empty = Unread(), True
    for source in _scan_corpus(corpus, index_folder, others):
        is_empty = False
        yield source
    unread.counts.update(others.counts)
    if is_empty:
        suffixes = " ".join(sorted(MIDI_SUFFIXES | SCORE_SUFFIXES))
        found = "; ".join(others.lines()) or "no files"
        raise UsageError(
            f"{corpus} has no inputs, which are files with the suffixes {suffixes}, or {' '.join(_GZIPPED_SUFFIXES)}, in "
            f"folders and archives ({' '.join(archives.SUFFIXES)}); found {found}; name another corpus"
        )


def _is_input(name: str) -> bool:
    """Whether a file with this name is an input; a compressed score is not one."""
    stem, suffix = os.path.splitext(name)
    return is_input(name) or (suffix.lower() == GZIP and is_input(stem) and not is_score(stem))


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
    not_followed = frozenset() if index_folder is None else frozenset({_identity(index_folder)})
    stack = [(folder, not_followed)]
    while stack:
        current, parents = stack.pop()
        identity = _identity(current)
        if identity in parents:
            continue
        with os.scandir(current) as entries:
            for entry in entries:
                if _is_folder(entry):
                    stack.append((entry.path, parents | {identity}))
                else:
                    yield from _scan_file(entry.path, entry.path[root_length:], index_folder, unread)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself or below a file; it is rejected with the reason when it is read
        return False


def _scan_file(path: str, relative_path: str, index_folder: Path | None, unread: Unread) -> Iterator[Input]:
    """The input that a file is, or the inputs of an archive."""
    if is_macos_metadata(relative_path):
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
    for member_name, size, member in list_members(
        path, index_folder, lambda unusual_end: _report_unusual_end(path, unusual_end, unread)
    ):
        name = os.fsdecode(member_name)
        if is_macos_metadata(name):
            unread.add(name, FileKind.MACOS)
        elif _is_input(name):
            if member.method == Refusal.ENCRYPTED:
                unread.add(name, FileKind.ENCRYPTED)
            yield Input(_escape(os.path.join(parent, name)), path, size, archive.mtime_ns, member)
        else:
            unread.add(name, FileKind.NESTED if is_archive(name) else None)


def _report_unusual_end(path: str, unusual_end: UnusualEnd, unread: Unread) -> None:
    kind, message = _UNUSUAL_ENDS[unusual_end]
    unread.add(path, kind)
    _log.warning("%s %s", in_one_line(path), message)


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
        raise UsageError("music21 is not installed; install this package with its requirements: pip install .")
    return Path(spec.origin).parent / "corpus"
