"""The results of a sweep as a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pianogen.errors import UsageError


def read_results(sweep: str | Path) -> list[dict[str, Any]]:
    """A row for each run of a sweep, as `pandas.DataFrame` reads it: its name, its settings, and its figures if it is done.

    Settings have the dotted keys of the configuration, such as `training.batch`. Figures have those of result.json, such as
    `held_out.valid.network.nats_per_step`; the metrics of single samples are left out.

    Raises:
        UsageError: the directory is not that of a sweep.
    """
    records = sorted(Path(sweep).glob("*/provenance.json"))
    if not records:
        raise UsageError(f"{sweep} has no runs; give the directory of a sweep, such as runs/quick")
    return [_row(record.parent) for record in records]


def _row(run: Path) -> dict[str, Any]:
    result = run / "result.json"
    settings = json.loads((run / "provenance.json").read_text(encoding="utf-8"))["config"]
    figures = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    return {"run": run.name, **_flatten(settings), **_flatten({key: figures[key] for key in figures if key != "samples"})}


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flatten(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{key}.{name}" if name else key: entry for name, entry in inner.items()}
    return flat
