"""Records show trivial predictors beside a model, and mark a model that does not beat them."""

import math
from typing import Any

import pytest

from jobs.records.held_out import Measure, describe_unbeaten, find_baselines, find_figure, find_unbeaten, with_unbeaten


def predictor(nats: float | None = None, threshold_f1: float | None = None, most_probable_f1: float = 0.0) -> dict[str, Any]:
    """An evaluation in result.json."""
    evaluation: dict[str, Any] = {"most_probable": {"onset_f1": most_probable_f1}}
    if nats is not None:
        evaluation["nats_per_step"] = nats
    if threshold_f1 is not None:
        evaluation["static_threshold"] = {"onset_f1": threshold_f1, "threshold": 0.1}
    return evaluation


TRIVIAL = {
    "nothing": predictor(),
    "repeat": predictor(most_probable_f1=0.1),
    "marginal": predictor(8.0, 0.15, 0.0),
    "markov": predictor(6.75, 0.2, 0.05),
}


@pytest.mark.parametrize(
    ("model", "nats", "onset_f1"),
    [
        (predictor(6.7, 0.3), [], []),
        (predictor(6.75, 0.2), ["markov"], ["markov"]),
        (predictor(7.0, 0.12), ["markov"], ["markov", "marginal"]),
        (predictor(9.18, 0.0), ["markov", "marginal"], ["markov", "marginal", "repeat"]),
        (predictor(math.nan, 0.3), ["markov", "marginal"], []),
        (predictor(math.inf, 0.3), ["markov", "marginal"], []),
        (predictor(1.6, None, 0.6), [], []),
        (predictor(1.6, None, 0.18), [], ["markov"]),
    ],
)
def test_trivial_predictors_that_are_not_beaten_are_named(model: dict[str, Any], nats: list[str], onset_f1: list[str]) -> None:
    split = {"network": model, "trivial": TRIVIAL}
    assert find_unbeaten(split) == {Measure.NATS: nats, Measure.ONSET_F1: onset_f1}
    assert with_unbeaten(split) == {**split, "unbeaten": {"nats_per_step": nats, "onset_f1": onset_f1}}


def test_unbeaten_predictors_are_described_with_their_figures() -> None:
    split = {"network": predictor(9.18, 0.3), "trivial": TRIVIAL}
    assert describe_unbeaten(split, Measure.NATS) == "not better than per-key Markov chain (6.75) and marginals (8)"
    assert describe_unbeaten(split, Measure.ONSET_F1) == ""


def test_a_score_without_a_threshold_is_that_of_the_most_probable_states() -> None:
    split = {"network": predictor(1.6, None, 0.6), "trivial": TRIVIAL}
    assert find_figure(split, Measure.ONSET_F1) == 0.6
    assert find_figure(split, Measure.ONSET_F1, "markov") == 0.2
    assert find_figure(split, Measure.ONSET_F1, "repeat") == 0.1
    assert find_figure(split, Measure.NATS, "repeat") is None


def test_what_was_not_measured_is_not_marked() -> None:
    assert find_figure({}, Measure.NATS) is None
    assert find_unbeaten({}) == {Measure.NATS: [], Measure.ONSET_F1: []}
    assert find_unbeaten({"network": predictor(9.0)})[Measure.NATS] == []


def test_baselines_are_listed_once_for_all_runs_with_the_same_pieces() -> None:
    same = {"valid": {"network": predictor(7.0), "trivial": TRIVIAL}}
    other = {"valid": {"network": predictor(7.0), "trivial": TRIVIAL | {"markov": predictor(5.0)}}}
    baselines = find_baselines({"0000-base": same, "0001-gru": same})
    assert [baseline.title for baseline in baselines] == ["per-key Markov chain", "marginals", "repeat of the last step"]
    assert [baseline.figures["valid", Measure.NATS] for baseline in baselines] == [6.75, 8.0, None]
    assert [baseline.figures["valid", Measure.ONSET_F1] for baseline in baselines] == [0.2, 0.15, 0.1]
    assert [baseline.figures["test", Measure.NATS] for baseline in baselines] == [None, None, None]

    titles = [baseline.title for baseline in find_baselines({"0000-base": same, "0001-gru": same, "0002-bach": other})]
    assert titles[::3] == ["per-key Markov chain (0000-base and 1 more)", "per-key Markov chain (0002-bach)"]
    assert find_baselines({"0000-base": {}}) == []
