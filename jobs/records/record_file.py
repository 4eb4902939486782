"""The JSON files of a sweep's directory: each is parsed where it is read, and replaced atomically."""

import functools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pianogen import atomic
from pianogen.errors import PianogenError, cause

COMPLETE = ConfigDict(extra="forbid")  # as __pydantic_config__ of a record: an unknown key is damage

_Record = TypeVar("_Record")
_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)  # it takes milliseconds to build


class RecordError(PianogenError):
    """A record of a sweep is damaged or missing."""

    exit_code = 2


def read(path: Path, parse: Callable[[Any], _Record], action: str | None = None) -> _Record:
    """The record in a JSON file.

    Args:
        action: what the user can do about a damaged file; None for a file of a run.
        parse: makes the record from the JSON value; its ValueError, TypeError, KeyError or AttributeError marks a damaged file.

    Raises:
        RecordError: the file is damaged or missing.
    """
    try:
        return parse(json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, FileNotFoundError, IsADirectoryError) as error:
        raise RecordError(
            f"{path} cannot be read ({type(error).__name__}: {cause(error)}): another program changed or removed it; "
            + (action or f"restore the file, or move {path.parent} out of the sweep and submit the sweep again")
        ) from error


def validate(schema: type[_Record], content: Any) -> _Record:
    """A dataclass from its JSON value; the types of all fields are checked.

    Raises:
        ValueError: a key is missing or unknown, or a value has another type.
    """
    try:
        record: _Record = _adapter(schema).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return record


def write(path: Path, content: Any) -> None:
    """Replaces a JSON file."""
    atomic.write_text(path, to_json(content) + "\n")


def to_json(content: Any) -> str:
    """The JSON text of a value; numbers that are infinite or NaN, which JSON cannot express, are null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
