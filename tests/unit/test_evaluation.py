"""Every measure is what plain counting finds, and trivial predictors are what a network of the same probabilities would be."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.config import DataConfig
from pianogen.data.statistics import Statistics, gather_statistics
from pianogen.data.windows import Windows, find_windows
from pianogen.evaluation.held_out import evaluate, evaluate_held_out
from pianogen.evaluation.scores import THRESHOLDS, score
from pianogen.evaluation.trivial import trivial
from pianogen.models.features import features
from pianogen.models.network import DecisionRule
from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store, store_of

DATA = DataConfig(window_steps=24, stride=5)


class Stated:
    """A network that only states probabilities: an output is (B, 88, 3) logits and (B,) tempo_us."""

    def logits(self, packed: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def predict(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> Any:
        return self.logits(packed), tf.cast(tempo_us[:, -1] * 2, tf.int32)

    def log_likelihood(self, output: Any, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        possible = tf.where(sounding[..., tf.newaxis] | (tf.range(3) != HOLD), output[0], -1e9)
        return tf.reduce_sum(tf.gather(tf.nn.log_softmax(possible), tf.cast(states, tf.int32), batch_dims=2), axis=-1)

    def draw(self, output: Any, sounding: tf.Tensor, uniforms: tf.Tensor, rule: DecisionRule) -> Any:
        return rule(output[0], sounding, uniforms), output[1]


class Projection(Stated):
    """An arbitrary function of the last row."""

    def __init__(self) -> None:
        random = np.random.default_rng(5)
        self.weights = (random.normal(size=(176, 264)) * 0.5 + np.tile([0.1, 0.0, 0.0], 88)).astype(np.float32)

    def logits(self, packed: tf.Tensor) -> tf.Tensor:
        last = features(packed[:, -1], tf.ones(tf.shape(packed)[:1], tf.int32))[:, :-1]
        return tf.reshape(last @ self.weights, [-1, 88, 3])


class Echo(Stated):
    """Sure that everything comes back after `period` steps."""

    def __init__(self, period: int) -> None:
        self.period = period

    def logits(self, packed: tf.Tensor) -> tf.Tensor:
        row = features(packed[:, -self.period], tf.ones(tf.shape(packed)[:1], tf.int32))
        onset, hold = row[:, :88], row[:, 88:176]
        return 20 * tf.stack([1 - onset - hold, onset, hold], axis=-1)


class Markov(Stated):
    """The transition frequencies of the corpus, as a network."""

    def __init__(self, statistics: Statistics) -> None:
        self.log_counts = np.log(statistics.transition_counts + 1).astype(np.float32)

    def logits(self, packed: tf.Tensor) -> tf.Tensor:
        row = features(packed[:, -1], tf.ones(tf.shape(packed)[:1], tf.int32))
        before = tf.cast(row[:, :88] + 2 * row[:, 88:176], tf.int32)
        return tf.gather(tf.repeat(self.log_counts[tf.newaxis], len(packed), axis=0), before, batch_dims=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    splits = [Split.TRAIN, Split.VALID, Split.TRAIN, Split.VALID, Split.TEST]
    with Store(made_store(tmp_path_factory.mktemp("store") / "c.h5", splits)) as store:
        yield store


@pytest.fixture(scope="module")
def statistics(store: Store) -> Statistics:
    return gather_statistics(find_windows(store, Split.TRAIN, DATA))


@pytest.fixture(scope="module")
def valid(store: Store) -> Windows:
    return find_windows(store, Split.VALID, DATA)


def targets(seeds: list[int]) -> list[tuple[Roll, int]]:
    """The made pieces of these seeds, each with every step that a window of DATA predicts."""
    rolls = [made_roll(seed, 120 + seed) for seed in seeds]
    return [(roll, step) for roll in rolls for step in range(DATA.window_steps, len(roll), DATA.stride)]


def plain_scores(predicted: list[list[int]], true: list[list[int]]) -> dict[str, float]:
    """The measures, state by state."""
    pairs = [pair for rows in zip(predicted, true, strict=True) for pair in zip(*rows, strict=True)]
    hits = sum(p == t == ONSET for p, t in pairs)
    struck, wanted = sum(p == ONSET for p, _ in pairs), sum(t == ONSET for _, t in pairs)
    both, either = sum(p > 0 and t > 0 for p, t in pairs), sum(p > 0 or t > 0 for p, t in pairs)
    return {
        "state_accuracy": sum(p == t for p, t in pairs) / len(pairs),
        "frame_accuracy": both / either,
        "onset_precision": hits / struck,
        "onset_recall": hits / wanted,
        "onset_f1": 2 / (struck / hits + wanted / hits),
        "notes_per_step": struck / len(predicted),
    }


def plain_draw(logits: np.ndarray, before: np.ndarray, threshold: float) -> list[int]:
    states = []
    for (silent, onset, hold), last in zip(logits.tolist(), before, strict=True):
        best = max(onset, hold) if last != SILENT else onset
        if 1 / (1 + math.exp(silent - best)) <= threshold:
            states.append(SILENT)
        else:
            states.append(ONSET if best == onset else HOLD)
    return states


def test_measures_are_those_of_plain_counting(valid: Windows) -> None:
    network = Projection()
    found = evaluate(network, valid)
    log_likelihood, tempo_error = 0.0, 0.0
    true, drawn = [], {threshold: [] for threshold in THRESHOLDS}
    for roll, step in targets([1, 3]):
        before, after = roll.states[step - 1], roll.states[step]
        row = np.concatenate([before == ONSET, before == HOLD]).astype(np.float32)
        logits = (row @ network.weights).reshape(88, 3)
        for key in range(88):
            possible = logits[key] if before[key] != SILENT else logits[key, [SILENT, ONSET]]
            log_likelihood += logits[key, after[key]] - math.log(sum(math.exp(each) for each in possible))
        tempo_error += abs(60e6 / (2 * int(roll.tempo_us[step - 1])) - 60e6 / roll.tempo_us[step]) / (60e6 / roll.tempo_us[step])
        true.append(after.tolist())
        for threshold in THRESHOLDS:
            drawn[threshold].append(plain_draw(logits, before, threshold))
    scores = {threshold: plain_scores(drawn[threshold], true) for threshold in THRESHOLDS}
    best = max(THRESHOLDS, key=lambda threshold: scores[threshold]["onset_f1"])
    assert found["steps"] == len(true)
    assert found["nats_per_step"] == pytest.approx(-log_likelihood / len(true), rel=1e-5)
    assert found["tempo_error_percent"] == pytest.approx(100 * tempo_error / len(true))
    assert found["notes_per_step"] == pytest.approx(np.mean(np.array(true) == ONSET) * 88)
    assert found["most_probable"] == pytest.approx(scores[0.5])
    assert found["static_threshold"] == pytest.approx({"threshold": best, **scores[best]})
    assert len({scores[threshold]["onset_f1"] for threshold in THRESHOLDS}) > 5, "thresholds must matter here"


def test_a_given_threshold_is_kept(valid: Windows) -> None:
    chosen = evaluate(Projection(), valid)
    for threshold in (0.2, 0.7):
        given_it = evaluate(Projection(), valid, threshold)
        assert given_it["static_threshold"]["threshold"] == threshold
        assert given_it["static_threshold"]["onset_f1"] <= chosen["static_threshold"]["onset_f1"]
        assert given_it["most_probable"] == chosen["most_probable"]


def test_perfect_prediction_scores_one(tmp_path: Path) -> None:
    pattern = made_roll(0, 12)
    pattern.packed[-1] = 0  # so that nothing is held across the repeats
    piece = Roll(np.tile(pattern.packed, (10, 1)), np.full(120, 500_000, np.uint32))
    with Store(store_of(tmp_path / "c.h5", [piece], [Split.TRAIN])) as store:
        windows = find_windows(store, Split.TRAIN, DATA)
        found = evaluate(Echo(12), windows)
    assert found["nats_per_step"] < 1e-4
    for scores in (found["most_probable"], found["static_threshold"]):
        assert all(scores[name] == 1 for name in scores if name not in ("threshold", "notes_per_step"))
        assert scores["notes_per_step"] == found["notes_per_step"]


def test_trivial_predictors_by_hand(tmp_path: Path) -> None:
    states = np.zeros((6, 88), np.uint8)
    states[:, 40] = [ONSET, HOLD, SILENT, ONSET, HOLD, SILENT]
    piece = Roll(pack(states), np.array([500_000] * 3 + [600_000] * 3, np.uint32))
    with Store(store_of(tmp_path / "c.h5", [piece], [Split.TRAIN])) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=1))
        found = trivial(windows, gather_statistics(windows))
    silent_keys = 87 * 5
    assert found["nothing"]["most_probable"] == {
        "state_accuracy": (silent_keys + 2) / 440,
        "frame_accuracy": 0,
        "onset_precision": None,
        "onset_recall": 0,
        "onset_f1": 0,
        "notes_per_step": 0,
    }
    assert found["repeat"]["most_probable"] == pytest.approx(
        {
            "state_accuracy": silent_keys / 440,
            "frame_accuracy": 2 / 5,
            "onset_precision": 0,
            "onset_recall": 0,
            "onset_f1": 0,
            "notes_per_step": 2 / 5,
        }
    )
    # Of nine counts, one of each state added; a key that is silent has no third state to go to.
    assert found["marginal"]["nats_per_step"] == pytest.approx((4 * math.log(3) + math.log(2)) / 5 - 87 * math.log(7 / 8))
    of_key = -(math.log(2 / 3) + 4 * math.log(3 / 5)) / 5
    assert found["markov"]["nats_per_step"] == pytest.approx(of_key - 87 * math.log(6 / 7))
    assert found["markov"]["most_probable"]["onset_f1"] == found["markov"]["most_probable"]["state_accuracy"] == 1
    assert found["nothing"]["tempo_error_percent"] == found["marginal"]["tempo_error_percent"] == pytest.approx(100 / 11)
    assert found["repeat"]["tempo_error_percent"] == found["markov"]["tempo_error_percent"] == pytest.approx(20 / 5)


def test_markov_is_what_a_network_of_its_probabilities_would_be(valid: Windows, statistics: Statistics) -> None:
    found = trivial(valid, statistics)["markov"]
    network = evaluate(Markov(statistics), valid, found["static_threshold"]["threshold"])
    assert found["nats_per_step"] == pytest.approx(network["nats_per_step"], rel=1e-5)
    assert found["most_probable"] == network["most_probable"]
    assert found["static_threshold"] == network["static_threshold"]
    assert found["static_threshold"]["threshold"] < 0.5


def test_repeating_is_what_plain_counting_finds(valid: Windows, statistics: Statistics) -> None:
    rows = [(roll.states[step - 1].tolist(), roll.states[step].tolist()) for roll, step in targets([1, 3])]
    expected = plain_scores([before for before, _ in rows], [after for _, after in rows])
    assert trivial(valid, statistics)["repeat"]["most_probable"] == pytest.approx(expected)


def test_test_split_is_read_with_the_threshold_of_valid(store: Store, statistics: Statistics) -> None:
    found = evaluate_held_out(Projection(), store, DATA, statistics)
    assert list(found) == ["valid", "test"]
    thresholds = [found[split]["network"]["static_threshold"]["threshold"] for split in found]
    assert thresholds[0] == thresholds[1]
    assert found["test"]["network"]["steps"] == len(targets([4]))
    assert list(found["test"]["trivial"]) == ["nothing", "repeat", "marginal", "markov"]


def test_splits_without_windows_are_left_out(tmp_path: Path, statistics: Statistics) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.TEST])) as store:
        assert list(evaluate_held_out(Projection(), store, DATA, statistics)) == ["test"]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_scores_agree_with_each_other(counts: list[list[int]]) -> None:
    table = np.array(counts)
    found, mirrored = score(table), score(table.T)
    assert found["onset_precision"] == mirrored["onset_recall"]
    for name in ("state_accuracy", "frame_accuracy", "onset_f1"):
        assert found[name] == mirrored[name]
    precision, recall = found["onset_precision"], found["onset_recall"]
    if precision and recall:
        assert found["onset_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert (found["state_accuracy"] is None) == (table.sum() == 0)


def test_test_split_without_valid_has_no_threshold_of_its_own(tmp_path: Path, statistics: Statistics) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.TEST])) as store:
        (found,) = evaluate_held_out(Projection(), store, DATA, statistics).values()
    assert "static_threshold" not in found["network"]
    assert found["network"]["nats_per_step"] > 0
