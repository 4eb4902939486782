"""The MIDI files of a store: their names, and their rows in index.csv."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from jobs.export.audio import AudioFormat
from jobs.records.samples import read_parameters
from pianogen.errors import PianogenError
from pianogen.names import MAX_BYTES, shortened, with_hash
from pianogen.store import Split, Store

_MAX_STEM_BYTES = MAX_BYTES - len(".mid")


@dataclass(frozen=True, slots=True)
class PieceFile:
    """The MIDI file of a piece.

    Attributes:
        index: of the piece in its store.
        name: path of the file below the output folder.
        steps: length of the piece.
    """

    index: int
    name: str
    steps: int


@dataclass(frozen=True, slots=True)
class StoreContent:
    """The metadata of a store that its export needs.

    Attributes:
        path: the store.
        fingerprint: of its content.
        pieces: the file of each piece, in the order of the store.
        rows: the rows of index.csv, by column.
    """

    path: Path
    fingerprint: str
    pieces: list[PieceFile]
    rows: list[dict[str, object]]

    @classmethod
    def of(cls, store: Store) -> Self:
        """The content of an open store.

        Raises:
            PianogenError: as `midi_names`.
        """
        names = midi_names(store)
        steps = store.pieces.steps.tolist()
        pieces = [PieceFile(index, name, steps[index]) for index, name in enumerate(names)]
        return cls(store.path, store.fingerprint, pieces, _index_rows(store, names))


def midi_names(store: Store) -> list[str]:
    """The path of each piece's MIDI file below the output folder.

    Names are distinct in file systems that ignore case, too, such as those of macOS and Windows: the second of two such names
    ends with a hash. Samples have the name of their store as a prefix, because the stores of a run share a folder.

    Raises:
        PianogenError: the name of a piece is outside of the output folder, or two names conflict.
    """
    prefix = f"{store.path.stem}-" if store.kind == "samples" else ""
    names = _distinct([prefix + midi_name(name) for name in store.pieces.name])
    if len(set(names)) < len(names):
        raise PianogenError(f"{store.path}: two pieces have the same MIDI file name; rename one of them in the corpus")
    sounds = {sound_name(name, audio_format) for name in names for audio_format in AudioFormat}
    files = {"index.csv", *names, *map(plot_name, names), *sounds}
    for name in names:
        for folder in map(str, PurePosixPath(name).parents):
            if folder in files:
                raise PianogenError(
                    f"{store.path}: {folder} is both a file and the folder of {name}; rename one of the pieces in the corpus"
                )
    return names


def _distinct(names: Sequence[str]) -> list[str]:
    """Appends a hash to every name that differs only in case from an earlier one."""
    spellings: dict[str, str] = {}
    return [name if spellings.setdefault(name.casefold(), name) == name else _with_hash(name) for name in names]


def _with_hash(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{with_hash(path.stem, name.encode(errors='surrogateescape'), _MAX_STEM_BYTES)}.mid"))


def midi_name(piece: str) -> str:
    """The path of a piece's MIDI file below the output folder.

    Raises:
        PianogenError: the path is outside of the folder.
    """
    path = PurePosixPath(piece)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in piece:
        raise PianogenError(
            f"the piece name {piece!r} is not a path below the output folder; decode a store that pianogen preprocess has written"
        )
    short = PurePosixPath(*map(_shortened, path.parts))
    return str(short) if piece.endswith(".mid") and short == path else f"{short}.mid"


def plot_name(midi: str) -> str:
    """The path of the plot beside a MIDI file."""
    return midi.removesuffix(".mid") + ".png"


def sound_name(midi: str, audio_format: AudioFormat) -> str:
    """The path of the sound file beside a MIDI file."""
    return f"{midi.removesuffix('.mid')}.{audio_format}"


def index_text(rows: Sequence[Mapping[str, object]]) -> str:
    """The content of an index.csv of at least one row."""
    text = io.StringIO()
    # All text is quoted: the csv module would write a name with a carriage return without quotes.
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _index_rows(store: Store, names: Sequence[str]) -> list[dict[str, object]]:
    """A row per MIDI file, with the parameters of the sample, or the place of the piece in its corpus."""
    if store.kind == "samples":
        parameters = read_parameters(store)
        return [{"file": name} | asdict(entry) for name, entry in zip(names, parameters, strict=True)]
    pieces = store.pieces
    columns = {
        "file": names,
        "name": pieces.name,
        "group": pieces.group,
        "split": ["" if split == Split.NONE else Split(split).name.lower() for split in pieces.split.tolist()],
        "steps": pieces.steps.tolist(),
        "notes": pieces.notes.tolist(),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _shortened(part: str) -> str:
    """A part of a path, shortened to what file systems allow; a store writes a byte that is not valid UTF-8 as four letters."""
    is_complete = part.endswith(".mid") and len(part.encode(errors="surrogateescape")) <= MAX_BYTES
    return part if is_complete else shortened(part, _MAX_STEM_BYTES)
