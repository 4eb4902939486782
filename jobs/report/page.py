"""The report of a sweep: one HTML file with its table, its curves and its samples, that opens from a disk without a network."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jobs.records import status
from jobs.records.run_directory import Run
from jobs.records.status import Status
from jobs.report import curves
from jobs.report.comparison import Cell, Column, Figures, compare
from pianogen.config import flatten
from pianogen.evaluation.sample_metrics import SampleMetrics
from pianogen.training.history import read_history

_CHARTS = {"loss": "Training loss", "valid_loss": "Validation loss"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a run.

    Attributes:
        title: its number in its store.
        file: its MIDI, as a path below the report's folder.
        picture: a PNG, b"" if there is none.
    """

    title: str
    file: str
    picture: bytes
    metrics: SampleMetrics


@dataclass(frozen=True, slots=True)
class SampleSet:
    """The samples of one store.

    Attributes:
        drawn: how they were drawn, by name.
    """

    drawn: dict[str, Any]
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class Entry:
    """A run and its samples."""

    run: Run
    sets: list[SampleSet]


def render(sweep: str, entries: Sequence[Entry]) -> str:
    """The HTML of a report on the runs of a sweep."""
    statuses = status.read_statuses([entry.run for entry in entries])
    figures = [_read(entry, statuses[entry.run]) for entry in entries]
    columns, common = compare(figures)
    names = Column("run", [Cell(entry.run.name, entry.run.name) for entry in entries], is_number=False)
    states = Column("state", [Cell(each.state, each.state) for each in figures], is_number=False)
    script = _source("report.js")
    environment = Environment(
        loader=PackageLoader("jobs.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["data_uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode()
    return environment.get_template("report.html.jinja").render(
        sweep=sweep,
        summary=_summary(figures),
        runs=[{"entry": entry, "figures": each} for entry, each in zip(entries, figures, strict=True)],
        columns=[names, states, *columns],
        common=common,
        charts=_charts(figures),
        size=curves.SIZE,
        style=Markup(_source("report.css")),
        script=Markup(script),
        # The page runs this script and no other, whatever a name may hold.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _source(name: str) -> str:
    return (files("jobs.report") / name).read_text(encoding="utf-8")


def _read(entry: Entry, found: Status) -> Figures:
    configured = entry.run.read_provenance().config
    result = entry.run.read_result()
    return Figures(
        found.state,
        found.reason,
        settings=flatten(configured),
        result=result.to_json() if result else {},
        history=read_history(entry.run.path / "metrics.csv"),
        samples=[sample.metrics for each in entry.sets for sample in each.samples],
    )


def _summary(figures: Sequence[Figures]) -> str:
    states = Counter(each.state for each in figures)
    collapses = [sample.collapse for each in figures for sample in each.samples]
    parts = [_counted(len(figures), "run"), *(f"{number} {state}" for state, number in states.items())]
    return ", ".join([*parts, _counted(len(collapses), "sample"), f"{sum(map(bool, collapses))} of them collapsed"])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


def _charts(figures: Sequence[Figures]) -> list[curves.Chart]:
    made = []
    for name, title in _CHARTS.items():
        points = {
            number: [(row["epoch"], row[name]) for row in each.history if name in row] for number, each in enumerate(figures)
        }
        made.append(curves.make_chart(title, points))
    return [chart for chart in made if chart is not None]
