"""Scores equal counts over all states, and trivial predictors equal networks with the same probabilities."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.config import DataConfig
from pianogen.data.statistics import Statistics, compute_statistics
from pianogen.data.windows import Windows, find_windows
from pianogen.errors import Interrupted
from pianogen.evaluation.held_out import evaluate, evaluate_held_out
from pianogen.evaluation.scores import THRESHOLDS, Evaluation, Scores, ThresholdScores, score
from pianogen.evaluation.trivial import evaluate_trivial
from pianogen.models.features import features
from pianogen.models.network import DecisionRule, Network
from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store, store_of

DATA = DataConfig(window_steps=24, stride=5)


@dataclass
class FixedNetwork:
    """The part of a network that evaluation uses, without weights.

    Attributes:
        logits: maps (B, W, 22) packed windows to (B, 88, 3) logits for the row after each window.
    """

    logits: Callable[[tf.Tensor], tf.Tensor]

    def predict(self, packed: tf.Tensor, tempo_us: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.logits(packed), tf.cast(tempo_us[:, -1] * 2, tf.int32)

    def log_likelihood(self, output: tuple[tf.Tensor, tf.Tensor], states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        legal = tf.where(sounding[..., tf.newaxis] | (tf.range(3) != HOLD), output[0], -1e9)
        return tf.reduce_sum(tf.gather(tf.nn.log_softmax(legal), tf.cast(states, tf.int32), batch_dims=2), axis=-1)

    def draw(
        self, output: tuple[tf.Tensor, tf.Tensor], sounding: tf.Tensor, uniforms: tf.Tensor, rule: DecisionRule
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return rule(output[0], sounding, uniforms), output[1]


def key_features(packed: tf.Tensor) -> tf.Tensor:
    """(B, 176) features of (B, 22) packed rows without the tempo."""
    return features(packed, tf.ones(tf.shape(packed)[:1], tf.int32), tempo=False)


def projection_weights() -> np.ndarray:
    """(176, 264) float32."""
    weights = np.random.default_rng(5).normal(size=(176, 264)) * 0.5 + np.tile([0.1, 0.0, 0.0], 88)
    return np.asarray(weights.astype(np.float32))


def projection() -> Network:
    """Predicts logits that are a random linear function of the last row."""
    weights = projection_weights()
    return cast(Network, FixedNetwork(lambda packed: tf.reshape(key_features(packed[:, -1]) @ weights, [-1, 88, 3])))


def periodic(period: int) -> Network:
    """Predicts the row of `period` steps before with a probability close to 1."""

    def logits(packed: tf.Tensor) -> tf.Tensor:
        onset, hold = tf.split(key_features(packed[:, -period]), 2, axis=-1)
        return 20 * tf.stack([1 - onset - hold, onset, hold], axis=-1)

    return cast(Network, FixedNetwork(logits))


def markov_network(statistics: Statistics) -> Network:
    """Predicts the transition frequencies of the corpus."""
    log_counts = np.log(statistics.transition_counts + 1).astype(np.float32)

    def logits(packed: tf.Tensor) -> tf.Tensor:
        onset, hold = tf.split(key_features(packed[:, -1]), 2, axis=-1)
        last_state = tf.cast(ONSET * onset + HOLD * hold, tf.int32)
        return tf.gather(tf.repeat(log_counts[tf.newaxis], len(packed), axis=0), last_state, batch_dims=2)

    return cast(Network, FixedNetwork(logits))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    splits = [Split.TRAIN, Split.VALID, Split.TRAIN, Split.VALID, Split.TEST]
    with Store(made_store(tmp_path_factory.mktemp("store") / "c.h5", splits)) as store:
        yield store


@pytest.fixture(scope="module")
def statistics(store: Store) -> Statistics:
    return compute_statistics(find_windows(store, Split.TRAIN, DATA))


@pytest.fixture(scope="module")
def valid(store: Store) -> Windows:
    return find_windows(store, Split.VALID, DATA)


def targets(seeds: list[int]) -> list[tuple[Roll, int]]:
    """The rolls of these seeds, with every step that a window of DATA predicts."""
    rolls = [made_roll(seed, 120 + seed) for seed in seeds]
    return [(roll, step) for roll in rolls for step in range(DATA.window_steps, len(roll), DATA.stride or 1)]


def reference_scores(predicted: list[list[int]], true: list[list[int]]) -> Scores:
    """The scores, counted state by state."""
    pairs = [pair for rows in zip(predicted, true, strict=True) for pair in zip(*rows, strict=True)]
    num_correct = sum(p == t == ONSET for p, t in pairs)
    num_predicted, num_true = sum(p == ONSET for p, _ in pairs), sum(t == ONSET for _, t in pairs)
    both, either = sum(p > 0 and t > 0 for p, t in pairs), sum(p > 0 or t > 0 for p, t in pairs)
    return Scores(
        state_accuracy=sum(p == t for p, t in pairs) / len(pairs),
        frame_accuracy=both / either,
        onset_precision=num_correct / num_predicted,
        onset_recall=num_correct / num_true,
        onset_f1=2 / (num_predicted / num_correct + num_true / num_correct),
        notes_per_step=num_predicted / len(predicted),
    )


def reference_states(logits: np.ndarray, before: np.ndarray, threshold: float) -> list[int]:
    """The states that a threshold selects, key by key."""
    states = []
    for (silent, onset, hold), last in zip(logits.tolist(), before, strict=True):
        best = max(onset, hold) if last != SILENT else onset
        if 1 / (1 + math.exp(silent - best)) <= threshold:
            states.append(SILENT)
        else:
            states.append(ONSET if best == onset else HOLD)
    return states


def static_threshold(evaluation: Evaluation) -> ThresholdScores:
    assert evaluation.static_threshold is not None
    return evaluation.static_threshold


def nats_per_step(evaluation: Evaluation) -> float:
    assert evaluation.nats_per_step is not None
    return evaluation.nats_per_step


def test_evaluation_equals_a_count_over_all_states(valid: Windows) -> None:
    weights = projection_weights()
    evaluation = evaluate(projection(), valid)
    log_likelihood, tempo_error = 0.0, 0.0
    true: list[list[int]] = []
    predicted: dict[float, list[list[int]]] = {threshold: [] for threshold in THRESHOLDS}
    for roll, step in targets([1, 3]):
        before, after = roll.states[step - 1], roll.states[step]
        row = np.concatenate([before == ONSET, before == HOLD]).astype(np.float32)
        logits = (row @ weights).reshape(88, 3)
        for key in range(88):
            legal = logits[key] if before[key] != SILENT else logits[key, [SILENT, ONSET]]
            log_likelihood += logits[key, after[key]] - math.log(sum(math.exp(logit) for logit in legal))
        tempo_error += abs(60e6 / (2 * int(roll.tempo_us[step - 1])) - 60e6 / roll.tempo_us[step]) / (60e6 / roll.tempo_us[step])
        true.append(after.tolist())
        for threshold in THRESHOLDS:
            predicted[threshold].append(reference_states(logits, before, threshold))
    scores = {threshold: asdict(reference_scores(predicted[threshold], true)) for threshold in THRESHOLDS}
    best = max(THRESHOLDS, key=lambda threshold: float(scores[threshold]["onset_f1"]))
    assert evaluation.steps == len(true)
    assert nats_per_step(evaluation) == pytest.approx(-log_likelihood / len(true), rel=1e-5)
    assert evaluation.tempo_error_percent == pytest.approx(100 * tempo_error / len(true))
    assert evaluation.notes_per_step == pytest.approx(np.mean(np.array(true) == ONSET) * 88)
    assert asdict(evaluation.most_probable) == pytest.approx(scores[0.5])
    assert asdict(static_threshold(evaluation)) == pytest.approx({**scores[best], "threshold": best})
    assert len({scores[threshold]["onset_f1"] for threshold in THRESHOLDS}) > 5, "the scores must depend on the threshold"


@pytest.mark.parametrize("threshold", [0.2, 0.7])
def test_configured_threshold_is_used(valid: Windows, threshold: float) -> None:
    best = evaluate(projection(), valid)
    configured = evaluate(projection(), valid, threshold)
    assert static_threshold(configured).threshold == threshold
    assert (static_threshold(configured).onset_f1 or 0) <= (static_threshold(best).onset_f1 or 0)
    assert configured.most_probable == best.most_probable


def test_perfect_prediction_scores_one(tmp_path: Path) -> None:
    pattern = made_roll(0, 12)
    pattern.packed[-1] = 0  # so that nothing is held across the repetitions
    piece = Roll(np.tile(pattern.packed, (10, 1)), np.full(120, 500_000, np.uint32))
    with Store(store_of(tmp_path / "c.h5", [piece], [Split.TRAIN])) as store:
        evaluation = evaluate(periodic(12), find_windows(store, Split.TRAIN, DATA))
    assert nats_per_step(evaluation) < 1e-4
    perfect = Scores(1, 1, 1, 1, 1, notes_per_step=evaluation.notes_per_step)
    assert evaluation.most_probable == perfect
    assert {**asdict(perfect), "threshold": 0.01} == asdict(static_threshold(evaluation))


def test_trivial_predictors_of_a_small_piece(tmp_path: Path) -> None:
    states = np.zeros((6, 88), np.uint8)
    states[:, 40] = [ONSET, HOLD, SILENT, ONSET, HOLD, SILENT]
    piece = Roll(pack(states), np.array([500_000] * 3 + [600_000] * 3, np.uint32))
    with Store(store_of(tmp_path / "c.h5", [piece], [Split.TRAIN])) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=1))
        trivial = evaluate_trivial(windows, compute_statistics(windows))
    num_silent = 87 * 5  # states of the other keys
    assert trivial["nothing"].most_probable == Scores(
        state_accuracy=(num_silent + 2) / 440,
        frame_accuracy=0,
        onset_precision=None,
        onset_recall=0,
        onset_f1=0,
        notes_per_step=0,
    )
    assert asdict(trivial["repeat"].most_probable) == pytest.approx(
        {
            "state_accuracy": num_silent / 440,
            "frame_accuracy": 2 / 5,
            "onset_precision": 0,
            "onset_recall": 0,
            "onset_f1": 0,
            "notes_per_step": 2 / 5,
        }
    )
    # Key 40 has 2 counts of each state, plus 1 each. After silence, only silence and onset are legal. The other 87 keys have 6
    # counts of silence, plus 1 of each state.
    assert nats_per_step(trivial["marginal"]) == pytest.approx((4 * math.log(3) + math.log(2)) / 5 - 87 * math.log(7 / 8))
    key_nats = -(math.log(2 / 3) + 4 * math.log(3 / 5)) / 5
    assert nats_per_step(trivial["markov"]) == pytest.approx(key_nats - 87 * math.log(6 / 7))
    assert trivial["markov"].most_probable.onset_f1 == trivial["markov"].most_probable.state_accuracy == 1
    assert trivial["nothing"].tempo_error_percent == trivial["marginal"].tempo_error_percent == pytest.approx(100 / 11)
    assert trivial["repeat"].tempo_error_percent == trivial["markov"].tempo_error_percent == pytest.approx(20 / 5)


def test_markov_equals_a_network_with_its_probabilities(valid: Windows, statistics: Statistics) -> None:
    markov = evaluate_trivial(valid, statistics)["markov"]
    network = evaluate(markov_network(statistics), valid, static_threshold(markov).threshold)
    assert nats_per_step(markov) == pytest.approx(nats_per_step(network), rel=1e-5)
    assert markov.most_probable == network.most_probable
    assert markov.static_threshold == network.static_threshold
    assert static_threshold(markov).threshold < 0.5


def test_repeat_equals_a_count_over_all_states(valid: Windows, statistics: Statistics) -> None:
    rows = [(roll.states[step - 1].tolist(), roll.states[step].tolist()) for roll, step in targets([1, 3])]
    expected = reference_scores([before for before, _ in rows], [after for _, after in rows])
    assert asdict(evaluate_trivial(valid, statistics)["repeat"].most_probable) == pytest.approx(asdict(expected))


def test_threshold_chosen_on_valid_is_applied_to_test(store: Store, statistics: Statistics) -> None:
    evaluations = evaluate_held_out(projection(), store, DATA, statistics)
    assert list(evaluations) == ["valid", "test"]
    thresholds = [static_threshold(evaluation.network).threshold for evaluation in evaluations.values()]
    assert thresholds[0] == thresholds[1]
    assert evaluations["test"].network.steps == len(targets([4]))
    assert list(evaluations["test"].trivial) == ["nothing", "repeat", "marginal", "markov"]


def test_result_json_has_the_keys_of_the_contract(store: Store, statistics: Statistics) -> None:
    values = evaluate_held_out(projection(), store, DATA, statistics)["valid"].as_json()
    scores = {"state_accuracy", "frame_accuracy", "onset_precision", "onset_recall", "onset_f1", "notes_per_step"}
    network, trivial = values["network"], values["trivial"]
    with_probabilities = {"nats_per_step", "tempo_error_percent", "most_probable", "static_threshold"}
    assert set(network) == {"steps", "notes_per_step", *with_probabilities}
    assert set(trivial["nothing"]) == set(trivial["repeat"]) == {"tempo_error_percent", "most_probable"}
    assert set(trivial["marginal"]) == set(trivial["markov"]) == with_probabilities
    for evaluation in (network, trivial["marginal"], trivial["markov"]):
        assert set(evaluation["most_probable"]) == scores
        assert set(evaluation["static_threshold"]) == {"threshold", *scores}


def test_splits_without_windows_are_not_evaluated(tmp_path: Path, statistics: Statistics) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.TEST])) as store:
        assert list(evaluate_held_out(projection(), store, DATA, statistics)) == ["test"]


def test_test_split_without_valid_has_no_threshold(tmp_path: Path, statistics: Statistics) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.TEST])) as store:
        (evaluation,) = evaluate_held_out(projection(), store, DATA, statistics).values()
    assert evaluation.network.static_threshold is None
    assert "static_threshold" not in evaluation.as_json()["network"]
    assert nats_per_step(evaluation.network) > 0


def test_shutdown_request_stops_the_evaluation(valid: Windows) -> None:
    with pytest.raises(Interrupted, match="received a shutdown signal during the evaluation"):
        evaluate(projection(), valid, shutdown_requested=lambda: True)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_scores_are_consistent(counts: list[list[int]]) -> None:
    table = np.array(counts)
    scores, mirrored = score(table), score(table.T)
    assert scores.onset_precision == mirrored.onset_recall
    assert scores.state_accuracy == mirrored.state_accuracy
    assert scores.frame_accuracy == mirrored.frame_accuracy
    assert scores.onset_f1 == mirrored.onset_f1
    assert (scores.state_accuracy is None) == (table.sum() == 0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_onset_f1_is_the_harmonic_mean_of_precision_and_recall(counts: list[list[int]]) -> None:
    scores = score(np.array(counts))
    assert scores.onset_precision is not None
    assert scores.onset_recall is not None
    assert scores.onset_f1 == pytest.approx(2 / (1 / scores.onset_precision + 1 / scores.onset_recall))
