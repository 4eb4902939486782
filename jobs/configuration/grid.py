"""The runs of a sweep file: a base configuration, a list `runs` of variations, and a `grid` that multiplies them."""

import copy
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from jobs.configuration import run_config
from jobs.configuration.run_config import RunConfig
from pianogen import config
from pianogen.combinations import check_combinations
from pianogen.config import ConfigError


@dataclass(frozen=True, slots=True)
class Variation:
    """The configuration of one run of a sweep.

    Attributes:
        label: the values in which the run differs from the others, safe as a file name.
        config: the complete configuration.
    """

    label: str
    config: RunConfig


def load_sweep(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The values of a sweep file, with the `key=value` overrides of the command line applied.

    `grid.KEY=[…]` overrides a key of the grid.

    Raises:
        ConfigError: the file or an override is not valid, or an override would have no effect.
    """
    values = config.load_yaml(path)
    for text in overrides:
        key, value = _parse_override(text)
        if key.startswith("grid."):
            values.setdefault("grid", {})
            _mapping(values, "grid", path)[key.removeprefix("grid.")] = value
            continue
        varied = [*_mapping(values, "grid", path), *(name for run in _runs(values, path) for name in run)]
        if key in varied:
            raise ConfigError(f"{key} is varied by {path}; override grid.{key}=[…] instead, or remove {key} from the sweep")
        _set(values, key, value, f"override {text!r}")
    return values


def override(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The values of one run, with `key=value` overrides applied.

    Raises:
        ConfigError: an override is not valid.
    """
    values = copy.deepcopy(values)
    for text in overrides:
        key, value = _parse_override(text)
        _set(values, key, value, f"override {text!r}")
    return values


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{text!r} is not an override; expected key=value, such as training.epochs=3")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except (ValueError, YAMLError) as error:
        raise ConfigError(f"the value of {text!r} is not valid YAML: {error}; quote it, or correct it") from error


def expand(values: dict[str, Any], where: Path) -> list[Variation]:
    """Every run of a sweep: each entry of `runs`, times the product of `grid`.

    Args:
        where: the source of the values, for messages.

    Raises:
        ConfigError: a configuration is not valid, two runs are equal, or runs request different resources.
    """
    base = {key: value for key, value in values.items() if key not in ("grid", "runs")}
    grid, runs = _mapping(values, "grid", where), _runs(values, where) or [{}]
    for key, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise ConfigError(f"{where}: grid.{key} is {choices!r}, expected a list of values")
    variations = []
    for run in runs:
        for choice in itertools.product(*grid.values()):
            varied = {**run, **dict(zip(grid, choice, strict=True))}
            resolved = copy.deepcopy(base)
            for key, value in varied.items():
                _set(resolved, key, value, str(where))
            parsed = run_config.parse(resolved, str(where)).with_absolute_paths()
            check_combinations(parsed, str(where))  # different paths may have been those of one run
            variations.append(Variation(_label(varied) or ("ensemble" if parsed.model.ensemble else parsed.model.name), parsed))
    identities = [variation.config.identity("") for variation in variations]
    if len(set(identities)) < len(identities):
        raise ConfigError(f"{where}: two of its {len(variations)} runs have the same configuration; remove one of them")
    if any(variation.config.slurm != variations[0].config.slurm for variation in variations):
        raise ConfigError(
            f"{where}: its runs have different slurm settings, but a job array has one set of resources: write two sweeps"
        )
    return variations


def _mapping(values: dict[str, Any], key: str, where: Path) -> dict[str, Any]:
    mapping = values.get(key, {})
    if not isinstance(mapping, dict):
        raise ConfigError(f"{where}: {key} is {mapping!r}, expected a mapping of dotted keys to lists of values")
    return mapping


def _runs(values: dict[str, Any], where: Path) -> list[dict[str, Any]]:
    runs = values.get("runs", [])
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise ConfigError(f"{where}: runs is {runs!r}, expected a list of mappings of dotted keys to values")
    return runs


def _set(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{where}: {section} in {key} is a value, not a section; correct the key")
    values[last] = value


def _label(varied: dict[str, Any]) -> str:
    parts = []
    for key, value in varied.items():
        name = "" if key == "model.name" else key.rpartition(".")[2]
        values = value if isinstance(value, list) else [value]
        text = "+".join(Path(text).name if key == "model.ensemble" else text for text in map(str, values))
        parts.append(re.sub(r"[^A-Za-z0-9.+_]+", "_", name + text))
    return "-".join(parts)[:100]
