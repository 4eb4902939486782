"""The answers of listeners: CSV files that the page of a listening test saves."""

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.listening.key import Key, Mode
from pianogen.errors import UsageError, cause

COLUMNS = ("test", "listener", "item", "answer", "rating")
_EXPECTED = "give CSV files that the page of the listening test has saved"
_MODES = {Mode.SINGLE: "single excerpts", Mode.PAIRS: "pairs"}
_IS_REAL = {"real": True, "generated": False, "": None}
_RATINGS = {"": None} | {str(rating): rating for rating in range(1, 6)}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a listener to an item.

    Attributes:
        is_real: whether the listener took the excerpt for real; None if the answer is missing.
        rating: from 1 (bad) to 5 (very good); None if it is missing.
    """

    listener: str
    item: str
    is_real: bool | None
    rating: int | None


def read_answers(paths: Sequence[Path], key: Key) -> list[Answer]:
    """Reads the answers of all listeners; items that a listener's file does not contain are missing answers.

    A file that is given twice counts once. A spreadsheet may have changed the separator, the order of the columns or the order of
    the rows.

    Raises:
        UsageError: a file cannot be read, is of another test, or has a value that the page does not save; or two files have
            different answers of one listener, or a listener took both excerpts or neither excerpt of a pair for real.
    """
    answers: dict[tuple[str, str], tuple[Answer, Path]] = {}
    for path in paths:
        seen: set[tuple[str, str]] = set()
        for line, answer in _read_file(path, key):
            identity = (answer.listener, answer.item)
            other, other_path = answers.get(identity, (answer, path))
            if identity in seen:
                raise UsageError(
                    f"{path}, line {line}: a second answer of {answer.listener} to {answer.item}; remove one of the two"
                )
            if other != answer:
                raise UsageError(
                    f"{path}, line {line}: {answer.listener} has another answer to {answer.item} in {other_path}; "
                    "give only the file with the final answers"
                )
            seen.add(identity)
            answers[identity] = (answer, path)
    listeners = sorted({listener for listener, _ in answers})
    given = {identity: answer for identity, (answer, _) in answers.items()}
    missing = (Answer(listener, item, None, None) for listener in listeners for item in key.origins)
    complete = [given.get((answer.listener, answer.item), answer) for answer in missing]
    if key.mode is Mode.PAIRS:
        for first, second in zip(complete[::2], complete[1::2], strict=True):
            _check_pair(first, second, paths)
    return complete


def _check_pair(first: Answer, second: Answer, paths: Sequence[Path]) -> None:
    if {first.is_real, second.is_real} not in ({True, False}, {None}):
        names = {is_real: name or "nothing" for name, is_real in _IS_REAL.items()}
        raise UsageError(
            f"{', '.join(map(str, paths))}: {first.listener} answered {names[first.is_real]} to {first.item} and "
            f"{names[second.is_real]} to {second.item}, expected real to one excerpt of this pair and generated to the other; "
            "restore the file that the page has saved"
        )


def _read_file(path: Path, key: Key) -> Iterator[tuple[int, Answer]]:
    """The numbers of the lines of a file, and their answers."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({cause(error)}); {_EXPECTED}") from error
    header = lines[0] if lines else ""
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(lines, delimiter=delimiter)
    if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
        raise UsageError(
            f"{path} has no column {missing[0]!r}: its first line is {header[:80]!r}, expected {','.join(COLUMNS)!r}; {_EXPECTED}"
        )
    try:
        rows = [(reader.line_num, {column: (row[column] or "").strip() for column in COLUMNS}) for row in reader]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num + 1}: {error}; {_EXPECTED}") from error
    for number, values in rows:
        if any(values.values()):  # a spreadsheet may append empty rows
            yield number, _parse(values, f"{path}, line {number}", key)


def _parse(values: dict[str, str], where: str, key: Key) -> Answer:
    if values["test"] != key.test:
        raise UsageError(
            f"{where}: an answer of the test {values['test']!r}, but the key is that of {key.test!r}, a test of "
            f"{_MODES[key.mode]}; give the key of that test, or leave out this file"
        )
    if not values["listener"]:
        raise UsageError(f"{where}: the listener is missing; restore the file that the page has saved")
    _check(values["item"], key.origins, "item", where)
    _check(values["answer"], _IS_REAL, "answer", where)
    _check(values["rating"], _RATINGS, "rating", where)
    return Answer(values["listener"], values["item"], _IS_REAL[values["answer"]], _RATINGS[values["rating"]])


def _check(value: str, expected: Collection[str], column: str, where: str) -> None:
    if value not in expected:
        names = "an item of the key" if column == "item" else f"one of {', '.join(filter(None, expected))}, or nothing"
        raise UsageError(f"{where}: {column} {value!r}, expected {names}; restore the file that the page has saved")
