"""The joint model: an exact distribution over legal rows that reads only the past, and exact draws from it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import DataConfig
from pianogen.data.pieces import piece_chunks
from pianogen.data.pool import window_spec
from pianogen.data.windows import find_windows
from pianogen.models.joint.network import Joint, Output
from pianogen.models.joint.tempo import TempoOutput
from pianogen.models.network import NUM_UNIFORMS, Decision
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT, Roll, equal_bars, unpack
from pianogen.store import Split, Store
from pianogen.window import Window
from tests.support.joint_reference import JointReference
from tests.support.made_music import made_roll, store_of
from tests.support.made_networks import made_joint
from tests.support.rolls import roll_in_4_4
from tests.support.window_oracle import PieceOracle

KEYS = range(30, 60)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"copy": False},
    {"head": "one_pass"},
    {"body": "dense"},
    {"cell": "gru"},
    {"cell": "mlstm", "head": "one_pass"},
]
HEADS: list[dict[str, Any]] = [{"head": "two_stage"}, {"head": "one_pass"}]
CHUNK_STEPS = 24


def made_piece(seed: int, steps: int) -> Roll:
    """A piece of KEYS whose first third returns at the end."""
    parts = [made_roll(seed, steps // 3), made_roll(seed + 1, steps // 3), made_roll(seed, steps // 3)]
    packed, tempo_us = (np.concatenate([getattr(part, name) for part in parts]) for name in ("packed", "tempo_us"))
    return roll_in_4_4(packed, tempo_us)


def chunks_of(folder: Path, piece: Roll, chunk_steps: int = CHUNK_STEPS) -> list[Window]:
    """The windows of one piece, chunk after chunk."""
    with Store(store_of(folder / "piece.h5", [piece], [Split.VALID])) as store:
        windows = find_windows(store, Split.VALID, DataConfig(), context=True)
        return [tf.nest.map_structure(tf.constant, chunk.window) for chunk in piece_chunks(windows, 1, chunk_steps)]


def rows_of(window: Window) -> tuple[tf.Tensor, tf.Tensor]:
    """(B, W, 88) states of the predicted rows, and the keys that sound before each of them."""
    states = unpack(window.packed[0].numpy())[np.newaxis]
    return tf.constant(states[:, 1:]), tf.constant(states[:, :-1] != SILENT)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that many calls with equal shapes compile once."""
    return tf.function(function, autograph=False)  # type: ignore[no-any-return]  # TensorFlow has no types


def next_position(window: Window, row: int) -> tf.Tensor:
    """(B,) int32 bar positions of the row after a row of a window."""
    return tf.cast(window.bar_position[:, row + 1], tf.int32)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_steps_predict_the_same_as_windows(settings: dict[str, Any], tmp_path: Path) -> None:
    """The history of `step` equals the context of windows, and the state is carried from window to window."""
    network, piece = made_joint(settings, KEYS), made_piece(3, 24)
    state = network.initial_state(1, len(piece), 500_000)
    read_state = network.initial_state(1, 0, 500_000)
    step, row_losses = compiled(network.step), compiled(network.row_losses)
    for window in chunks_of(tmp_path, piece, 12):
        output, read_state = network.read(window, read_state)
        expected = network.row_losses(output, window)
        for row in range(12):
            stepped, state = step(window.packed[:, row], window.tempo_us[:, row], next_position(window, row), state)
            rows = Window(*(column[:, row : row + 2] for column in window[:3]))
            for name, losses in row_losses(stepped, rows).items():
                assert losses.numpy() == pytest.approx(expected[name][:, row : row + 1].numpy(), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "keys", "steps_per_quarter", "first", "semitones"),
    [
        ({}, range(35, 62), 4, 0, 0),
        ({}, range(28, 55), 6, 19, -4),
        ({"copy": False}, range(38, 68), 12, 1, 9),
        ({"head": "one_pass"}, range(40, 41), 4, 2, 5),
        ({"head": "one_pass", "body": "dense"}, range(31, 63), 6, 0, 0),
    ],
)
def test_likelihood_follows_from_the_description(
    settings: dict[str, Any], keys: range, steps_per_quarter: int, first: int, semitones: int
) -> None:
    network, piece = made_joint(settings, keys, steps_per_quarter=steps_per_quarter), made_piece(4, 30)
    piece = replace(piece, bar_position=equal_bars(30, 7, first=5), steps_per_quarter=steps_per_quarter)
    rows = PieceOracle(piece).window(first, 11, semitones)
    window = tf.nest.map_structure(
        lambda value, spec: tf.constant(np.asarray(value)[np.newaxis], spec.dtype), rows, window_spec(12, has_context=True)
    )
    output, _ = network.read(window, network.initial_state(1, 0, 500_000))
    losses = network.row_losses(output, window)
    expected = JointReference(network.keras, keys, steps_per_quarter, **settings).log_likelihoods(piece, first, 11, semitones)
    assert -losses["keys_nats"].numpy()[0] == pytest.approx(expected[:, 0], rel=1e-5, abs=1e-5)
    assert -losses["tempo_nats"].numpy()[0] == pytest.approx(expected[:, 1], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_likelihood_of_a_row_does_not_depend_on_later_rows(settings: dict[str, Any], tmp_path: Path) -> None:
    network, piece = made_joint(settings, KEYS), made_piece(3, 48)
    changed = made_piece(7, 48)

    @compiled
    def row_likelihoods(window: Window, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        output, _ = network.read(window, network.initial_state(1, 0, 500_000))
        return network.log_likelihood(output, states, sounding)[0]

    for step in (1, 20, 30):
        mixed = roll_in_4_4(np.concatenate([piece.packed[:step], changed.packed[step:]]), changed.tempo_us)
        (one,), (other,) = (chunks_of(tmp_path, roll_in_4_4(roll.packed, piece.tempo_us), 48) for roll in (piece, mixed))
        likelihoods = [row_likelihoods(window, *rows_of(window)).numpy() for window in (one, other)]
        assert np.array_equal(likelihoods[0][:step], likelihoods[1][:step])
        assert np.abs(likelihoods[0][step + 1 :] - likelihoods[1][step + 1 :]).max() > 1e-3


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_probabilities_of_all_legal_rows_sum_to_one(settings: dict[str, Any], tmp_path: Path) -> None:
    """With 4 keys in use; so no decision can depend on itself or on a higher key."""
    keys = range(40, 44)
    network = made_joint(settings, keys)
    (window,) = chunks_of(tmp_path, made_piece(2, 9), 9)
    output, _ = network.read(window, network.initial_state(1, 0, 500_000))
    for pattern in product([False, True], repeat=4):
        rows = list(product(*([SILENT, ONSET, HOLD] if sounds else [SILENT, ONSET] for sounds in pattern)))
        states = np.zeros((len(rows), 9, NUM_KEYS), np.uint8)
        states[..., keys.start : keys.stop] = np.array(rows)[:, np.newaxis]
        sounding = np.zeros((len(rows), 9, NUM_KEYS), bool)
        sounding[..., keys.start : keys.stop] = pattern
        repeated = output._replace(
            key_units=tf.repeat(output.key_units, len(rows), axis=1), semitones=tf.repeat(output.semitones, len(rows))
        )
        likelihoods = network.log_likelihood(repeated, tf.constant(states), tf.constant(sounding)).numpy().astype(float)
        unused = 84 * np.log1p(-1e-6)  # all other keys are silent
        assert np.exp(likelihoods - unused).sum(axis=0) == pytest.approx(np.ones(9), rel=1e-5)


def random_states(seed: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, 1, K) legal states, and sounding keys before them."""
    random = np.random.default_rng(seed)
    sounding = random.random((num_rows, 1, len(KEYS))) < 0.3
    states = random.choice([SILENT, ONSET, HOLD], (num_rows, 1, len(KEYS)), p=[0.6, 0.2, 0.2]).astype(np.uint8)
    return np.where((states == HOLD) & ~sounding, SILENT, states), sounding


def logits_of(network: Joint, key_units: tf.Tensor, states: np.ndarray, sounding: np.ndarray) -> list[np.ndarray]:
    """The logits of every decision, each (T, 1, K, …)."""
    head: Any = network.keras.head
    semitones = tf.zeros([1], tf.int32)
    held, onset = tf.constant(states == HOLD), tf.constant(states == ONSET)
    if hasattr(head, "hold_stage"):
        precomputed = head.onset_stage.precompute(key_units, semitones, held, tf.constant(sounding))
        return [
            head.hold_stage.logits(head.hold_stage.precompute(key_units, semitones), held, tf.constant(sounding)).numpy(),
            head.onset_stage.logits(precomputed, onset).numpy(),
        ]
    return [
        head.state_stage.logits(
            head.state_stage.precompute(key_units, semitones), tf.constant(states), tf.constant(sounding)
        ).numpy()
    ]


@pytest.mark.parametrize("settings", HEADS, ids=str)
def test_decision_for_a_key_does_not_depend_on_higher_keys(settings: dict[str, Any]) -> None:
    network = made_joint(settings, KEYS)
    key_units = tf.random.stateless_normal([20, 1, len(KEYS), 6], [1, 2])
    states, sounding = random_states(1, 20)
    for key in (0, 7, 15, 28):
        changed = states.copy()
        changed[..., key:] = random_states(key + 2, 20)[0][..., key:]
        changed = np.where((changed == HOLD) & ~sounding, ONSET, changed)
        if settings["head"] == "two_stage":  # onsets may depend on all holds
            onsets_only = np.where((states == HOLD) | (changed == HOLD), states, changed)
            changed_logits = [
                logits_of(network, key_units, changed, sounding)[0],
                logits_of(network, key_units, onsets_only, sounding)[1],
            ]
        else:
            changed_logits = logits_of(network, key_units, changed, sounding)
        for before, after in zip(logits_of(network, key_units, states, sounding), changed_logits, strict=True):
            assert np.array_equal(before[:, :, : key + 1], after[:, :, : key + 1])
            assert key == 28 or not np.allclose(before[:, :, key + 1 :], after[:, :, key + 1 :], atol=1e-3)


def draw_key_by_key(network: Joint, key_units: tf.Tensor, sounding: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """(T, 1, K) states, one key after the other from low to high, each with the number that `draw` uses for it."""
    states = np.zeros(sounding.shape, np.uint8)
    holds, onsets = (uniforms[..., first + KEYS.start : first + KEYS.stop] for first in (0, NUM_KEYS))
    stages = 2 if hasattr(network.keras.head, "hold_stage") else 1
    for stage in range(stages):
        for key in range(len(KEYS)):
            logits = logits_of(network, key_units, states, sounding)[stage][:, :, key].astype(float)
            if stages == 1:
                cumulative = np.cumsum(np.exp(logits), axis=-1)
                states[..., key] = (cumulative < holds[..., key, np.newaxis] * cumulative[..., -1:]).sum(axis=-1)
            else:
                is_one = (holds, onsets)[stage][..., key] < 1 / (1 + np.exp(-logits))
                may_be = sounding[..., key] if stage == 0 else states[..., key] != HOLD
                states[..., key] = np.where(is_one & may_be, (HOLD, ONSET)[stage], states[..., key])
    return states


@pytest.mark.parametrize("settings", HEADS, ids=str)
def test_draws_equal_those_of_one_key_after_the_other(settings: dict[str, Any]) -> None:
    network = made_joint(settings, KEYS)
    key_units = tf.random.stateless_normal([200, 1, len(KEYS), 6], [3, 4])
    _, sounding = random_states(5, 200)
    uniforms = np.random.default_rng(7).random((200, 1, NUM_UNIFORMS), np.float32)
    head: Any = network.keras.head
    drawn = head.draw(key_units, tf.zeros([1], tf.int32), tf.constant(sounding), tf.constant(uniforms), Decision()).numpy()
    expected = draw_key_by_key(network, key_units, sounding, uniforms)
    assert np.array_equal(drawn, expected)
    assert len(np.unique(expected)) == 3


@pytest.mark.parametrize("settings", HEADS, ids=str)
def test_draws_follow_the_likelihood(settings: dict[str, Any]) -> None:
    """A chi-square test over all rows of 4 keys."""
    keys, num_draws = range(40, 44), 20_000
    network = made_joint(settings, keys)
    key_units = tf.repeat(tf.random.stateless_normal([1, 1, 4, 6], [5, 6]), num_draws, axis=0)
    output = Output(
        key_units, tf.zeros([1], tf.int32), TempoOutput(tf.zeros([num_draws, 1, 48]), tf.fill([num_draws, 1], 500_000))
    )
    sounding = np.zeros((1, num_draws, NUM_KEYS), bool)
    sounding[..., [40, 42]] = True
    uniforms = np.random.default_rng(8).random((1, num_draws, NUM_UNIFORMS), np.float32)
    drawn, _ = network.draw(output, tf.constant(sounding), tf.constant(uniforms), Decision())
    codes = drawn.numpy()[0, :, 40:44].astype(int) @ [27, 9, 3, 1]
    counts = np.bincount(codes, minlength=81)
    states = np.zeros((1, 81, NUM_KEYS), np.uint8)
    states[..., 40:44] = np.arange(81)[:, np.newaxis] // [27, 9, 3, 1] % 3
    some = output._replace(key_units=key_units[:81])
    likelihood = network.log_likelihood(some, tf.constant(states), tf.constant(sounding[:, :81])).numpy()[0].astype(float)
    is_legal = (states[0, :, [41, 43]] != HOLD).all(axis=0)
    assert counts[~is_legal].sum() == 0
    expected = num_draws * np.exp(likelihood[is_legal])
    assert expected.sum() == pytest.approx(num_draws, rel=1e-3)
    is_frequent = expected > 5
    rest = num_draws - expected[is_frequent].sum()
    chi_square = ((counts[is_legal][is_frequent] - expected[is_frequent]) ** 2 / expected[is_frequent]).sum()
    assert rest < 0.02 * num_draws
    assert chi_square < is_frequent.sum() + 4 * np.sqrt(2 * is_frequent.sum())


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("mixed_precision")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_mixed_precision_computes_in_16_bits_and_returns_32(settings: dict[str, Any], tmp_path: Path) -> None:
    network = made_joint(settings, KEYS)
    (window,) = chunks_of(tmp_path, made_piece(3, 24))
    with tf.GradientTape() as tape:
        losses = network.losses(window, training=True)
    assert all(value.dtype == tf.float32 and np.isfinite(value).all() for value in losses.values())
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(losses["loss"], network.keras.trainable_weights))
    state = network.initial_state(1, 25, 500_000)
    assert {tensor.dtype for tensor in tf.nest.flatten(state.keys)} == {tf.float16}
    likelihood, step, row_losses = 0.0, compiled(network.step), compiled(network.row_losses)
    for row in range(24):
        output, state = step(window.packed[:, row], window.tempo_us[:, row], next_position(window, row), state)
        rows = Window(*(column[:, row : row + 2] for column in window[:3]))
        likelihood += float(row_losses(output, rows)["loss"][0, 0])
    assert likelihood / 24 == pytest.approx(float(losses["loss"][0]), rel=1e-2)
