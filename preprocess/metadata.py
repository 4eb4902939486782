"""The file of --metadata: a CSV that gives pieces their group and split, such as the files of MAESTRO and ASAP."""

import csv
import difflib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple, TextIO, cast

import numpy as np

from pianogen.errors import UsageError, cause
from pianogen.names import comparable
from pianogen.store import Split
from preprocess.text_column import Names

Role = Literal["name", "group", "split"]
Columns = Mapping[Role, Sequence[str]]
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

    Attributes:
        groups: the names of the groups; of two that differ only in their Unicode form, the first one.
        group: (num_inputs,) int32 index in `groups`, NO_GROUP if the file does not give a group.
        split: (num_inputs,) uint8 values of Split, NONE if the file does not give a split.
        tunes: group and split of single tunes, which have priority over those of their input.
    """

    def __init__(self, num_inputs: int, has_splits: bool) -> None:
        self.has_splits = has_splits
        self.groups: list[str] = []
        self.group = np.full(num_inputs, NO_GROUP, np.int32)
        self.split = np.full(num_inputs, Split.NONE, np.uint8)
        self.tunes: dict[Target, tuple[int, Split]] = {}
        self._numbers: dict[str, int] = {}

    def assign(self, target: Target, group: str, split: Split) -> bool:
        """Gives a target its group, '' for none, and split; returns False if it has a different one already."""
        number = NO_GROUP
        if group and (number := self._numbers.setdefault(comparable(group), len(self.groups))) == len(self.groups):
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
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows, header = _open_rows(path, file)
            columns = _find_columns(path, header, columns)
            metadata, inputs = Metadata(len(names), "split" in columns), _Inputs(names)
            for row in rows:
                if not any("".join(value or "").strip() for value in row.values()):  # commas alone, which spreadsheets write
                    continue
                where = f"{path}:{rows.line_num}"
                if "".join(row.get(None, ())).strip():
                    raise UsageError(f"{where}: more values than the {len(header)} columns; quote a value that contains a comma")
                _read_row(where, row, columns, inputs, metadata)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the metadata {path} cannot be read: {cause(error)}; give a CSV file in UTF-8") from error
    return metadata


def _open_rows(path: Path, file: TextIO) -> tuple["csv.DictReader[str]", Sequence[str]]:
    """The rows, and the names of the columns without spaces around them."""
    first_line = file.readline()
    if first_line.lstrip().startswith(("{", "[")):
        raise UsageError(f"{path} is JSON, expected CSV; give the CSV file of the corpus, or convert the file")
    # In a file that separates its columns with ", ", quoted values follow a space. In others, a name may begin with a space.
    rows = csv.DictReader(chain((first_line,), file), strict=True, skipinitialspace=", " in first_line)
    header = [cell.strip() for cell in rows.fieldnames or ()]
    rows.fieldnames = header
    return rows, header


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


def _read_row(where: str, row: Mapping[str, str | None], columns: Columns, inputs: "_Inputs", metadata: Metadata) -> None:
    names = [name for column in columns["name"] if (name := row[column]) and name.strip()]
    targets = [target for name in names if (target := inputs.find(name)) is not None]
    if not targets:
        raise UsageError(f"{where}: {inputs.describe_unknown(names)}; correct the row: a name is the path below the corpus root")
    group = (row[columns["group"][0]] or "").strip() if "group" in columns else ""
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

    The names in the file may all be paths below one folder of the corpus, such as the only folder of an archive.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._folder: str | None = None

    def find(self, name: str) -> Target | None:
        """The input with this name, or the tune NAME#1, NAME#2, ... of an input.

        Windows separates folders with a backslash. Spaces around a name belong to it if an input has them, too.
        """
        stripped = name.strip()
        forms = dict.fromkeys(form for text in (name, stripped) for form in (text, text.replace("\\", "/").removeprefix("./")))
        return next((target for form in forms if (target := self._find(form)) is not None), None)

    def _find(self, name: str) -> Target | None:
        if self._folder is None:
            self._folder = self._find_folder(name)
        if self._folder is None:
            return None
        name = self._folder + name
        if (index := self._names.find(name)) is not None:
            return Target(index)
        stem, _, tune = name.rpartition("#")
        if tune.isdecimal() and tune[0] != "0" and (index := self._names.find(stem)) is not None:
            return Target(index, int(tune))
        return None

    def _find_folder(self, name: str) -> str | None:
        """The folder that contains the first name of the file, '' for the root, None if no folder or several do."""
        if self._names.find(name.partition("#")[0]) is not None or self._names.find(name) is not None:
            return ""
        end = "/" + comparable(name)
        folders = {other.removesuffix(end) + "/" for other in map(comparable, self._names) if other.endswith(end)}
        return folders.pop() if len(folders) == 1 else None

    def describe_unknown(self, names: Sequence[str]) -> str:
        """An error message with the nearest name."""
        if not names:
            return "the row has no name"
        index = bisect_left(self._names, names[0])
        neighbors = self._names[max(0, index - _NUM_NEIGHBORS) : index + _NUM_NEIGHBORS]
        nearest = difflib.get_close_matches(names[0], neighbors, 1, 0)
        return f"no input has the name {' or '.join(map(repr, names))}; the nearest name is {nearest[0]!r}"
