"""The runs of a sweep file: a base configuration, and what varies it.

The runs are the product of the list `runs` of variations, of the `grid`, and of the `random` draws.
"""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.configuration import draws, run_config
from jobs.configuration.run_config import RunConfig
from jobs.configuration.settings import Settings, by_key, nest, parse_override, parse_overrides
from pianogen import yaml_files
from pianogen.combinations import check_combinations
from pianogen.validation import ConfigError

_VARIATIONS = ("runs", "grid", "random")
_PATHS = ("model.ensemble", "sampling.primer")


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
    """The values of a sweep file, with the `key=value` overrides of the command line applied, and with absolute paths.

    `grid.KEY=[…]` overrides a key of the grid, `random.num=…` one of the random draws.

    Raises:
        ConfigError: the file or an override is not valid, or an override would have no effect.
    """
    changes = parse_overrides(overrides)
    where = source_of(path, overrides)
    values = _gather(yaml_files.load_yaml(path), str(path)) | {key: changes.pop(key) for key in _VARIATIONS if key in changes}
    base, runs, grid = _layers(values, where)
    if of_list := [key for key in (*base, *changes) if key.startswith("runs.")]:
        raise ConfigError(f"{where}: {of_list[0]} is not a key, because runs is a list; state all of it as runs: [{{…}}]")
    grid |= {key.removeprefix("grid."): changes.pop(key) for key in list(changes) if key.startswith("grid.")}
    random = _override_random(values.get("random"), changes, path)
    varied = {key for settings in [*runs, *_choices(grid, where), *draws.draw(random, where)] for key in settings}
    if ineffective := sorted(varied & changes.keys()):
        key = ineffective[0]
        raise ConfigError(f"{key} is varied by {path}; override grid.{key}=[…] instead, or remove {key} from the sweep")
    _check_alone(overrides)
    if random:
        random = random | {"space": _with_absolute_paths(by_key(random["space"], where))}
    variations = {"runs": list(map(_with_absolute_paths, runs)), "grid": _with_absolute_paths(grid), "random": random}
    return nest(_with_absolute_paths(base | changes), where) | {key: value for key, value in variations.items() if value}


def _with_absolute_paths(settings: Settings) -> Settings:
    """Settings, or choices of settings, whose paths do not depend on the working directory; links in paths remain."""

    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return list(map(absolute, value))
        return os.path.abspath(value) if value and isinstance(value, str) else value

    return settings | {key: absolute(settings[key]) for key in _PATHS if key in settings}


def _gather(values: dict[Any, Any], where: str) -> dict[Any, Any]:
    """The values of a sweep file with keys such as `grid.training.batch` in the section that they name."""
    sections = [name for name in ("grid", "random") if name in values]
    dotted = [key for key in values if isinstance(key, str) and key.startswith(("grid.", "random."))]
    if not dotted:
        return values
    gathered = nest(by_key({key: values[key] for key in (*dotted, *sections)}, where), where)
    return {key: value for key, value in values.items() if key not in dotted} | gathered


def source_of(path: Path, overrides: Sequence[str]) -> str:
    """The source of the values of `load_sweep` and `override`, for messages."""
    return " ".join([f"{path} with", *overrides]) if overrides else str(path)


def _check_alone(overrides: Sequence[str]) -> None:
    """Checks each override without the other settings, so that a message names the override, not the file."""
    for text in overrides:
        where = f"override {text!r}"
        for key, value in parse_override(text).items():
            section, _, name = key.partition(".")
            if section == "grid":
                choices = value if isinstance(value, list) else []  # another value is refused with the grid
                for choice in choices:
                    run_config.check_alone({name: choice}, where)
            elif section not in _VARIATIONS:
                run_config.check_alone({key: value}, where)


def _override_random(random: Any, changes: Settings, path: Path) -> Any:
    """The section `random` with the overrides that apply to it, which are removed from `changes`."""
    overrides = {key.removeprefix("random."): changes.pop(key) for key in list(changes) if key.startswith("random.")}
    if not overrides:
        return random
    if not isinstance(random, dict):
        raise ConfigError(f"random.{next(iter(overrides))}: {path} has no section random; add it to the sweep file")
    return nest(by_key(random, f"{path}: random") | overrides, f"{path}: random")


def override(config: RunConfig, overrides: Sequence[str], path: Path) -> RunConfig:
    """The configuration of one run, with `key=value` overrides applied and absolute paths.

    Args:
        path: the file of the configuration, for messages.

    Raises:
        ConfigError: an override is not valid.
    """
    changes = parse_overrides(overrides)
    _check_alone(overrides)
    values = nest(by_key(config.model_dump(mode="json"), "config.yaml") | changes, " ".join(overrides))
    return run_config.parse(values, source_of(path, overrides)).with_absolute_paths()


def expand(values: dict[str, Any], where: Path | str) -> list[Variation]:
    """Every run of a sweep: each entry of `runs`, times the product of `grid`, times the random draws.

    Args:
        where: the source of the values, for messages.

    Raises:
        ConfigError: a configuration is not valid, two of `runs`, `grid` and `random` set the same key, or two runs are equal.
    """
    where = str(where)
    base, runs, grid = _layers(values, where)
    variations = []
    for run, choice, drawn in itertools.product(runs or [{}], _choices(grid, where), draws.draw(values.get("random"), where)):
        varied = run | choice | drawn
        if len(varied) < len(run) + len(choice) + len(drawn):
            twice = sorted((run.keys() & choice.keys()) | (run.keys() & drawn.keys()) | (choice.keys() & drawn.keys()))
            raise ConfigError(f"{where}: {twice[0]} is varied twice in runs, grid and random; remove it from all but one of them")
        resolved = nest(base | varied, where)
        parsed = run_config.parse(resolved, where).with_absolute_paths()
        check_combinations(parsed, where)  # different paths may have been those of one run
        variations.append(Variation(_label(varied) or ("ensemble" if parsed.model.ensemble else parsed.model.name), parsed))
    remedy = "lower random.num, or add settings to random.space" if values.get("random") else "remove one of them"
    _check_distinct(variations, where, remedy)
    return variations


def _check_distinct(variations: Sequence[Variation], where: str, remedy: str) -> None:
    labels: dict[str, str] = {}
    for variation in variations:
        identity = variation.config.identity("")
        if identity in labels:
            names = " and ".join(dict.fromkeys((labels[identity], variation.label)))
            raise ConfigError(f"{where}: two of its {len(variations)} runs have the same configuration, {names}: {remedy}")
        labels[identity] = variation.label


def _layers(values: dict[str, Any], where: str) -> tuple[Settings, list[Settings], Settings]:
    """The base configuration, the runs that vary it, and the grid: each by dotted key."""
    runs, grid = values.get("runs", []), values.get("grid", {})
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise ConfigError(f"{where}: runs is {runs!r}, expected a list of mappings of keys to values; correct it")
    if not isinstance(grid, dict):
        raise ConfigError(f"{where}: grid is {grid!r}, expected a mapping of keys to lists of values; correct it")
    base = {key: value for key, value in values.items() if key not in _VARIATIONS}
    return by_key(base, where), [by_key(run, f"{where}: runs") for run in runs], by_key(grid, f"{where}: grid")


def _choices(grid: Settings, where: str) -> Iterator[Settings]:
    """Every combination of the values of the grid."""
    for key, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise ConfigError(f"{where}: grid.{key} is {choices!r}, expected a list of values, such as [64, 128]; correct it")
    for choice in itertools.product(*grid.values()):
        yield by_key(dict(zip(grid, choice, strict=True)), f"{where}: grid")


def _label(varied: dict[str, Any]) -> str:
    parts = []
    for key, value in varied.items():
        if key.startswith("slurm."):
            continue
        name = "" if key == "model.name" else key.rpartition(".")[2]
        values = value if isinstance(value, list) else [value]
        text = "+".join(Path(text).name if key in _PATHS else text for text in map(str, values))
        parts.append(re.sub(r"[^A-Za-z0-9.+_]+", "_", name + text))
    return "-".join(parts)[:100]
