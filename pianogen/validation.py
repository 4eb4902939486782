"""Validation of settings, with messages that state what was found and what was expected."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pianogen.errors import UsageError, suggestion


class ConfigError(UsageError):
    """A configuration is not valid; nothing was started."""


class Section(BaseModel):
    """A section of a configuration: immutable, and unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True)


# A number of things; the limit is beyond any use, and below the largest integers of NumPy and TensorFlow.
Count = Annotated[int, Field(ge=1, le=10**9)]
_SectionType = TypeVar("_SectionType", bound=Section)
# What was expected, by pydantic's type of an error; the names in braces are those of its context.
_EXPECTED = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "finite_number": "a finite number",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "value_error": "{error}",
}
# Pydantic adds the type to the place of an error of a value that may have several types.
_TYPES = ("int", "float", "str", "bool")
_TYPE_PREFIXES = ("constrained-", "literal[", "function-", "[")


def validate(schema: type[_SectionType], values: Mapping[str, Any], source: str) -> _SectionType:
    """Validates a nested mapping against a schema.

    Args:
        source: the file or object that the values come from, for messages.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type or range; all errors are listed.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        problems = [f"{source}: {problem}" for problem in _describe(schema, error.errors())]
        raise ConfigError("\n".join(problems)) from None


def _describe(schema: type[Section], errors: Sequence[Any]) -> Iterator[str]:
    """The problem of each key."""
    by_key: dict[str, list[Any]] = {}
    for error in errors:
        parts = [part for part in map(str, error["loc"]) if part not in _TYPES and not part.startswith(_TYPE_PREFIXES)]
        by_key.setdefault(".".join(parts), []).append(error)
    for key, found in by_key.items():
        first = found[0]
        if first["type"] == "extra_forbidden":
            *sections, name = key.split(".")
            yield f"{key} is not a key; {suggestion(name, _places(schema, name) or _keys(schema, sections))}"
        elif first["type"] == "missing":
            yield f"{key} is missing and has no default; set it"
        else:  # a value that may have one of several types has an error for each of them
            expected = dict.fromkeys(_expected(error) for error in found)
            yield f"{key} is {_in_yaml(first['input'])}, expected {', or '.join(expected)}; correct the value"


def _expected(error: Any) -> str:
    if error["type"] in _EXPECTED:
        return _EXPECTED[error["type"]].format(**error.get("ctx", {}))
    return str(error["msg"])


def _in_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _keys(schema: Any, sections: Sequence[str]) -> list[str]:
    """The keys of a section of a schema."""
    for name in sections:
        schema = schema.model_fields[name].annotation
    return [field.alias or name for name, field in schema.model_fields.items()]


def _places(schema: type[Section], name: str) -> list[str]:
    """The keys of this name in all sections of a schema."""
    sections = {key: field.annotation for key, field in schema.model_fields.items()}
    return [
        f"{key}.{name}"
        for key, section in sections.items()
        if isinstance(section, type) and issubclass(section, Section) and name in _keys(section, [])
    ]


def matching(pattern: str, expected: str) -> AfterValidator:
    """The validator of a text that a pattern must match completely; `expected` describes the pattern in messages."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(expected)
        return text

    return AfterValidator(check)
