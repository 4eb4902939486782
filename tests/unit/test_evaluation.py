"""Scores equal counts over all states, and trivial predictors equal networks with the same probabilities."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.config import DataConfig, ModelName
from pianogen.data.statistics import Statistics, compute_statistics
from pianogen.data.windows import Windows, find_windows
from pianogen.errors import Interrupted
from pianogen.evaluation.held_out import evaluate, evaluate_held_out
from pianogen.evaluation.scores import THRESHOLDS, Evaluation, Scores, ThresholdScores, score
from pianogen.evaluation.trivial import evaluate_trivial
from pianogen.models.features import features
from pianogen.models.network import Decision, Network, threshold_states
from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack
from pianogen.store import Split, Store
from pianogen.window import Window
from tests.support.made_music import made_roll, made_store, store_of
from tests.support.made_networks import (
    REPORT_MODELS,
    SILENCE_US,
    WINDOW_STEPS,
    after_silence,
    made_network,
    reference_probabilities,
    window_of,
)
from tests.support.rolls import roll_in_4_4

DATA = DataConfig(window_steps=24, stride=5)
VALID_STEPS = [121, 10, 123, *range(1, 18)]  # most pieces are shorter than a window, and one batch does not contain all of them
VALID_SEEDS = range(10, 10 + len(VALID_STEPS))


@dataclass
class FixedNetwork:
    """The part of a network that evaluation uses, without weights.

    Attributes:
        logits: maps (B, W, 22) packed rows to (B, W, 88, 3) logits of the rows that are `delay` steps later.
        before: (delay - 1, 22) rows before the row of silence that precedes a piece.
        has_rule: see `Network`.
    """

    logits: Callable[[tf.Tensor], tf.Tensor]
    before: np.ndarray = field(default_factory=lambda: np.zeros((0, 22), np.uint8))
    has_rule: bool = True
    reads_context: bool = False

    def initial_state(self, batch: int, num_steps: int, tempo_us: int) -> tf.Tensor:
        del num_steps, tempo_us
        return tf.repeat(tf.constant(self.before)[tf.newaxis], batch, axis=0)

    def read(self, window: Window, state: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
        rows, num_rows = tf.concat([state, window.packed[:, :-1]], axis=1), window.packed.shape[1] - 1
        return (self.logits(rows[:, :num_rows]), 2 * window.tempo_us[:, :-1]), rows[:, num_rows:]

    def log_likelihood(self, output: tuple[tf.Tensor, tf.Tensor], states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        legal = tf.where(sounding[..., tf.newaxis] | (tf.range(3) != HOLD), output[0], -1e9)
        return tf.reduce_sum(tf.gather(tf.nn.log_softmax(legal), tf.cast(states, tf.int32), batch_dims=3), axis=-1)

    def draw(
        self, output: tuple[tf.Tensor, tf.Tensor], sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if decision.rule is None:
            return threshold_states(output[0], sounding, 0.5), output[1]
        return decision.rule(output[0], sounding, uniforms), output[1]


def key_features(packed: tf.Tensor) -> tf.Tensor:
    """(…, 176) features of (…, 22) packed rows without the tempo."""
    return features(packed, tf.ones(tf.shape(packed)[:-1], tf.int32), tempo=False)


def projection_weights() -> np.ndarray:
    """(176, 264) float32."""
    weights = np.random.default_rng(5).normal(size=(176, 264)) * 0.5 + np.tile([0.1, 0.0, 0.0], 88)
    return np.asarray(weights.astype(np.float32))


def projection(has_rule: bool = True) -> Network:
    """Predicts logits that are a random linear function of the last row."""
    weights = tf.constant(projection_weights())

    def logits(packed: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.tensordot(key_features(packed), weights, 1), [*packed.shape[:2], 88, 3])

    return cast(Network, FixedNetwork(logits, has_rule=has_rule))


def periodic(pattern: np.ndarray) -> Network:
    """Predicts the repetitions of (N, 22) rows, of which the last one is silent, with a probability close to 1."""

    def logits(packed: tf.Tensor) -> tf.Tensor:
        onset, hold = tf.split(key_features(packed), 2, axis=-1)
        return 20 * tf.stack([1 - onset - hold, onset, hold], axis=-1)

    return cast(Network, FixedNetwork(logits, before=pattern[:-1]))


def markov_network(statistics: Statistics) -> Network:
    """Predicts the transition frequencies of the corpus."""
    log_counts = tf.constant(np.log(statistics.transition_counts + 1).astype(np.float32))

    def logits(packed: tf.Tensor) -> tf.Tensor:
        onset, hold = tf.split(key_features(packed), 2, axis=-1)
        last_state = tf.cast(ONSET * onset + HOLD * hold, tf.int32)
        return tf.gather_nd(log_counts, tf.stack([tf.broadcast_to(tf.range(88), last_state.shape), last_state], axis=-1))

    return cast(Network, FixedNetwork(logits))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    valid = made_rolls(VALID_SEEDS, VALID_STEPS)
    rolls = [*made_rolls([0, 2, 4], [120, 122, 124]), *valid]
    splits = [Split.TRAIN, Split.TRAIN, Split.TEST] + [Split.VALID] * len(valid)
    with Store(store_of(tmp_path_factory.mktemp("store") / "c.h5", rolls, splits)) as store:
        yield store


@pytest.fixture(scope="module")
def statistics(store: Store) -> Statistics:
    return compute_statistics(find_windows(store, Split.TRAIN, DATA))


@pytest.fixture(scope="module")
def valid(store: Store) -> Windows:
    return find_windows(store, Split.VALID, DATA)


def made_rolls(seeds: Sequence[int], steps: Sequence[int]) -> list[Roll]:
    return [made_roll(seed, num_steps) for seed, num_steps in zip(seeds, steps, strict=True)]


def transitions() -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
    """Every step of the valid pieces: (88,) states before and at the step, and the tempos before and at the step."""
    for roll in made_rolls(VALID_SEEDS, VALID_STEPS):
        states, tempos = np.vstack([np.zeros((1, 88), np.uint8), roll.states]), [SILENCE_US, *roll.tempo_us.tolist()]
        yield from zip(states[:-1], states[1:], tempos[:-1], tempos[1:], strict=True)


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
    evaluation = evaluate(projection(), valid, SILENCE_US)
    log_likelihood, tempo_error = 0.0, 0.0
    true: list[list[int]] = []
    predicted: dict[float, list[list[int]]] = {threshold: [] for threshold in THRESHOLDS}
    for before, after, last_us, tempo_us in transitions():
        row = np.concatenate([before == ONSET, before == HOLD]).astype(np.float32)
        logits = (row @ weights).reshape(88, 3).astype(float)
        for key in range(88):
            legal = logits[key] if before[key] != SILENT else logits[key, [SILENT, ONSET]]
            log_likelihood += logits[key, after[key]] - math.log(sum(math.exp(logit) for logit in legal))
        tempo_error += abs(60e6 / (2 * last_us) - 60e6 / tempo_us) / (60e6 / tempo_us)
        true.append(after.tolist())
        for threshold in THRESHOLDS:
            predicted[threshold].append(reference_states(logits, before, threshold))
    scores = {threshold: asdict(reference_scores(predicted[threshold], true)) for threshold in THRESHOLDS}
    best = max(THRESHOLDS, key=lambda threshold: float(scores[threshold]["onset_f1"]))
    assert evaluation.steps == len(true) == sum(VALID_STEPS)
    assert nats_per_step(evaluation) == pytest.approx(-log_likelihood / len(true), rel=1e-5)
    assert evaluation.tempo_error_percent == pytest.approx(100 * tempo_error / len(true))
    assert evaluation.notes_per_step == pytest.approx(np.mean(np.array(true) == ONSET) * 88)
    assert asdict(evaluation.most_probable) == pytest.approx(scores[0.5])
    assert asdict(static_threshold(evaluation)) == pytest.approx({**scores[best], "threshold": best})
    assert len({scores[threshold]["onset_f1"] for threshold in THRESHOLDS}) > 5, "the scores must depend on the threshold"


@pytest.mark.parametrize("threshold", [0.2, 0.7])
def test_configured_threshold_is_used(valid: Windows, threshold: float) -> None:
    best = evaluate(projection(), valid, SILENCE_US)
    configured = evaluate(projection(), valid, SILENCE_US, threshold)
    assert static_threshold(configured).threshold == threshold
    assert (static_threshold(configured).onset_f1 or 0) <= (static_threshold(best).onset_f1 or 0)
    assert configured.most_probable == best.most_probable


def test_perfect_prediction_scores_one(tmp_path: Path) -> None:
    pattern = made_roll(0, 12)
    pattern.packed[-1] = 0  # so that nothing is held across the repetitions
    piece = roll_in_4_4(np.tile(pattern.packed, (10, 1)), np.full(120, 500_000, np.uint32))
    with Store(store_of(tmp_path / "c.h5", [piece], [Split.TRAIN])) as store:
        evaluation = evaluate(periodic(pattern.packed), find_windows(store, Split.TRAIN, DATA), SILENCE_US)
    assert nats_per_step(evaluation) < 1e-4
    perfect = Scores(1, 1, 1, 1, 1, notes_per_step=evaluation.notes_per_step)
    assert evaluation.most_probable == perfect
    assert {**asdict(perfect), "threshold": 0.01} == asdict(static_threshold(evaluation))


def test_trivial_predictors_of_a_small_piece(tmp_path: Path) -> None:
    states = np.zeros((6, 88), np.uint8)
    states[:, 40] = [ONSET, HOLD, SILENT, ONSET, HOLD, SILENT]
    piece = roll_in_4_4(pack(states), np.array([500_000] * 3 + [600_000] * 3, np.uint32))
    with Store(store_of(tmp_path / "c.h5", [piece], [Split.TRAIN])) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=1))
        trivial = evaluate_trivial(windows, compute_statistics(windows))
    num_silent = 87 * 6  # states of the other keys
    assert trivial["nothing"].most_probable == Scores(
        state_accuracy=(num_silent + 2) / 528,
        frame_accuracy=0,
        onset_precision=None,
        onset_recall=0,
        onset_f1=0,
        notes_per_step=0,
    )
    assert asdict(trivial["repeat"].most_probable) == pytest.approx(
        {
            "state_accuracy": num_silent / 528,
            "frame_accuracy": 2 / 6,
            "onset_precision": 0,
            "onset_recall": 0,
            "onset_f1": 0,
            "notes_per_step": 2 / 6,
        }
    )
    # Key 40 has 2 counts of each state, plus 1 each. After silence, also before the first step, only silence and onset are legal.
    # The other 87 keys have 6 counts of silence, plus 1 of each state.
    assert nats_per_step(trivial["marginal"]) == pytest.approx((4 * math.log(3) + 2 * math.log(2)) / 6 - 87 * math.log(7 / 8))
    key_nats = -(2 * math.log(2 / 3) + 4 * math.log(3 / 5)) / 6
    assert nats_per_step(trivial["markov"]) == pytest.approx(key_nats - 87 * math.log(6 / 7))
    assert trivial["markov"].most_probable.onset_f1 == trivial["markov"].most_probable.state_accuracy == 1
    assert trivial["nothing"].tempo_error_percent == trivial["marginal"].tempo_error_percent == pytest.approx(100 / 11)
    assert trivial["repeat"].tempo_error_percent == trivial["markov"].tempo_error_percent == pytest.approx((100 / 11 + 20) / 6)


def test_markov_equals_a_network_with_its_probabilities(valid: Windows, statistics: Statistics) -> None:
    markov = evaluate_trivial(valid, statistics)["markov"]
    network = evaluate(markov_network(statistics), valid, statistics.median_tempo_us, static_threshold(markov).threshold)
    assert nats_per_step(markov) == pytest.approx(nats_per_step(network), rel=1e-5)
    assert markov.most_probable == network.most_probable
    assert markov.static_threshold == network.static_threshold
    assert static_threshold(markov).threshold < 0.5


def test_repeat_equals_a_count_over_all_states(valid: Windows, statistics: Statistics) -> None:
    rows = [(before.tolist(), after.tolist()) for before, after, _, _ in transitions()]
    expected = reference_scores([before for before, _ in rows], [after for _, after in rows])
    assert asdict(evaluate_trivial(valid, statistics)["repeat"].most_probable) == pytest.approx(asdict(expected))


def test_threshold_chosen_on_valid_is_applied_to_test(store: Store, statistics: Statistics) -> None:
    evaluations = evaluate_held_out(projection(), store, DATA, statistics)
    assert list(evaluations) == ["valid", "test"]
    thresholds = [static_threshold(evaluation.network).threshold for evaluation in evaluations.values()]
    assert thresholds[0] == thresholds[1]
    assert evaluations["test"].network.steps == 124
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


@pytest.mark.parametrize(("split", "other"), [(Split.TEST, "valid"), (Split.VALID, "test")])
def test_splits_without_pieces_are_not_evaluated(
    tmp_path: Path, statistics: Statistics, caplog: pytest.LogCaptureFixture, split: Split, other: str
) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, split])) as store:
        assert list(evaluate_held_out(projection(), store, DATA, statistics)) == [split.name.lower()]
    assert f"the {other} split has no pieces" in caplog.text


def test_split_of_pieces_that_are_shorter_than_a_window_is_evaluated(tmp_path: Path, statistics: Statistics) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.VALID], steps=10)) as store:
        assert evaluate_held_out(projection(), store, DATA, statistics)["valid"].network.steps == 11


def test_test_split_without_valid_has_no_threshold(tmp_path: Path, statistics: Statistics) -> None:
    with Store(made_store(tmp_path / "c.h5", [Split.TRAIN, Split.TEST])) as store:
        (evaluation,) = evaluate_held_out(projection(), store, DATA, statistics).values()
    assert evaluation.network.static_threshold is None
    assert "static_threshold" not in evaluation.as_json()["network"]
    assert nats_per_step(evaluation.network) > 0


def test_network_without_decision_rules_has_no_threshold(store: Store, statistics: Statistics) -> None:
    evaluations = evaluate_held_out(projection(has_rule=False), store, DATA, statistics)
    with_rule = evaluate_held_out(projection(), store, DATA, statistics)
    for split in ("valid", "test"):
        assert evaluations[split].network == replace(with_rule[split].network, static_threshold=None)


def predict_every_row(model: Any, is_bidirectional: bool, rows: Window) -> Any:
    """The outputs for all rows of a piece but the first `WINDOW_STEPS`, from the Keras model."""
    if not is_bidirectional:
        outputs = model([rows.packed[:, :-1], rows.tempo_us[:, :-1]])
        return tf.nest.map_structure(lambda tensor: tensor[0, WINDOW_STEPS - 1 :], outputs)
    indices = np.arange(rows.packed.shape[1] - WINDOW_STEPS)[:, np.newaxis] + np.arange(WINDOW_STEPS)
    return model([rows.packed[0, indices], rows.tempo_us[0, indices]])


@pytest.mark.parametrize("name", REPORT_MODELS)
def test_evaluation_predicts_every_row_from_the_rows_before_it(name: ModelName, tmp_path: Path) -> None:
    network = made_network(name, predict="last" if name == "bidirectional" else "every")
    pieces = made_rolls(range(20), [7, 150, 3] + [2] * 17)  # more than are read at once
    with Store(store_of(tmp_path / "c.h5", pieces, [Split.VALID] * len(pieces))) as store:
        evaluation = evaluate(network, find_windows(store, Split.VALID, DATA), SILENCE_US)
    inputs = [tf.TensorSpec([None, None, 22], tf.uint8), tf.TensorSpec([None, None], tf.int32)]
    model = tf.function(network.keras, input_signature=[inputs], autograph=False)  # compiled once, for pieces of any length
    nats, tempo_error = 0.0, 0.0
    for piece in pieces:
        rows = after_silence(window_of(piece.packed[np.newaxis], piece.tempo_us[np.newaxis].astype(np.int32)))
        output = predict_every_row(model, name == "bidirectional", rows)
        before = np.vstack([np.zeros((1, 88), np.uint8), piece.states[:-1]])
        probabilities = reference_probabilities(output, before != SILENT)
        nats -= np.log(np.take_along_axis(probabilities, piece.states[..., np.newaxis].astype(int), axis=-1)).sum()
        tempo = output["tempo"][:, 0] if isinstance(output, dict) else output[:, -1]
        bpm, true_bpm = 15 * 2 ** (5 * np.clip(tempo, 0, 1)), 60e6 / piece.tempo_us
        tempo_error += (100 * np.abs(bpm - true_bpm) / true_bpm).sum()
    assert evaluation.steps == 194
    assert nats_per_step(evaluation) == pytest.approx(nats / 194, rel=1e-5)
    assert evaluation.tempo_error_percent == pytest.approx(tempo_error / 194, rel=1e-4)


def test_shutdown_request_stops_the_evaluation(valid: Windows) -> None:
    with pytest.raises(Interrupted, match="received a shutdown signal during the evaluation"):
        evaluate(projection(), valid, SILENCE_US, shutdown_requested=lambda: True)


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
