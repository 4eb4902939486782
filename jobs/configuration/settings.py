"""Settings by dotted key, such as training.batch: how the layers of a configuration are merged, and what an override states."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pianogen.validation import ConfigError

Settings = dict[str, Any]

_ALIASES = {"slurm.timeout": "slurm.timeout_min"}
_QUOTED_OR_COLLECTION = ("[", "{", '"', "'")


def by_key(values: Mapping[Any, Any], where: str) -> Settings:
    """The settings of a mapping, whose keys may be dotted, nested, or both; the union of two such layers is their merge.

    Args:
        where: the source of the values, for messages.

    Raises:
        ConfigError: a key is not text, or a setting occurs twice.
    """
    settings: Settings = {}
    for name, value in _flatten(values, where):
        key = _ALIASES.get(name, name)
        if key in settings:
            raise ConfigError(f"{where}: {key} is set twice; remove one of its values")
        settings[key] = value
    return settings


def _flatten(values: Mapping[Any, Any], where: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise ConfigError(f"{where}: {key!r} is not a key; expected text such as training.batch")
        if value and isinstance(value, dict):  # an empty section states that it exists, under a valid name
            yield from ((f"{key}.{name}", entry) for name, entry in _flatten(value, where))
        else:
            yield key, value


def nest(settings: Settings, where: str) -> dict[str, Any]:
    """The nested mapping of settings.

    Raises:
        ConfigError: a section is set to a value.
    """
    values: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, last = key.split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{where}: {name} in {key} is a value, not a section; correct the key")
        if value == {}:
            value = section.get(last, value)
        elif last in section:
            raise ConfigError(f"{where}: {key} is a section, not a value; set its keys")
        section[last] = value
    return values


def parse_overrides(texts: Sequence[str]) -> Settings:
    """The settings that `key=value` overrides of the command line state; a mapping states several.

    Raises:
        ConfigError: an override is not valid, states nothing, or sets the same key as another.
    """
    settings: Settings = {}
    for text in texts:
        stated = parse_override(text)
        if duplicates := sorted(settings.keys() & stated.keys()):
            raise ConfigError(f"override {text!r}: {duplicates[0]} is set by another override too; remove one of them")
        settings |= stated
    return settings


def parse_override(text: str) -> Settings:
    """The settings that one `key=value` override states.

    Raises:
        ConfigError: it is not valid, or states nothing.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{text!r} is not an override; expected key=value, such as training.epochs=3")
    settings = by_key({key: _parse_value(value, text)}, f"override {text!r}")
    if {} in settings.values():
        raise ConfigError(f"override {text!r} states no setting: the mapping is empty; state its keys, or null values")
    return settings


def _parse_value(text: str, override: str) -> Any:
    """A value as typed: a quoted text or a collection in YAML; otherwise a number, true, false or null, or the text itself.

    YAML would drop a comment after a space, and read some first characters of a text as an alias, a tag or a key.
    """
    stripped = text.strip()
    if not stripped.startswith(_QUOTED_OR_COLLECTION):
        return _parse_plain(text)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(stripped)
        if node.end_mark.index == len(stripped):
            return yaml.load(stripped)
        problem = f"YAML ignores {stripped[node.end_mark.index :]!r}"
    except MarkedYAMLError as error:
        problem = str(error.problem)  # without the position in a text of one line
    except ValueError as error:  # an impossible date
        problem = str(error)
    raise ConfigError(f"override {override!r}: its value is not valid YAML: {problem}; quote it, or correct it")


def _parse_plain(text: str) -> Any:
    """A number, true, false or null if the text is nothing else; integers in the usual notation, so that 0012 stays a text."""
    if not text.strip():
        return None
    yaml = YAML(typ="safe", pure=True)
    try:
        value = yaml.load(text)
        is_complete = getattr(yaml.compose(text), "value", None) == text.strip()
    except (ValueError, YAMLError):
        return text
    if not is_complete or not isinstance(value, bool | int | float | None) or (type(value) is int and str(value) != text.strip()):
        return text
    return value
