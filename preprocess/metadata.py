"""The file of --metadata: a CSV that gives pieces their group and split, such as the files of MAESTRO and ASAP."""

import csv
import difflib
import hashlib
import io
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np

from pianogen.errors import UsageError, cause
from pianogen.names import comparable
from pianogen.store import Split
from preprocess.text_column import Names

Role = Literal["name", "group", "split"]
Columns = Mapping[Role, Sequence[str]]
_Row = Mapping[str, str | None]
NO_GROUP = -1
# The columns that are recognized: of several combinations, the first one that the file has. A row of ASAP names a performance and
# the score of the piece, as MIDI and as MusicXML.
_RECOGNIZED: Mapping[Role, tuple[tuple[str, ...], ...]] = {
    "name": (("name",), ("midi_filename",), ("midi_performance", "midi_score", "xml_score"), ("filename",), ("path",)),
    "group": (("group",), ("canonical_composer",), ("composer",)),
    "split": (("split",),),
}
_SPLITS = {"train": Split.TRAIN, "valid": Split.VALID, "validation": Split.VALID, "dev": Split.VALID, "test": Split.TEST}
_NUM_NEIGHBORS = 500  # names on each side, in order, that an unknown name is compared with


class Target(NamedTuple):
    """The input that a name in the file refers to, by its number, and the number of one of its tunes, or 0 for all."""

    number: int
    tune: int = 0


class Metadata:
    """The content of the file.

    Args:
        num_inputs: the number of inputs.
        has_splits: whether the file has a column of splits; if not, pieces are split by hash.
        sha256: hex digest of the file.

    Attributes:
        groups: the names of the groups; of two that differ only in their Unicode form, the first one.
        group: (num_inputs,) int32 index in `groups`, NO_GROUP if the file does not give a group, not even ''.
        split: (num_inputs,) uint8 values of Split, NONE if the file does not give a split.
        tunes: group and split of single tunes, which have priority over those of their input.
    """

    def __init__(self, num_inputs: int, has_splits: bool, sha256: str = "") -> None:
        self.has_splits, self.sha256 = has_splits, sha256
        self.groups: list[str] = []
        self.group = np.full(num_inputs, NO_GROUP, np.int32)
        self.split = np.full(num_inputs, Split.NONE, np.uint8)
        self.tunes: dict[Target, tuple[int, Split]] = {}
        self._numbers: dict[str, int] = {}

    def assign(self, target: Target, group: str | None, split: Split) -> bool:
        """Gives a target its group and split; returns False if it has a different one already."""
        number = NO_GROUP
        if group is not None and (number := self._numbers.setdefault(comparable(group), len(self.groups))) == len(self.groups):
            self.groups.append(group)
        if target.tune:
            return self.tunes.setdefault(target, (number, split)) == (number, split)
        old = int(self.group[target.number]), int(self.split[target.number])
        self.group[target.number], self.split[target.number] = number, split
        return old in ((NO_GROUP, Split.NONE), (number, split))


def parse_columns(text: str) -> Columns:
    """The columns in the value of --metadata-columns, such as `name=path,group=artist`; `name` may occur several times.

    Raises:
        ValueError: the text has another form.
    """
    columns: dict[str, list[str]] = {}
    for part in text.split(","):
        role, _, column = part.partition("=")
        if role not in _RECOGNIZED or not column or (role != "name" and role in columns):
            raise ValueError(f"{part!r} is not name=COLUMN, group=COLUMN or split=COLUMN; only name may occur several times")
        columns.setdefault(role, []).append(column)
    return cast(Columns, columns)


def read_metadata(path: Path, columns: Columns, names: Names) -> Metadata:
    """Reads the file.

    Args:
        columns: the columns of the file that are given instead of recognized.
        names: the names of all inputs, in order.

    Raises:
        UsageError: the file cannot be read, lacks a column, or has an unknown name or split, or contradicts itself.
    """
    try:
        data = path.read_bytes()  # once: the file may be a pipe
        header, _ = _open_rows(path, data)
        columns = _find_columns(path, header, columns)
        inputs = _Inputs(names, (_names_in(row, columns) for _, row in _read_rows(path, data)))
        metadata = Metadata(len(names), "split" in columns, hashlib.sha256(data).hexdigest())
        for where, row in _read_rows(path, data):
            _read_row(where, row, columns, inputs, metadata)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the metadata {path} cannot be read: {cause(error)}; give a CSV file in UTF-8") from error
    return metadata


def _open_rows(path: Path, data: bytes) -> tuple[Sequence[str], "csv.DictReader[str]"]:
    """The names of the columns without spaces around them, and the rows."""
    file = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    first_line = file.readline()
    if first_line.lstrip().startswith(("{", "[")):
        raise UsageError(f"{path} is JSON, expected CSV; give the CSV file of the corpus, or convert the file")
    # In a file that separates its columns with ", ", quoted values follow a space. In others, a name may begin with a space.
    rows = csv.DictReader(chain((first_line,), file), strict=True, skipinitialspace=", " in first_line)
    header = [cell.strip() for cell in rows.fieldnames or ()]
    rows.fieldnames = header
    return header, rows


def _read_rows(path: Path, data: bytes) -> Iterator[tuple[str, _Row]]:
    """Every row and its place; the file is read twice, because a list of the rows would take ten times its size."""
    header, rows = _open_rows(path, data)
    line = rows.line_num
    try:
        for row in rows:
            line = rows.line_num
            if not any("".join(value or "").strip() for value in row.values()):  # commas alone, which spreadsheets write
                continue
            where = f"{path}:{line}"
            if "".join(row.get(None, ())).strip():
                raise UsageError(f"{where}: more values than the {len(header)} columns; quote a value that contains a comma")
            yield where, row
    except csv.Error as error:
        raise UsageError(
            f"{path}:{line + 1}: {error}; correct the row: a quote inside a quoted value is written twice"
        ) from error


def _find_columns(path: Path, header: Sequence[str], given: Columns) -> Columns:
    if len(header) == 1 and (separators := set(";\t") & set(header[0])):
        raise UsageError(f"{path} separates columns with {min(separators)!r}, expected a comma; convert the file")
    if not header:
        raise UsageError(f"{path} is empty; give a CSV file whose first line names the columns")
    for column in (column for role in given.values() for column in role):
        if column not in header:
            raise UsageError(f"{path} has no column {column!r}; its columns are {', '.join(header)}: correct --metadata-columns")
    columns = dict(given)
    for role in _RECOGNIZED.keys() - given.keys():
        for combination in _RECOGNIZED[role]:
            if present := [column for known in combination for column in header if column.lower() == known]:
                columns[role] = present
                break
    if "name" not in columns or len(columns) == 1:
        recognized = "; ".join(f"{role}: {', '.join(sum(choices, ()))}" for role, choices in _RECOGNIZED.items())
        raise UsageError(
            f"{path} has the columns {', '.join(header) or '(none)'}, expected one for the name and one for group or split "
            f"({recognized}); give them with --metadata-columns name=...,group=...,split=..."
        )
    _check_repeated(path, header, columns, given)
    return columns


def _check_repeated(path: Path, header: Sequence[str], columns: Columns, given: Columns) -> None:
    for role, names in columns.items():
        for name in names:
            equal = [column for column in header if column == name or (role not in given and column.lower() == name.lower())]
            if len(equal) > 1:
                found = " and ".join(map(repr, dict.fromkeys(equal)))
                raise UsageError(f"{path} has several columns {found}; rename all but one of them, or give --metadata-columns")


def _names_in(row: _Row, columns: Columns) -> list[str]:
    return [name for column in columns["name"] if (name := row[column]) and name.strip()]


def _read_row(where: str, row: _Row, columns: Columns, inputs: "_Inputs", metadata: Metadata) -> None:
    names = _names_in(row, columns)
    targets = [target for name in names if (target := inputs.find(name)) is not None]
    if not targets:
        raise UsageError(f"{where}: {inputs.describe_unknown(names)}; correct the row: a name is the path below the corpus root")
    group = (row[columns["group"][0]] or "").strip() if "group" in columns else None
    split = Split.NONE
    if "split" in columns:
        text = (row[columns["split"][0]] or "").strip()
        if text.lower() not in _SPLITS:
            raise UsageError(f"{where}: split {text!r}, expected {', '.join(_SPLITS)}; correct the row")
        split = _SPLITS[text.lower()]
    for target in targets:
        if not metadata.assign(target, group, split):
            raise UsageError(f"{where}: {names[0]} appears twice, with a different group or split; remove one of the rows")


class _Inputs:
    """The names of the inputs.

    The names in the file are paths below the corpus root if an input has one of them. Otherwise they may all be paths below one
    folder of the corpus, such as the only folder of an archive.

    Args:
        names: the names of all inputs, in order.
        rows: the names in every row of the file; one of them at least must be that of an input.
    """

    def __init__(self, names: Names, rows: Iterable[Sequence[str]]) -> None:
        self._names = names
        self._folder = self._find_folder(rows)

    def find(self, name: str) -> Target | None:
        """The input with this name, or the tune NAME#1, NAME#2, ... of an input."""
        return self._find_below(self._folder, name)

    def _find_folder(self, rows: Iterable[Sequence[str]]) -> str:
        """The only folder that contains all rows; '' for the root, and if no folder or several do."""
        folders: set[str] | None = None
        for names in rows:
            if self._contains("", names):
                return ""
            if folders is None:
                folders = self._folders_with(names)
            # A row outside of all these folders is an error, whichever of them is chosen.
            folders = {folder for folder in folders if self._contains(folder, names)} or folders
        return folders.pop() if folders is not None and len(folders) == 1 else ""

    def _folders_with(self, names: Sequence[str]) -> set[str]:
        """The folders that may contain one of these names, or the score of which the name is a tune."""
        forms = [form for name in names for form in _forms(name)]
        ends = ["/" + comparable(text) for form in forms for text in (form, form.rpartition("#")[0]) if text]
        return {other.removesuffix(end) + "/" for other in map(comparable, self._names) for end in ends if other.endswith(end)}

    def _contains(self, folder: str, names: Sequence[str]) -> bool:
        return any(self._find_below(folder, name) is not None for name in names)

    def _find_below(self, folder: str, name: str) -> Target | None:
        for form in _forms(name):
            if (index := self._names.find(folder + form)) is not None:
                return Target(index)
            stem, _, tune = form.rpartition("#")
            if tune.isdecimal() and tune[0] != "0" and (index := self._names.find(folder + stem)) is not None:
                return Target(index, int(tune))
        return None

    def describe_unknown(self, names: Sequence[str]) -> str:
        """An error message with the nearest name."""
        if not names:
            return "the row has no name"
        nearby = self._folder + names[0]
        index = bisect_left(self._names, nearby)
        neighbors = self._names[max(0, index - _NUM_NEIGHBORS) : index + _NUM_NEIGHBORS]
        nearest = difflib.get_close_matches(nearby, neighbors, 1, 0)
        return f"no input has the name {' or '.join(map(repr, names))}; the nearest name is {nearest[0]!r}"


def _forms(name: str) -> Iterable[str]:
    """The possible meanings of a name: Windows separates folders with a backslash, and spaces around a name may belong to it."""
    texts = (name, name.strip())
    return dict.fromkeys(form for text in texts for form in (text, text.replace("\\", "/").removeprefix("./")))
