"""The selection of some runs of a sweep: by number, by range of numbers, and by the values of settings."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from jobs.configuration.settings import Settings, by_key, parse_overrides
from jobs.records import sweep_directory
from jobs.records.run_directory import Run
from pianogen import yaml_files
from pianogen.config import flatten
from pianogen.errors import UsageError, suggestion

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")


def open_selected(target: Path, selection: Sequence[str]) -> list[Run]:
    """The selected runs of a sweep in order; all of them, or the one run, without a selection.

    Args:
        selection: numbers such as 3, ranges such as 5-9, of which a run must match one; and settings such as model.name=gru, of
            which a run must match all.

    Raises:
        UsageError: `target` is not a sweep or a run, a part of the selection is not valid, or it matches no run.
    """
    runs = sweep_directory.open_runs(target)
    numbers = [text for text in selection if "=" not in text]
    if numbers:
        selected = {run for text in numbers for run in _by_number(target, runs, text)}
        runs = [run for run in runs if run in selected]
    for text in selection:
        if "=" in text:
            runs = _by_setting(target, runs, text)
    return runs


def _by_number(target: Path, runs: Sequence[Run], text: str) -> list[Run]:
    match = _NUMBERS.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} selects no runs; expected a number such as 3, a range such as 5-9, or key=value")
    first, last = int(match[1]), int(match[2] or match[1])
    numbers = {run: run.number for run in runs if run.number is not None}
    selected = [run for run, number in numbers.items() if first <= number <= last]
    if not selected:
        known = f"its numbers are {min(numbers.values())} to {max(numbers.values())}" if numbers else "its runs have no numbers"
        raise UsageError(f"{target} has no run {text}; {known}: correct the selection")
    return selected


def _by_setting(target: Path, runs: Sequence[Run], text: str) -> list[Run]:
    stated = parse_overrides([text])
    settings = {run: _read_settings(run, stated) for run in runs}
    valid = list(dict.fromkeys(key for values in settings.values() for key in values))
    for key in stated:
        if key not in valid:
            raise UsageError(f"{text!r} selects no runs: {key} is not a setting; {suggestion(key, valid)}")
    selected = [run for run in runs if stated.items() <= settings[run].items()]
    if not selected:
        found = ", ".join(dict.fromkeys(str(settings[run].get(key)) for run in runs for key in stated))
        raise UsageError(
            f"no selected run of {target} has {text}, found {found}; to train with another value, submit the sweep with it"
        )
    return selected


def _read_settings(run: Run, keys: Iterable[str]) -> Settings:
    """The settings of a run by dotted key; those that do not change its result are only in config.yaml, which is slow to read."""
    settings = flatten(run.read_provenance().config)
    return settings if settings.keys() >= set(keys) else by_key(yaml_files.load_yaml(run.config_file), str(run.config_file))
