"""The rows of the table of metrics, and the text that the page draws distributions from."""

from pathlib import Path

import numpy as np
import pytest

from jobs.report.metric_rows import MetricRow, explain, metric_rows
from pianogen.evaluation.corpus_comparison import Comparison, Corpus, MetricComparison, compare
from pianogen.evaluation.metrics import METRICS
from pianogen.roll_text import DIGITS
from pianogen.store import Store
from tests.support.made_songs import made_song, song_store


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    path = song_store(tmp_path_factory.mktemp("rows") / "songs.h5", 30, 6, 6)
    with Store(Path(path)) as store:
        corpus = Corpus.read(store, [], 256)
    return compare([made_song(100 + seed) for seed in range(4)], corpus)


def entry_and_row(comparison: Comparison, name: str) -> tuple[MetricComparison, MetricRow]:
    index = [entry.metric.name for entry in comparison.metrics].index(name)
    return comparison.metrics[index], metric_rows(comparison)[index]


def heights(text: str) -> np.ndarray:
    return np.array([DIGITS.index(digit) for digit in text])


def test_rows_have_three_significant_digits(comparison: Comparison) -> None:
    entry, row = entry_and_row(comparison, "note_length")
    assert row.title == "note lengths, steps"
    assert row.means == [f"{part.mean:.2f}" for part in (entry.samples, entry.train, entry.valid, entry.test)]
    entry, row = entry_and_row(comparison, "tempo")
    assert [float(mean) for mean in row.means[:1]] == [round(entry.samples.mean, 1 if entry.samples.mean < 100 else 0)]
    _, row = entry_and_row(comparison, "silent_steps")
    assert all(len(mean) <= 5 for mean in row.means)


def test_classes_have_no_mean(comparison: Comparison) -> None:
    for metric in METRICS:
        _, row = entry_and_row(comparison, metric.name)
        assert [bool(mean) for mean in row.means] == [metric.is_ordered] * 4


def test_plot_has_the_heights_of_the_occupied_bins(comparison: Comparison) -> None:
    entry, row = entry_and_row(comparison, "note_length")  # in bins of one step, from 2 to 8 steps
    samples, held_out = entry.samples.histogram, entry.held_out.histogram
    occupied = np.flatnonzero(samples + held_out)
    bins = slice(occupied[0], occupied[-1] + 1)
    assert (row.plot.low, row.plot.high) == (str(occupied[0] + 1), str(occupied[-1] + 1))
    highest = max(samples.max(), held_out.max())
    np.testing.assert_array_equal(heights(row.plot.samples), np.ceil(63 * samples[bins] / highest))
    np.testing.assert_array_equal(heights(row.plot.held_out), np.ceil(63 * held_out[bins] / highest))


def test_plot_merges_bins_to_two_dozen_bars(comparison: Comparison) -> None:
    for metric in METRICS:
        _, row = entry_and_row(comparison, metric.name)
        assert len(row.plot.samples) == len(row.plot.held_out) <= 24
        assert max(heights(row.plot.samples + row.plot.held_out)) == 63
        assert float(row.plot.low) <= float(row.plot.high)
    entry, row = entry_and_row(comparison, "pitch")
    occupied = np.flatnonzero(entry.samples.histogram + entry.held_out.histogram)
    assert 48 < occupied[-1] - occupied[0] + 1 <= 72  # so a bar has three keys
    shares = np.pad(entry.samples.histogram[occupied[0] :], (0, 72))[:72].reshape(24, 3).sum(axis=1)
    drawn = heights(row.plot.samples)
    assert np.corrcoef(drawn, shares[: len(drawn)])[0, 1] > 0.99


def test_explanation_has_the_numbers_of_excerpts(comparison: Comparison) -> None:
    assert explain(comparison) == (
        "Excerpts of 256 steps of 4 samples and of 12 held-out pieces of songs.h5. Real music: the median score of sets of 4 "
        "excerpts of train pieces against the same held-out pieces. At least 99 % of these sets are within the limits of all "
        "metrics."
    )
