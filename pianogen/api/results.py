"""The results of a sweep as a table."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pianogen.errors import UsageError


def read_results(sweep: str | Path) -> list[dict[str, Any]]:
    """A row for each run of a sweep, as `pandas.DataFrame` reads it: its name, its settings, and its figures if it is done.

    Settings have the dotted keys of the configuration, such as `training.batch`. Figures have those of result.json, such as
    `held_out.valid.network.nats_per_step`; the metrics of single samples are left out.

    Raises:
        UsageError: the directory is not that of a sweep, or a record is damaged.
    """
    configs = sorted(Path(sweep).glob("*/config.yaml"))  # a killed submission leaves directories without it
    if not configs:
        raise UsageError(f"{sweep} has no runs; give the directory of a sweep, such as runs/quick")
    return [_row(config.parent) for config in configs]


def read_record(path: Path, *sections: str) -> dict[str, Any]:
    """The content of provenance.json or result.json.

    Args:
        sections: keys that the record must have, each with a mapping.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"it contains {type(content).__name__}")
        for name in sections:
            if not isinstance(content.get(name), dict):
                raise ValueError(f"it has no section {name}")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}): another program changed it; restore the file") from error
    return content


def _row(run: Path) -> dict[str, Any]:
    result = run / "result.json"
    settings = read_record(run / "provenance.json", "config")["config"]
    figures = read_record(result) if os.path.lexists(result) else {}
    return {"run": run.name, **_flatten(settings), **_flatten({key: figures[key] for key in figures if key != "samples"})}


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flatten(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{key}.{name}" if name else key: entry for name, entry in inner.items()}
    return flat
