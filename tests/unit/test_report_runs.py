"""The tables and plots of the report that compare runs: settings, times, means over seeds, parallel coordinates, provenance."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from jobs.records.provenance import Attempt, GitState, Provenance, StoreReference
from jobs.records.result import Result
from jobs.records.run_state import State
from jobs.records.run_usage import RunUsage
from jobs.records.samples import SampleParameters
from jobs.report.axes import SIZE
from jobs.report.columns import Column
from jobs.report.comparison import compare, shared_settings
from jobs.report.figures import RunFigures, SampleSet
from jobs.report.origins import list_origins
from jobs.report.parallel import ParallelPlot, make_parallel_plot
from jobs.report.seed_table import average_over_seeds
from pianogen.config import Config, flatten
from pianogen.evaluation.corpus_comparison import Comparison, Corpus

SETTINGS = flatten(Config().result_settings())


def run_of(
    name: str,
    nats: float | None = None,
    settings: Mapping[str, Any] | None = None,
    attempts: Sequence[Attempt] = (),
    git: GitState | None = None,
    trivial: Mapping[str, Any] | None = None,
) -> RunFigures:
    """A run with a likelihood on the valid split, or one that is not done."""
    provenance = Provenance("", {}, StoreReference("/secret/corpus.h5", "f00d"), [], git, {"keras": "3.15"}, list(attempts))
    metrics = {"epoch": 3, "loss": 0.5, "valid_loss": 0.25}
    held_out = {"valid": {"network": {"nats_per_step": nats}, "trivial": trivial or {}}}
    result = None if nats is None else Result("ckpt", 1_000, 10, metrics, 0.25, None, held_out, [])
    state = State.WAITING if nats is None else State.DONE
    return RunFigures(name, state, "", SETTINGS | dict(settings or {}), provenance, RunUsage([]), result, [], [])


def attempt_of(started: str, ended: str | None = None, **fields: Any) -> Attempt:
    times = [time and f"2026-03-01T{time}:00+01:00" for time in (started, ended)]
    return Attempt(times[0] or "", "host", 1, "", 0, "", "", "log", ended=times[1], **fields)


def texts_of(columns: Sequence[Column], title: str) -> list[str]:
    (column,) = (column for column in columns if column.title == title)
    return [cell.text for cell in column.cells]


def plot_of(values: Sequence[Any], key: str = "training.learning_rate") -> ParallelPlot:
    plot = make_parallel_plot([run_of(f"{number:04d}", number, {key: value}) for number, value in enumerate(values)])
    assert plot is not None
    return plot


def heights_of(plot: ParallelPlot, axis: int) -> list[float]:
    """The height of each line on an axis, from 0 to 1."""
    points = [re.findall(r"(\d+) (\d+)", line.path) for line in plot.lines]
    return [1 - int(line[axis][1]) / SIZE for line in points]


def test_times_are_those_of_all_attempts_that_recorded_them() -> None:
    attempts = [
        attempt_of("10:00", "10:30", interrupted="SIGTERM", cpu_s=600.0),
        attempt_of("11:00"),  # it was killed
        attempt_of("12:00", "13:00", cpu_s=1_200.0, iterations_per_s=12.5, devices=["/device:CPU:0", "/device:GPU:0"]),
        attempt_of("14:00", "14:15", error="the disk is full"),
    ]
    columns = compare([run_of("0000", 6.0, attempts=attempts), run_of("0001", 7.0)])
    assert texts_of(columns, "minutes") == ["105.0", ""]
    assert texts_of(columns, "CPU minutes") == ["30.0", ""]
    assert texts_of(columns, "iterations/s") == ["12.5", ""]
    assert texts_of(columns, "devices") == ["1 GPU", ""]


def test_columns_without_values_are_omitted() -> None:
    titles = {column.title for column in compare([run_of("0000", 6.0), run_of("0001", 7.0)])}
    assert titles.isdisjoint({"minutes", "CPU minutes", "iterations/s", "devices", "valid onset F1", "learning rate"})
    assert {"run", "state", "loss", "valid nats per step"} <= titles


def test_setting_that_an_earlier_version_did_not_have_is_a_difference() -> None:
    old, new = run_of("0000", 6.0), run_of("0001", 7.0, {"training.new": 3})
    assert texts_of(compare([old, new]), "new") == ["–", "3"]
    assert "training.batch" in {setting.key for setting in shared_settings([old, new])}


def test_means_over_seeds_have_a_row_for_each_group() -> None:
    runs = [
        run_of(f"{number:04d}-{model}-seed{seed}", nats, {"model.name": model, "training.seed": seed})
        for number, (model, seed, nats) in enumerate(
            [("gru", 0, 6.0), ("gru", 1, 7.0), ("base", 0, 5.0), ("rnn", 0, 4.0), ("rnn", 1, None)]
        )
    ]
    table = average_over_seeds(runs)
    assert table is not None
    assert table.groups == [[0, 1], [2], [3, 4]]
    assert texts_of(table.columns, "runs") == ["0000 and 1 more", "0002", "0003 and 1 more"]
    assert texts_of(table.columns, "seeds") == ["2", "1", "2"]
    assert texts_of(table.columns, "model") == ["gru", "base", "rnn"]
    assert texts_of(table.columns, "valid nats per step") == ["6.500 ± 0.707", "5.000", ""]  # a run of rnn is not done
    assert texts_of(table.columns, "parameters") == ["1,000 ± 0", "1,000", ""]
    (nats,) = (column for column in table.columns if column.title == "valid nats per step")
    assert [cell.is_best for cell in nats.cells] == [False, True, False]


def test_means_stand_beside_trivial_predictors() -> None:
    trivial = {"markov": {"nats_per_step": 6.75}}
    settings = [{"model.name": name, "training.seed": seed} for name in ("gru", "base") for seed in (0, 1)]
    runs = [run_of(f"{number:04d}", 6.0 + number / 2, settings[number], trivial=trivial) for number in range(4)]
    table = average_over_seeds(runs)
    assert table is not None
    assert table.columns[0].baselines == ["per-key Markov chain"]
    (nats,) = (column for column in table.columns if column.title == "valid nats per step")
    assert nats.baselines == ["6.750"]
    assert [cell.unbeaten for cell in nats.cells] == ["", "not better than per-key Markov chain (6.75)"]


def test_diverged_run_has_no_mean() -> None:
    table = average_over_seeds(
        [run_of(str(seed), nats, {"training.seed": seed}) for seed, nats in enumerate([6.0, float("nan")])]
    )
    assert table is not None
    assert "valid nats per step" not in {column.title for column in table.columns}


def test_large_numbers_have_an_exponent() -> None:
    runs = [run_of(str(seed), nats, {"training.seed": seed}) for seed, nats in enumerate([999_999.0, 3.25e12, -1e300])]
    assert texts_of(compare(runs), "valid nats per step") == ["999999.000", "3.250e+12", "-1.000e+300"]
    table = average_over_seeds(runs[:2])
    assert table is not None
    assert texts_of(table.columns, "valid nats per step") == ["1.625e+12 ± 2.298e+12"]


def test_runs_with_one_seed_have_no_table_of_means() -> None:
    assert average_over_seeds([run_of("0000", 6.0), run_of("0001", 7.0, {"model.units": 32})]) is None


@pytest.mark.parametrize(
    ("values", "note", "heights"),
    [
        ([0.001, 0.01, 0.1], "logarithmic", [0, 0.5, 1]),
        ([1, 2, 3, 4, 5], "", [0, 0.25, 0.5, 0.75, 1]),
        ([0, 1, 100], "", [0, 0.01, 1]),  # a logarithm of 0 does not exist
        ([4, None, 8], "", [0, 0.5, 1]),  # None is a category
        ([True, False, True], "", [0, 1, 0]),
        ([["Bach"], [], ["Bach", "Liszt"]], "", [0, 0.5, 1]),
    ],
)
def test_axis_of_a_setting_spreads_its_values_evenly(values: list[Any], note: str, heights: list[float]) -> None:
    plot = plot_of(values)
    assert (plot.scales[0].title, plot.scales[0].note) == ("learning rate", note)
    assert heights_of(plot, 0) == pytest.approx(heights)


def test_values_of_a_grid_are_labeled_and_labels_do_not_overlap() -> None:
    assert [tick.label for tick in plot_of([0.0005, 0.002, 0.01]).scales[0].ticks] == ["0.0005", "0.002", "0.01"]
    assert [tick.label for tick in plot_of([1, 1.01, 2]).scales[0].ticks] == ["1", "2"]
    labels = [tick.label for tick in plot_of([f"piece {number}" for number in range(60)]).scales[0].ticks]
    assert labels == [f"piece {number}" for number in range(0, 60, 3)]


def test_lines_are_ranked_by_the_result_and_end_where_a_run_has_none() -> None:
    runs = [run_of(f"{number}", nats, {"model.units": 8 * number + 8}) for number, nats in enumerate([9.0, None, 5.0, 7.0])]
    plot = make_parallel_plot(runs)
    assert plot is not None
    assert plot.result == "valid nats per step"
    assert [scale.title for scale in plot.scales] == ["units", "valid nats per step"]
    assert plot.scales[1].note == "lower is better"
    assert {line.run: line.worse for line in plot.lines} == {0: 100.0, 2: 0.0, 3: 50.0}  # the line of run 1 has a single point


@pytest.mark.parametrize(("nats", "note"), [([1, 30], "lower is better, logarithmic"), ([10, 30], "lower is better")])
def test_axis_of_a_wide_range_of_likelihoods_is_logarithmic(nats: list[float], note: str) -> None:
    plot = make_parallel_plot([run_of(str(value), value, {"model.units": value}) for value in nats])
    assert plot is not None
    assert plot.scales[1].note == note


def test_seed_is_not_a_hyperparameter_and_runs_without_results_have_no_plot() -> None:
    assert make_parallel_plot([run_of(str(seed), seed, {"training.seed": seed}) for seed in range(3)]) is None
    assert make_parallel_plot([run_of(str(units), None, {"model.units": units}) for units in range(1, 3)]) is None
    assert make_parallel_plot([run_of("0000", 6.0)]) is None


def test_setting_that_is_missing_in_a_run_of_an_earlier_version_has_an_axis() -> None:
    plot = plot_of([[], None, []], "model.ensemble")
    assert heights_of(plot, 0) == [0, 0, 0]


def test_results_that_are_not_comparable_are_not_plotted() -> None:
    groups: list[list[str]] = [["Bach"], ["Liszt"]]
    assert make_parallel_plot([run_of(str(index), index, {"data.groups": group}) for index, group in enumerate(groups)]) is None


@pytest.mark.parametrize(
    ("first", "second", "comparable"),
    [
        ({}, {"training.learning_rate": 0.1}, {"loss", "valid loss"}),
        ({}, {"data.transpose": 6}, {"valid loss"}),
        ({}, {"model.silence": True}, set()),
        ({}, {"training.loss": "weighted_mse"}, set()),
        ({"model.activation": "sigmoid", "training.loss": "crossentropy"}, {"model.name": "split"}, set()),
    ],
)
def test_losses_are_comparable_if_they_are_means_of_the_same_terms(
    first: dict[str, Any], second: dict[str, Any], comparable: set[str]
) -> None:
    columns = compare([run_of("0000", 6.0, first), run_of("0001", 6.0, second)])
    assert {column.title for column in columns if column.best and "loss" in column.title} == comparable


@pytest.mark.parametrize(("is_own", "num_outside"), [(True, 0), (False, None)])
def test_metrics_outside_the_spread_are_those_of_the_samples_of_the_run(is_own: bool, num_outside: int | None) -> None:
    """And not of samples that were drawn later, if those of the run cannot be compared."""
    parameters = SampleParameters("0000", 0, 0, 1.0, 1.0, None, None, None, None, "drawn", 1, "ckpt-1")
    comparison = Comparison(cast(Corpus, None), 1, [], [])
    run = replace(run_of("0000", 6.0), sets=[SampleSet(is_own, parameters, [], comparison, None)])
    assert run.num_outside == num_outside


def test_origins_name_store_code_versions_and_the_newest_run_but_no_path() -> None:
    clean, changed = GitState("abc", ""), GitState("abc", "diff")
    runs = [
        run_of("0000", 6.0, git=clean, attempts=[attempt_of("10:00", "10:30"), attempt_of("12:00")]),
        run_of("0001", 6.0, git=clean, attempts=[attempt_of("11:00", "11:30")]),
        run_of("0002", git=changed),
    ]
    assert list_origins(runs) == [
        ("store", "corpus.h5, fingerprint f00d"),
        ("code", "commit abc (2 runs)"),
        ("code", "commit abc with uncommitted changes (1 run)"),
        ("versions", "keras 3.15"),
        ("newest run", "0000, started 2026-03-01 12:00 +0100"),
    ]
    assert list_origins([run_of("0000")])[1:] == [
        ("code", "not in a git checkout"),
        ("versions", "keras 3.15"),
        ("newest run", "no run has started"),
    ]
