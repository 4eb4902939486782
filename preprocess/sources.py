"""Where the music comes from: the inputs of a corpus, by name."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pianogen.errors import UsageError
from pianogen.midi_in import MAX_BYTES, MIDI_SUFFIXES, SCORE_SUFFIXES, is_input, too_large
from pianogen.rejection import Reason, Rejection

_BUNDLED = "music21:"


@dataclass(frozen=True, slots=True, order=True)
class Input:
    """One file that may become a piece.

    Attributes:
        name: path below the corpus root, with '/'; invalid bytes as \\xNN, a backslash doubled.
        path: where it is read from.
        size: bytes, as the file system tells; -1 where it does not.
        mtime_ns: last change; with name and size it tells one state of a corpus from another.
    """

    name: str
    path: str
    size: int
    mtime_ns: int

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            Rejection: it cannot be read, is no regular file, or is larger than 16,777,216 bytes.
        """
        try:
            # A fifo would block for ever, so what the name stands for is asked before it is opened.
            if not Path(self.path).is_file():
                raise Rejection(Reason.UNREADABLE, "not a regular file")
            with Path(self.path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise too_large(Path(self.path).stat().st_size)
            return data
        except OSError as error:
            raise Rejection(Reason.UNREADABLE, f"{error.strerror}") from error


def group_of(name: str) -> str:
    """The first folder below the corpus root, '' if there is none."""
    return name.partition("/")[0] if "/" in name else ""


def scan(corpora: Sequence[str]) -> list[Input]:
    """Every input of the corpora, in order of name.

    Args:
        corpora: folders, single files, or music21:NAME.

    Raises:
        UsageError: one does not exist or holds no input, or two inputs have one name.
    """
    inputs: list[Input] = []
    for corpus in corpora:
        found = list(_inputs_of(corpus))
        if not found:
            suffixes = " ".join(sorted(MIDI_SUFFIXES | SCORE_SUFFIXES))
            raise UsageError(f"{corpus} holds no input: no file below it ends in {suffixes}")
        inputs += found
    inputs.sort()
    for first, second in pairwise(inputs):
        if first.name == second.name:
            raise UsageError(
                f"two inputs are named {first.name}: {first.path} and {second.path}; "
                "rename one, or name the folder above both corpora as the one corpus"
            )
    return inputs


def _inputs_of(corpus: str) -> Iterator[Input]:
    if corpus.startswith(_BUNDLED):
        root = _bundled_corpus()
        folder = root / corpus.removeprefix(_BUNDLED)
        if not corpus.removeprefix(_BUNDLED) or folder.parent != root or not folder.is_dir():
            names = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("_")))
            raise UsageError(f"{corpus} is not bundled with music21; there are: {names}")
        yield from _walk(os.fsencode(folder), os.fsencode(root))
        return
    path = os.fsencode(corpus)
    if os.path.isdir(path):
        yield from _walk(path, path)
    elif os.path.exists(path):
        if is_input(corpus):
            yield _input(os.path.basename(path), path)
    else:
        raise UsageError(f"{corpus} does not exist; name a folder, a file, or music21:NAME")


def _walk(folder: bytes, root: bytes) -> Iterator[Input]:
    """Inputs below a folder; links to folders are followed, but none that leads back to a folder above itself."""
    stack: list[tuple[bytes, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while stack:
        here, above = stack.pop()
        status = os.stat(here)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir():
                    stack.append((entry.path, above | {identity}))
                elif is_input(os.fsdecode(entry.name)):
                    yield _input(os.path.relpath(entry.path, root), entry.path)


def _input(relative: bytes, path: bytes) -> Input:
    name = relative.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    try:
        status = os.stat(path)
    except OSError:  # a link to nowhere: an input all the same, which reading it will refuse with the cause
        return Input(name, os.fsdecode(path), -1, 0)
    return Input(name, os.fsdecode(path), status.st_size, status.st_mtime_ns)


def _bundled_corpus() -> Path:
    spec = importlib.util.find_spec("music21")
    if spec is None or spec.origin is None:
        raise UsageError("music21 is not installed; install this package with its requirements")
    return Path(spec.origin).parent / "corpus"
