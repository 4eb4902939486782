"""YAML files whose content is a mapping: sweep files and the configuration of a run."""

import io
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pianogen.errors import cause
from pianogen.validation import ConfigError


def load_yaml(path: Path) -> dict[str, Any]:
    """Reads the mapping in a YAML 1.2 file.

    Raises:
        ConfigError: the file cannot be read, is not valid YAML, or is not a mapping.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
        json.dumps(values, skipkeys=True, default=str)  # a ValueError if an alias makes a value part of itself
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {cause(error)}; give the path of a YAML file") from error
    except (ValueError, YAMLError, RecursionError) as error:  # an impossible date is a ValueError
        raise ConfigError(f"{path} cannot be read as YAML: {cause(error)}; correct the file") from error
    if not isinstance(values, dict):
        found = "is empty" if values is None else "contains a list" if isinstance(values, list) else f"contains only {values!r}"
        raise ConfigError(
            f"{path} {found:.60}, expected a mapping of sections such as model, data and training; see sweeps/quick.yaml"
        )
    return values


def dump_yaml(values: dict[str, Any]) -> str:
    """Formats a nested mapping as YAML, in the order of its keys."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, text)
    return text.getvalue()
