"""The report of a sweep: one HTML file with a table of the runs, their curves and playable samples; it needs no network."""

from collections import Counter
from collections.abc import Sequence

from jobs.records import status
from jobs.report import axes, curves, html, passages
from jobs.report.comparison import compare, shared_settings
from jobs.report.definitions import collapse_definitions, define
from jobs.report.figures import RunFigures, RunSamples, read_figures
from jobs.report.metric_rows import explain, metric_rows
from jobs.report.origins import list_origins
from jobs.report.parallel import make_parallel_plot
from jobs.report.seed_table import average_over_seeds
from jobs.report.shown_corpus import show_corpora
from pianogen.command import counted

_STYLES = ("report.css", "runs.css", "charts.css", "player.css", "metrics.css")
_SCRIPTS = (
    "tooltip.js",
    "table.js",
    "highlight.js",
    "sections.js",
    "filter.js",
    "roll.js",
    "piano.js",
    "playback.js",
    "player.js",
    "roll_view.js",
    "page.js",
    "metrics.js",
)  # in order of dependence
_MAX_UNFOLDED_RUNS = 12  # of more runs, only the headings are shown at first
_CHARTS = {"loss": "Training loss", "valid_loss": "Validation loss"}


def render(sweep: str, samples_of_runs: Sequence[RunSamples]) -> str:
    """The HTML of the report.

    Args:
        sweep: the name of the sweep.
        samples_of_runs: the runs of the sweep, at least one, with their samples.
    """
    statuses = status.read_statuses([samples.run for samples in samples_of_runs])
    runs = [read_figures(samples, statuses[samples.run]) for samples in samples_of_runs]
    columns = compare(runs)
    return html.render(
        "report.html.jinja",
        _STYLES,
        _SCRIPTS,
        sweep=sweep,
        summary=_summary(runs),
        runs=runs,
        is_folded=len(runs) > _MAX_UNFOLDED_RUNS,
        columns=columns,
        shared=shared_settings(runs),
        seed_table=average_over_seeds(runs),
        parallel=make_parallel_plot(runs),
        charts=_charts(runs),
        corpora=show_corpora([comparison.corpus for run in runs for comparison in run.comparisons]),
        origins=list_origins(runs),
        has_marks=any(cell.unbeaten for column in columns for cell in column.cells),
        definitions=define(columns),
        size=axes.SIZE,
        collapse_definitions=collapse_definitions(),
        counted=counted,
        explain=explain,
        metric_rows=metric_rows,
        passages=passages,
    )


def _summary(runs: Sequence[RunFigures]) -> str:
    states = Counter(run.state for run in runs)
    num_samples = sum(len(run.samples) for run in runs)
    num_collapsed = sum(run.num_collapsed or 0 for run in runs)
    parts = [counted(len(runs), "run"), *(f"{number} {state}" for state, number in states.items())]
    return ", ".join([*parts, counted(num_samples, "sample"), f"{num_collapsed} collapsed"])


def _charts(runs: Sequence[RunFigures]) -> list[curves.Chart]:
    charts = []
    for name, title in _CHARTS.items():
        points = {number: [(row["epoch"], row[name]) for row in run.history if name in row] for number, run in enumerate(runs)}
        charts.append(curves.make_chart(title, points))
    return [chart for chart in charts if chart is not None]
