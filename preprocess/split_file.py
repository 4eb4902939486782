"""The file of --split-file: a CSV that assigns pieces to splits."""

import csv
from collections.abc import Collection
from pathlib import Path

from pianogen.errors import UsageError
from pianogen.store import Split
from preprocess.sources import comparable

_SPLITS = {"train": Split.TRAIN, "valid": Split.VALID, "test": Split.TEST}


def read_split_file(path: Path, names: Collection[str]) -> dict[str, Split]:
    """The split of each name in a CSV file with the columns name and split.

    Args:
        names: the names of all inputs.

    Raises:
        UsageError: the file cannot be read, lacks a column, or has an unknown name or split.
    """
    valid_names = {comparable(name): name for name in names}
    splits: dict[str, Split] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"name", "split"} <= set(reader.fieldnames or []):
                raise UsageError(f"{path} has the columns {reader.fieldnames}, expected name and split")
            for row in reader:
                where, split = f"{path}:{reader.line_num}", _SPLITS.get(row["split"])
                name = valid_names.get(comparable(row["name"] or ""))
                if name is None:
                    raise UsageError(f"{where}: no input has the name {row['name']!r}; a name is the path below the corpus root")
                if split is None:
                    raise UsageError(f"{where}: split {row['split']!r}, expected train, valid or test")
                if splits.setdefault(name, split) != split:
                    raise UsageError(f"{where}: {name} appears twice, with different splits; remove one of the rows")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the split file {path} cannot be read: {error}") from error
    return splits
