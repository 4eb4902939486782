"""The tables of docs/music.md from finished runs: likelihood, metrics of samples beside real music, memorization.

    python -m benchmarks.music runs/music runs/comparison

It trains nothing: it reads result.json, the samples and the stores of the runs. Runs that differ only in their seed share a row
of the first table. Every store of samples in the directories of the runs stands beside the held-out pieces of its corpus; a
distance is bold if the samples are outside the spread of the corpus in this metric, see docs/metrics.md. The column of real
music is that of the first store: the distances of sets of as many train pieces.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from jobs.records import sweep_directory
from jobs.records.held_out import Measure, find_baselines
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.samples import find_sample_stores
from jobs.records.seed_groups import find_spread, group_by_seed
from jobs.report.corpora import Corpora
from pianogen import command
from pianogen.config import flatten
from pianogen.errors import PianogenError
from pianogen.evaluation.corpus_comparison import Comparison, MetricComparison
from pianogen.evaluation.metrics import METRICS
from pianogen.evaluation.sample_metrics import measure
from pianogen.store import Store

_SPLITS = ("valid", "test")
_WIDTH = 400  # a table that is copied into a document must not be wrapped


@dataclass(frozen=True, slots=True)
class SampleSet:
    """A store of samples beside the corpus of its run.

    Attributes:
        num_collapsed: number of samples that collapsed.
        comparison: None if the corpus cannot be compared with.
    """

    name: str
    num_samples: int
    num_collapsed: int
    comparison: Comparison | None

    @property
    def metrics(self) -> dict[str, MetricComparison]:
        """Maps the name of each metric that samples and corpus determine to its comparison."""
        return {entry.metric.name: entry for entry in self.comparison.metrics} if self.comparison else {}


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.music`."""
    parser = command.Parser(
        prog="python -m benchmarks.music",
        description="Print what finished runs reach: their likelihood on held-out pieces beside trivial predictors, the\n"
        "metrics of their samples beside real music, and the passages of their samples in the train split.\n"
        "Prints Markdown tables; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.music runs/music runs/comparison",
    )
    parser.add_argument("targets", type=Path, nargs="+", metavar="runs/NAME", help="sweeps, or runs")
    options = parser.parse(arguments)
    runs = [run for target in options.targets for run in sweep_directory.open_runs(target)]
    results = {run: result for run in runs if (result := run.read_result())}
    if not results:
        raise PianogenError(f"no run of {', '.join(map(str, options.targets))} is done; see pianogen sweep status")
    sets = _read_sample_sets(results)
    console = Console(width=_WIDTH)
    for table in (_likelihoods(results), _distances(sets), _means(sets), _memorization(results)):
        console.print(table)
    print(json.dumps({"runs": [_figures(run, result) for run, result in results.items()], "samples": [*map(_flat, sets)]}))
    return 0


def _read_sample_sets(runs: Iterable[Run]) -> list[SampleSet]:
    corpora, sets = Corpora(), []
    for run in runs:
        for path in find_sample_stores(run):
            with Store(path) as store:
                rolls = [store.roll(index) for index in range(len(store))]
            comparison = corpora.compare(run, rolls) if rolls else None
            sets.append(
                SampleSet(
                    name=f"{_name(run)}/{path.stem}",
                    num_samples=len(rolls),
                    num_collapsed=sum(bool(measure(roll).collapse) for roll in rolls),
                    comparison=comparison if isinstance(comparison, Comparison) else None,
                )
            )
    return sets


def _likelihoods(results: dict[Run, Result]) -> Table:
    table = _table("Nats per step", "runs", "seeds", "CPU minutes", *_SPLITS)
    for baseline in find_baselines({_name(run): result.held_out for run, result in results.items()}):
        figures = [baseline.figures[split, Measure.NATS] for split in _SPLITS]
        if any(figure is not None for figure in figures):  # a repeat has no likelihood
            table.add_row(baseline.title, "", "", *map(_format, figures))
    runs = {str(run.path): run for run in results}
    settings = {path: flatten(run.read_provenance().config) for path, run in runs.items()}
    for group in group_by_seed(settings):
        members = [runs[path] for path in group]
        minutes = statistics.fmean(map(_cpu_min, members))
        spreads = [find_spread(results[run].figure(split, Measure.NATS) for run in members) for split in _SPLITS]
        table.add_row(_name(members[0]), str(len(members)), f"{minutes:.1f}", *(str(entry or "") for entry in spreads))
    return table


def _distances(sets: Sequence[SampleSet]) -> Table:
    table = _table("Distance from the held-out pieces", "metric", "real music (limit)", *(entry.name for entry in sets))
    for metric in METRICS:
        entries = [entry.metrics.get(metric.name) for entry in sets]
        reference = next((entry.reference for entry in entries if entry), None)
        if reference:
            cells = ["" if entry is None else _bold(_format(entry.distance), entry.is_outside) for entry in entries]
            table.add_row(metric.title, f"{reference.distance:.3g} ({reference.max_distance:.3g})", *cells)
    outside = [f"{len(entry.comparison.outside)} of {len(entry.metrics)}" if entry.comparison else "" for entry in sets]
    table.add_row("outside the spread", "", *outside)
    return table


def _means(sets: Sequence[SampleSet]) -> Table:
    table = _table("Mean values", "metric", "held-out pieces", *(entry.name for entry in sets))
    for metric in (metric for metric in METRICS if metric.is_ordered):  # classes have no mean
        entries = [entry.metrics.get(metric.name) for entry in sets]
        held_out = next((entry.held_out.mean for entry in entries if entry), None)
        if held_out is not None:
            table.add_row(
                metric.title, _format(held_out), *("" if entry is None else _format(entry.samples.mean) for entry in entries)
            )
    table.add_row("collapsed", "", *(f"{entry.num_collapsed} of {entry.num_samples}" for entry in sets))
    return table


def _memorization(results: dict[Run, Result]) -> Table:
    table = _table("Longest passage in onsets", "run", "excerpts: median", "maximum", "samples: median", "maximum")
    for run, result in results.items():
        if result.memorization:
            onsets = (result.memorization.held_out, result.memorization.sample_onsets)
            table.add_row(_name(run), *(cell for values in onsets for cell in _median_and_maximum(values)))
    return table


def _median_and_maximum(values: Sequence[int]) -> tuple[str, str]:
    return (f"{statistics.median(values):g}", str(max(values))) if values else ("", "")


def _figures(run: Run, result: Result) -> dict[str, object]:
    nats = {split: result.figure(split, Measure.NATS) for split in _SPLITS}
    passages = result.memorization.sample_onsets if result.memorization else None
    return {"run": _name(run), "cpu_min": _cpu_min(run), **nats, "passages": passages}


def _flat(entry: SampleSet) -> dict[str, object]:
    distances = {name: metric.distance for name, metric in entry.metrics.items()}
    outside = entry.comparison.outside if entry.comparison else None
    return {"samples": entry.name, "num": entry.num_samples, "collapsed": entry.num_collapsed, "outside": outside, **distances}


def _name(run: Run) -> str:
    return f"{run.sweep.name}/{run.name}"


def _cpu_min(run: Run) -> float:
    """CPU time of all attempts in minutes: training, validation, evaluation and samples."""
    return sum(attempt.cpu_s or 0 for attempt in run.read_provenance().attempts) / 60


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.MARKDOWN)
    for column in columns:
        table.add_column(column)
    return table


def _format(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.3g}" if abs(figure) < 1 else f"{figure:.4g}"


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


if __name__ == "__main__":
    sys.exit(command.run(main))
