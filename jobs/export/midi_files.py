"""What a store becomes: a MIDI file of every roll, a picture of each and an index, in a folder or in one archive."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from jobs.export.process_pool import in_processes
from pianogen import atomic
from pianogen.errors import PianogenError
from pianogen.midi.writer import write_midi
from pianogen.progress import Progress
from pianogen.roll_plot import plot_roll
from pianogen.store import Split, Store, StoreError

_SAMPLE_COLUMNS = ("file", "run", "seed", "index", "temperature", "threshold", "primer", "checkpoint")
_PIECE_COLUMNS = ("file", "name", "group", "split", "steps", "notes")
STEPS_PER_PROCESS = 65_536  # take a core half a second, as long as it takes a process to be there
_STEPS_PER_CHUNK = 16_384
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date a ZIP file can hold
_NOTE = ".stores.json"
_LONGEST_NAME = 251  # bytes, and .mid makes 255
_REGULAR_FILE = 0o100644 << 16

_Chunk = list[tuple[int, str]]  # the index of each piece in its store, and its MIDI file


def file_names(store: Store) -> list[str]:
    """The MIDI file of each piece, below its folder; its picture has .png in place of .mid.

    Samples have the name of their store in front: the stores of a run share a folder.

    Raises:
        PianogenError: a piece's name leads out of the folder, or two cannot be there together.
    """
    prefix = f"{store.path.stem}-" if store.kind == "samples" else ""
    names = [prefix + _file_name(name) for name in store.pieces.name]
    if len(set(names)) < len(names):
        raise PianogenError(f"{store.path}: two of its pieces would become one MIDI file; rename one of them in the corpus")
    files = {"index.csv", *names, *map(picture_name, names)}
    for name in names:
        for folder in PurePosixPath(name).parents:
            if str(folder) in files:
                raise PianogenError(
                    f"{store.path}: {folder} would be a file, and the folder of {name}; rename one of them in the corpus"
                )
    return names


def index_rows(store: Store, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each piece: of a sample what it was drawn with, of another where it stands in the corpus."""
    pieces = store.pieces
    if pieces.sample is not None:
        drawn = [{"file": name, **json.loads(sample)} for name, sample in zip(names, pieces.sample, strict=True)]
        return [{column: row.get(column) for column in _SAMPLE_COLUMNS} for row in drawn]
    return [
        dict(zip(_PIECE_COLUMNS, (file, name, group, _split_name(split), steps, notes), strict=True))
        for file, name, group, split, steps, notes in zip(
            names,
            pieces.name,
            pieces.group,
            pieces.split.tolist(),
            pieces.steps.tolist(),
            pieces.notes.tolist(),
            strict=True,
        )
    ]


def index_text(rows: Sequence[dict[str, Any]]) -> str:
    """The content of an index.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else _SAMPLE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_folder(paths: Sequence[Path], out: Path, processes: int) -> None:
    """Writes the files of some stores, those that are not there yet, and an index of all.

    Raises:
        StoreError: a store cannot be read.
        PianogenError: as `file_names`, or a process was killed.
        OSError: a file cannot be written.
    """
    found: list[tuple[Path, list[str], list[int]]] = []
    fingerprints: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for path in paths:
        with Store(path) as store:
            found.append((path, file_names(store), store.pieces.steps.tolist()))
            fingerprints[path.name] = store.fingerprint
            rows += index_rows(store, found[-1][1])
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, fingerprints)
    for path, names, steps in found:
        todo = [(index, name) for index, name in enumerate(names) if not _is_there(out / name)]
        with Progress(f"{path.name} to {out}", len(todo), "pieces") as progress:
            for written in in_processes(partial(_write_pieces, path, out), _chunks(todo, steps), _enough(processes, todo, steps)):
                progress.advance(written)
    atomic.write_text(out / "index.csv", index_text(rows))


def write_archive(path: Path, target: Path, processes: int) -> None:
    """Writes the files of a store and their index as one ZIP file, if it is not there yet; equal stores give equal bytes.

    Raises:
        as `write_folder`.
    """
    with Store(path) as store:
        if target.exists():
            _check_same(target, path.name, store.fingerprint, _read_comment(target))
            return
        names = file_names(store)
        steps = store.pieces.steps.tolist()
        rows = index_rows(store, names)
        fingerprint = store.fingerprint
    target.parent.mkdir(parents=True, exist_ok=True)
    todo = sorted(enumerate(names), key=lambda piece: piece[1])
    with atomic.replacing(target) as temporary, ZipFile(temporary, "w") as archive:
        archive.comment = fingerprint.encode()
        _add(archive, "index.csv", index_text(rows).encode(), ZIP_DEFLATED)
        with Progress(f"{path.name} to {target}", len(todo), "pieces") as progress:
            for made in in_processes(partial(_make_pieces, path), _chunks(todo, steps), _enough(processes, todo, steps)):
                for name, midi, picture in made:
                    _add(archive, name, midi, ZIP_DEFLATED)
                    _add(archive, picture_name(name), picture, ZIP_STORED)  # compressed already
                progress.advance(len(made))


def _claim(out: Path, fingerprints: Mapping[str, str]) -> None:
    """Notes whose files lie in a folder: those of a store that was made anew would not go with those that are there.

    Args:
        fingerprints: by the names of stores.

    Raises:
        PianogenError: it holds those of another store of this name.
    """
    note = out / _NOTE
    before = json.loads(note.read_text()) if note.is_file() else {}
    for name, fingerprint in fingerprints.items():
        _check_same(out, name, fingerprint, before.get(name, fingerprint))
    if not fingerprints.keys() <= before.keys():
        atomic.write_text(note, json.dumps({**before, **fingerprints}, indent=1) + "\n")


def _read_comment(archive: Path) -> str:
    try:
        with ZipFile(archive) as there:
            return there.comment.decode(errors="replace")
    except BadZipFile as error:
        raise PianogenError(f"{archive} is damaged ({error}); remove it and decode again") from error


def _check_same(place: Path, store: str, fingerprint: str, found: str) -> None:
    if found != fingerprint:
        raise PianogenError(
            f"{place} was made from another store {store}, or when it had other pieces; remove it and decode again, or choose "
            "another --out"
        )


def picture_name(name: str) -> str:
    """The picture beside a MIDI file."""
    return name.removesuffix(".mid") + ".png"


def _file_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise PianogenError(f"the piece {name!r} names a place outside the folder; this store was not made by preprocessing")
    short = PurePosixPath(*(_shortened(part) for part in path.parts))
    return str(short) if name.endswith(".mid") and short == path else f"{short}.mid"


def _shortened(part: str) -> str:
    """A name that fits, with .mid, into what file systems allow; bytes that are no text take four letters each in a store."""
    data = part.encode(errors="surrogateescape")
    if len(data) <= _LONGEST_NAME or (len(data) <= _LONGEST_NAME + 4 and part.endswith(".mid")):
        return part
    return f"{data[: _LONGEST_NAME - 17].decode(errors='ignore')}-{hashlib.sha256(data).hexdigest()[:16]}"


def _split_name(split: int) -> str:
    return "" if split == Split.NONE else Split(split).name.lower()


def _is_there(midi: Path) -> bool:
    return midi.exists() and midi.with_name(picture_name(midi.name)).exists()


def _write_pieces(path: Path, out: Path, chunk: _Chunk) -> int:
    for name, midi, picture in _make_pieces(path, chunk):
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(target.with_name(picture_name(target.name)), picture)
        atomic.write_bytes(target, midi)
    return len(chunk)


def _add(archive: ZipFile, name: str, content: bytes, compression: int) -> None:
    member = ZipInfo(name, _EARLIEST)
    member.external_attr = _REGULAR_FILE
    archive.writestr(member, content, compression)


def _make_pieces(path: Path, chunk: _Chunk) -> list[tuple[str, bytes, bytes]]:
    """(name, MIDI file, picture) of each."""
    made = []
    with Store(path) as store:
        for index, name in chunk:
            roll = store.roll(index)
            try:
                made.append((name, write_midi(roll), plot_roll(roll)))
            except PianogenError as error:
                raise StoreError(f"{path}: {store.pieces.name[index]}: {error}") from error
    return made


def _chunks(todo: _Chunk, steps: Sequence[int]) -> list[_Chunk]:
    """Neighbours together, until they have enough steps."""
    chunks: list[_Chunk] = [[]]
    num_steps = 0
    for index, name in todo:
        chunks[-1].append((index, name))
        num_steps += steps[index]
        if num_steps >= _STEPS_PER_CHUNK:
            chunks.append([])
            num_steps = 0
    return [chunk for chunk in chunks if chunk]


def _enough(processes: int, todo: _Chunk, steps: Sequence[int]) -> int:
    """As many of them as have enough to do."""
    return min(processes, 1 + sum(steps[index] for index, _ in todo) // STEPS_PER_PROCESS)
