"""Every key of a sweep file with its type, default and meaning, from the types and docstrings of the configuration."""

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from jobs.configuration.run_config import RunConfig
from pianogen.errors import UsageError, suggestion
from pianogen.validation import Section

_WIDTH = 100
_INDENT = "    "
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n        .*)*)", re.MULTILINE)


class Option(NamedTuple):
    """A key of the configuration: dotted, with its type and default as in YAML."""

    key: str
    type: str
    default: str
    meaning: str


def describe_options(prefix: str = "") -> str:
    """The keys that begin with a text, as paragraphs.

    Raises:
        UsageError: no key begins with it.
    """
    options = list(find_options())
    selected = [option for option in options if option.key.startswith(prefix)]
    if not selected:
        sections = dict.fromkeys(option.key.partition(".")[0] for option in options)
        keys = [option.key for option in options if option.key.endswith(f".{prefix}")]
        raise UsageError(f"no key begins with {prefix!r}; {suggestion(prefix, keys or list(sections))}")
    return "\n".join(map(_paragraph, selected))


def find_options() -> Iterator[Option]:
    """The keys of the configuration of a run, in the order of its sections."""
    base, joint = (RunConfig.model_validate({"device": "cpu", "model": {"name": name}}) for name in ("base", "joint"))
    yield from _options_of("", base, joint)


def _options_of(prefix: str, base: Section, joint: Section) -> Iterator[Option]:
    """The keys of a section, whose defaults depend on the model."""
    meanings = _meanings(type(base))
    for name, field in type(base).model_fields.items():
        alias, value, joint_value = field.alias or name, getattr(base, name), getattr(joint, name)
        if isinstance(value, Section):
            yield from _options_of(f"{prefix}{alias}.", value, joint_value)
            continue
        default = "required" if field.is_required() else _in_yaml(value)
        if joint_value != value and name != "name":
            default += f", for joint {_in_yaml(joint_value)}"
        yield Option(prefix + alias, _type_text(field.annotation), default, meanings.get(alias, ""))


def _meanings(section: type[Section]) -> dict[str, str]:
    """Maps each attribute to its description in the docstrings of a section and its base classes."""
    docs = [inspect.cleandoc(base.__doc__ or "") for base in reversed(section.__mro__) if issubclass(base, Section)]
    return {name: re.sub(r"\bNone\b", "null", " ".join(text.split())) for doc in docs for name, text in _ENTRY.findall(doc)}


def _type_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is NoneType:
        return "null"
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin in (UnionType, Union):
        return " or ".join(map(_type_text, arguments))
    if origin is tuple:
        return f"list of {_type_text(arguments[0])}"
    if origin is not None:  # Annotated
        return _type_text(arguments[0])
    return {"str": "text", "int": "integer", "float": "number", "bool": "true|false"}[annotation.__name__]


def _in_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _paragraph(option: Option) -> str:
    head = f"{option.key}: {option.default}  ({option.type})"
    return f"{head}\n{textwrap.fill(option.meaning, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)}"
