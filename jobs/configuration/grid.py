"""A sweep's YAML to its runs: one base configuration, a grid over some keys, a list of variations."""

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
from pianogen.config import ConfigError


@dataclass(frozen=True, slots=True)
class Variation:
    """One run of a sweep.

    Attributes:
        label: what distinguishes it from the others, safe as a file name.
        config: its configuration.
    """

    label: str
    config: RunConfig


def load_sweep(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """A sweep's values with the command line's `key=value` laid over them.

    A key of the grid is overridden as `grid.KEY=[…]`.

    Raises:
        ConfigError: the file or an override cannot be read, or an override would be without effect.
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
            raise ConfigError(f"{key} is varied by {path}; override grid.{key}=[…] instead, or take it out of the sweep")
        _set(values, key, value, f"override {text!r}")
    return values


def override(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The values of one run with `key=value` laid over them.

    Raises:
        ConfigError: an override cannot be read.
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
        raise ConfigError(f"the value of {text!r} is no YAML: {error}") from error


def expand(values: dict[str, Any], where: Path) -> list[Variation]:
    """Every run of a sweep: each entry of `runs`, times the product of `grid`.

    Raises:
        ConfigError: a configuration is not valid, or two runs are the same.
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
            parsed = run_config.parse(resolved, str(where))
            variations.append(Variation(_label(varied) or parsed.model.name, parsed))
    identities = [variation.config.identity("") for variation in variations]
    if len(set(identities)) < len(identities):
        raise ConfigError(f"{where}: two of its {len(variations)} runs have the same configuration; take one out")
    if any(variation.config.slurm != variations[0].config.slurm for variation in variations):
        raise ConfigError(
            f"{where}: its runs ask for different slurm settings; one job array has one kind of job: make two sweeps"
        )
    return variations


def _mapping(values: dict[str, Any], key: str, where: Path) -> dict[str, Any]:
    found = values.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {key} is {found!r}, expected a mapping of dotted keys to lists of values")
    return found


def _runs(values: dict[str, Any], where: Path) -> list[dict[str, Any]]:
    found = values.get("runs", [])
    if not isinstance(found, list) or not all(isinstance(run, dict) for run in found):
        raise ConfigError(f"{where}: runs is {found!r}, expected a list of mappings of dotted keys to values")
    return found


def _set(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{where}: {section} of {key} is a value, not a section")
    values[last] = value


def _label(varied: dict[str, Any]) -> str:
    parts = []
    for key, value in varied.items():
        name = "" if key == "model.name" else key.rpartition(".")[2]
        text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(re.sub(r"[^A-Za-z0-9.+_]+", "_", name + text))
    return "-".join(parts)[:100]
