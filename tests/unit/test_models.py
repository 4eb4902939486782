"""The networks: their sizes, arithmetic, losses and probabilities, and that windows and steps agree."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_music import made_roll, made_store

from pianogen import models
from pianogen.config import DataConfig, ModelConfig, TrainingConfig
from pianogen.decision import NUM_NOISE, Decision
from pianogen.features import NUM_FEATURES, features, tempo_feature, tempo_us_of
from pianogen.metrics import constant_predictor_loss
from pianogen.models.mlstm import MultiplicativeLSTMCell
from pianogen.models.network import Network
from pianogen.models.peephole import PeepholeLSTMCell
from pianogen.roll import HOLD, ONSET, SILENT
from pianogen.store import Split, Store
from pianogen.windows import read_windows

WITH_HEADS = {"split", "pair"}
ALL = sorted(models.NETWORKS)
CARRIED = sorted(set(ALL) - {"bidirectional"})
CURVES = {"loss", "categorical_crossentropy", "mean_absolute_error"}
WINDOW_STEPS = 5


def build(name: str, *, loss: str | None = None, loss_weight: float = 10.0, predict: str = "last", **model: Any) -> Network:
    """A small network, its weights from a fixed seed."""
    keras.utils.set_random_seed(1)
    training = TrainingConfig(loss=loss, loss_weight=loss_weight, predict=predict)
    return models.build(ModelConfig(name=name, **{"units": 6} | model), training, WINDOW_STEPS)


def music(steps: int, batch: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(B, T, 22) packed rows and (B, T) tempo_us."""
    rolls = [made_roll(seed, steps) for seed in range(batch)]
    return np.stack([roll.packed for roll in rolls]), np.stack([roll.tempo_us.astype(np.int32) for roll in rolls])


def flat(output: Any) -> np.ndarray:
    """Every number of an output, whatever its structure: (B, N)."""
    return np.concatenate([part.numpy().reshape(len(part), -1) for part in tf.nest.flatten(output)], axis=1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("base", 104_963),
        ("gru", 89_667),
        ("rnn", 58_499),
        ("stacked", 104_963 + 33_024),
        ("mlstm", 104_963 + 177 * 64 + 64 * 64),
        ("peephole", 104_963 + 3 * 64),
        ("bidirectional", 178_243),
        ("split", 61_952 + 65 * 264 + 65),
        ("pair", 61_952 + 61_952 - 4 * 64 + 65 * 264 + 65),
    ],
)
def test_parameter_counts(name: str, parameters: int) -> None:
    """base and gru: the report's numbers."""
    assert build(name, units=64).keras.count_params() == parameters


def test_silence_and_one_dense_layer_change_the_sizes_they_name() -> None:
    assert build("base", units=64, dense_layers=1).keras.count_params() == 61_952 + 65 * 177
    assert build("base", units=64, silence=True).keras.count_params() == 4 * 64 * (265 + 64 + 1) + 65 * 265 + 266 * 265
    assert build("stacked", layers=3).keras.count_params() == build("stacked").keras.count_params() + 4 * 6 * 13


@pytest.mark.parametrize(
    ("name", "loss", "crossentropy"),
    [
        ("base", [0.4742165803909302, 0.47658172249794006], [17.96738052368164, 12.994704246520996]),
        ("gru", [0.47959455847740173, 0.4723075032234192], [18.070545196533203, 12.889100074768066]),
    ],
)
def test_arithmetic_of_the_reports_networks_is_unchanged(name: str, loss: list[float], crossentropy: list[float]) -> None:
    keras.utils.set_random_seed(2)
    network = models.build(ModelConfig(name=name), TrainingConfig(), 64)
    roll = made_roll(9, steps=33)
    packed = np.stack([roll.packed[:17], roll.packed[16:]])
    tempo_us = np.stack([roll.tempo_us[:17], roll.tempo_us[16:]]).astype(np.int32)
    losses = network.losses(packed, tempo_us, training=True)
    assert losses["loss"].numpy() == pytest.approx(loss, rel=1e-5)
    assert losses["categorical_crossentropy"].numpy() == pytest.approx(crossentropy, rel=1e-5)


def test_features_are_onsets_holds_and_tempo() -> None:
    roll = made_roll(3)
    found = features(tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))).numpy()
    assert found.shape == (len(roll), NUM_FEATURES)
    assert np.array_equal(found[:, :88], roll.states == ONSET)
    assert np.array_equal(found[:, 88:176], roll.states == HOLD)
    assert np.allclose(found[:, 176], np.log2(60e6 / roll.tempo_us / 15) / 5, atol=1e-6)


def test_features_with_silence_and_without_tempo() -> None:
    roll = made_roll(3)
    rows = tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))
    plain, more, less = (features(*rows, **asked).numpy() for asked in ({}, {"silence": True}, {"tempo": False}))
    assert np.array_equal(more[:, 176:264], roll.states == SILENT)
    assert np.array_equal(np.delete(more, range(176, 264), axis=1), plain)
    assert np.array_equal(less, plain[:, :176])


@pytest.mark.parametrize(("bpm", "feature"), [(15, 0.0), (60, 0.4), (120, 0.6), (480, 1.0), (3.6, 0.0), (6e7, 1.0)])
def test_tempo_feature_is_logarithmic_and_bounded(bpm: float, feature: float) -> None:
    assert tempo_feature(tf.constant(int(60e6 / bpm))).numpy() == pytest.approx(feature, abs=1e-6)


def test_tempo_survives_its_feature() -> None:
    tempo_us = tf.constant([125_000, 333_333, 500_000, 1_000_000, 4_000_000])
    back = tempo_us_of(tempo_feature(tempo_us)).numpy()
    assert np.allclose(back, tempo_us.numpy(), rtol=3e-6)


@pytest.mark.parametrize("name", CARRIED)
def test_steps_give_what_the_window_gives(name: str) -> None:
    network = build(name, layers=3 if name == "stacked" else None)
    packed, tempo_us = music(steps=20, batch=2)
    state = network.initial_state(2)
    for step in range(20):
        output, state = network.step(packed[:, step], tempo_us[:, step], state)
    assert np.allclose(flat(output), flat(network.predict(packed, tempo_us)), atol=1e-6)


def test_steps_of_bidirectional_give_what_its_last_window_gives() -> None:
    network = build("bidirectional")
    packed, tempo_us = music(steps=WINDOW_STEPS + 3, batch=2)
    state = network.initial_state(2)
    for step in range(packed.shape[1]):
        output, state = network.step(packed[:, step], tempo_us[:, step], state)
        window = slice(max(0, step + 1 - WINDOW_STEPS), step + 1)
        assert np.allclose(flat(output), flat(network.predict(packed[:, window], tempo_us[:, window])), atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_state_can_be_carried_through_a_compiled_loop(name: str) -> None:
    network = build(name)
    packed, tempo_us = music(steps=8)

    @tf.function
    def read() -> Any:
        rows, tempos = tf.constant(packed), tf.constant(tempo_us)
        output, state = network.step(rows[:, 0], tempos[:, 0], network.initial_state(1))
        for step in tf.range(1, 8):
            output, state = network.step(rows[:, step], tempos[:, step], state)
        return output

    last = slice(8 - WINDOW_STEPS, 8) if name == "bidirectional" else slice(0, 8)
    assert np.allclose(flat(read()), flat(network.predict(packed[:, last], tempo_us[:, last])), atol=1e-6)


@pytest.mark.parametrize("name", CARRIED)
def test_networks_that_predict_every_row_end_with_the_last(name: str) -> None:
    every, last = build(name, predict="every"), build(name)
    last.keras.set_weights(every.keras.get_weights())
    packed, tempo_us = music(steps=7, batch=2)
    assert np.allclose(flat(every.predict(packed, tempo_us)), flat(last.predict(packed, tempo_us)), atol=1e-6)
    of_prefixes = [last.losses(packed[:, :end], tempo_us[:, :end], training=False) for end in range(2, 8)]
    for curve, value in every.losses(packed, tempo_us, training=False).items():
        assert np.allclose(value, np.mean([losses[curve] for losses in of_prefixes], axis=0), rtol=1e-5)


def combinations() -> Iterator[Any]:
    """Every network with every loss it takes, and with last and every in turn."""
    for name, predict in product(ALL, ["last", "every"]):
        of_bits = ["crossentropy", "weighted_crossentropy", "focal"]
        for loss in of_bits if name in WITH_HEADS else ["mse", "weighted_mse", *of_bits]:
            if not (name == "bidirectional" and predict == "every"):
                yield pytest.param(name, loss, predict, id=f"{name}-{loss}-{predict}")


@pytest.mark.parametrize(("name", "loss", "predict"), list(combinations()))
def test_every_weight_learns(name: str, loss: str, predict: str) -> None:
    is_of_bits = loss in ("crossentropy", "weighted_crossentropy", "focal") and name not in WITH_HEADS
    network = build(name, loss=loss, predict=predict, units=3, activation="sigmoid" if is_of_bits else "softplus")
    packed, tempo_us = music(steps=4, batch=2)
    with tf.GradientTape() as tape:
        losses = network.losses(packed, tempo_us, training=True)
    assert losses.keys() == CURVES
    for value in losses.values():
        assert value.shape == (2,)
        assert value.dtype == tf.float32
        assert np.isfinite(value).all()
    gradients = tape.gradient(losses["loss"], network.keras.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", ["base", "gru", "mlstm", "bidirectional", "pair"])
def test_training_lowers_the_loss(name: str) -> None:
    network = build(name)
    variables = network.keras.trainable_variables
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)
    packed, tempo_us = (tf.constant(each) for each in music(steps=9, batch=4))

    @tf.function
    def iterate() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network.losses(packed, tempo_us, training=True)["loss"])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    losses = [float(iterate()) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("activation", ["softplus", "relu", "sigmoid"])
@pytest.mark.parametrize("dense_layers", [1, 2])
@pytest.mark.parametrize("silence", [False, True])
def test_output_vector_has_the_features_of_its_input(activation: str, dense_layers: int, silence: bool) -> None:
    network = build("base", activation=activation, dense_layers=dense_layers, silence=silence)
    packed, tempo_us = music(steps=5, batch=3)
    output = network.predict(packed, tempo_us)
    assert output.shape == (3, 265 if silence else 177)
    assert output.numpy().min() >= 0
    assert all(np.isfinite(value).all() for value in network.losses(packed, tempo_us, training=False).values())


def plain_losses(kind: str, target: np.ndarray, output: np.ndarray, weight: float) -> np.ndarray:
    """(B,) by the definitions, in float64; the 176 bits of onset and hold come first, the tempo last."""
    bits, probability = target[:, :-1], output[:, :-1]
    of_truth = np.where(bits == 1, probability, 1 - probability)
    errors = {
        "mse": (bits - probability) ** 2,
        "crossentropy": -np.log(of_truth),
        "focal": -((1 - of_truth) ** 2) * np.log(of_truth),
    }[kind.removeprefix("weighted_")]
    if kind.startswith("weighted"):
        errors = errors * np.where((bits == 1) & (np.arange(bits.shape[1]) < 176), weight, 1)
    return (errors.sum(axis=1) + (target[:, -1] - output[:, -1]) ** 2) / target.shape[1]


@pytest.mark.parametrize("silence", [False, True])
@pytest.mark.parametrize("loss", ["mse", "weighted_mse", "crossentropy", "weighted_crossentropy", "focal"])
def test_losses_of_one_vector_follow_their_definitions(loss: str, silence: bool) -> None:
    network = build("base", loss=loss, loss_weight=7.0, silence=silence, activation="sigmoid")
    packed, tempo_us = music(steps=6, batch=3)
    target = features(tf.constant(packed[:, -1]), tf.constant(tempo_us[:, -1]), silence=silence).numpy().astype(float)
    output = network.predict(packed[:, :-1], tempo_us[:, :-1]).numpy().astype(float)
    losses = network.losses(packed, tempo_us, training=False)
    assert losses["loss"].numpy() == pytest.approx(plain_losses(loss, target, output, 7.0), rel=1e-5)
    if silence:
        target, output = (np.delete(each, range(176, 264), axis=1) for each in (target, output))
    assert losses["mean_absolute_error"].numpy() == pytest.approx(np.abs(target - output).mean(axis=1), rel=1e-5)
    keras_crossentropy = keras.losses.categorical_crossentropy(tf.constant(target), tf.constant(output))
    assert losses["categorical_crossentropy"].numpy() == pytest.approx(keras_crossentropy.numpy(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(WITH_HEADS))
@pytest.mark.parametrize("loss", ["crossentropy", "weighted_crossentropy", "focal"])
def test_losses_of_heads_follow_their_definitions(name: str, loss: str) -> None:
    network = build(name, loss=loss, loss_weight=7.0)
    packed, tempo_us = music(steps=6, batch=3)
    output = network.predict(packed[:, :-1], tempo_us[:, :-1])
    target = features(tf.constant(packed[:, -1]), tf.constant(tempo_us[:, -1])).numpy()
    exponents = np.exp(output["keys"].numpy().astype(float))
    probabilities = exponents / exponents.sum(axis=-1, keepdims=True)
    states = np.stack([made_roll(seed, 6).states[-1] for seed in range(3)]).astype(int)
    of_truth = np.take_along_axis(probabilities, states[..., np.newaxis], axis=-1)[..., 0]
    errors = -np.log(of_truth) * ((1 - of_truth) ** 2 if loss == "focal" else 1)
    errors *= np.where(states != SILENT, 7.0, 1.0) if loss.startswith("weighted") else 1.0
    tempo = output["tempo"].numpy()
    losses = network.losses(packed, tempo_us, training=False)
    assert losses["loss"].numpy() == pytest.approx(errors.mean(axis=1) + (tempo[:, 0] - target[:, -1]) ** 2, rel=1e-5)
    row = np.concatenate([probabilities[..., ONSET], probabilities[..., HOLD], tempo], axis=1)
    assert losses["mean_absolute_error"].numpy() == pytest.approx(np.abs(row - target).mean(axis=1), rel=1e-5)


def test_tempo_of_pair_is_none_of_its_keys_business() -> None:
    network = build("pair")
    packed, tempo_us = music(steps=6)
    slow, fast = (network.predict(packed, tempo_us * factor) for factor in (2, 1))
    assert np.array_equal(slow["keys"], fast["keys"])
    assert not np.array_equal(slow["tempo"], fast["tempo"])


def test_dead_relu_has_finite_curves() -> None:
    network = build("base", activation="relu")
    network.keras.get_layer("output").bias.assign(tf.fill([177], -100.0))
    losses = network.losses(*music(steps=4), training=False)
    assert all(np.isfinite(value).all() for value in losses.values())


READ_AS_PROBABILITIES = [
    ("base", {}),
    ("base", {"silence": True, "activation": "sigmoid"}),
    ("bidirectional", {}),
    ("split", {}),
    ("pair", {}),
]


@pytest.mark.parametrize(("name", "model"), READ_AS_PROBABILITIES)
def test_possible_states_of_a_key_sum_to_one(name: str, model: dict[str, Any]) -> None:
    """Of 87 silent keys and one in each of its states, over all keys: the sums are the products of all silences but one."""
    network = build(name, **model)
    output = network.predict(*music(steps=6))
    outputs = tf.nest.map_structure(lambda each: tf.repeat(each, 3 * 88, axis=0), output)
    states = np.zeros((88, 3, 88), np.uint8)
    states[np.arange(88), :, np.arange(88)] = [SILENT, ONSET, HOLD]
    sounding = np.tile(np.arange(88) % 2 == 0, (3 * 88, 1))
    found = network.log_likelihood(outputs, states.reshape(-1, 88), sounding).numpy().reshape(88, 3).astype(float)
    assert np.array_equal(np.isneginf(found[:, HOLD]), ~sounding[0])
    silence = found[0, SILENT]
    assert np.log(np.exp(found - silence).sum(axis=1)).sum() == pytest.approx(-silence, rel=1e-5)


@pytest.mark.parametrize(("name", "model"), READ_AS_PROBABILITIES)
def test_likelihood_is_the_product_over_keys(name: str, model: dict[str, Any]) -> None:
    network = build(name, **model)
    packed, tempo_us = music(steps=6, batch=2)
    output = network.predict(packed, tempo_us)
    if name in WITH_HEADS:
        weights = np.exp(output["keys"].numpy().astype(float))
    else:
        onset, hold = (output.numpy().astype(float)[:, first : first + 88] for first in (0, 88))
        silent = output.numpy()[:, 176:264] if model.get("silence") else 1 - onset - hold
        weights = np.clip(np.stack([silent, onset, hold], axis=-1), 1e-4, 1)
    states = np.stack([made_roll(seed, 7).states[-1] for seed in range(2)])
    sounding = (states == HOLD) | (np.arange(88) % 3 == 0)
    weights[..., HOLD] *= sounding
    of_truth = np.take_along_axis(weights, states[..., np.newaxis].astype(int), axis=-1)[..., 0] / weights.sum(axis=-1)
    found = network.log_likelihood(output, states, sounding)
    assert found.dtype == tf.float32
    assert found.numpy() == pytest.approx(np.log(of_truth).sum(axis=1), rel=1e-5)


@pytest.mark.parametrize(("name", "model"), READ_AS_PROBABILITIES)
def test_draws_follow_the_likelihood(name: str, model: dict[str, Any]) -> None:
    """Even odds of sounding decide each key by its own probabilities, so the mean likelihood of draws is the negative entropy."""
    network = build(name, **model)
    num_draws = 2_000
    output = tf.nest.map_structure(lambda each: tf.repeat(each, num_draws, axis=0), network.predict(*music(steps=6)))
    sounding = np.tile(np.arange(88) % 2 == 0, (num_draws, 1))
    noise = np.random.default_rng(5).random((num_draws, NUM_NOISE), np.float32)
    decision = Decision(temperature=1.0, threshold=0.5, count_odds=np.ones((89, 89), np.float32))
    states, tempo_us, count = network.draw(output, sounding, np.full(num_draws, 44, np.int32), noise, decision)
    assert states.shape == (num_draws, 88)
    assert not (states.numpy()[~sounding] == HOLD).any()
    assert np.array_equal(count, (states.numpy() != SILENT).sum(axis=1))
    assert np.unique(tempo_us).size == 1
    singles = np.zeros((3, 88, 88), np.uint8)
    for state in (SILENT, ONSET, HOLD):
        np.fill_diagonal(singles[state], state)
    some = tf.nest.map_structure(lambda each: each[: 3 * 88], output)
    relative = network.log_likelihood(some, singles.reshape(-1, 88), sounding[: 3 * 88]).numpy().reshape(3, 88)
    probabilities = np.exp(relative - relative[SILENT]) / np.exp(relative - relative[SILENT]).sum(axis=0)
    drawn = np.stack([(states.numpy() == state).mean(axis=0) for state in (SILENT, ONSET, HOLD)])
    assert np.abs(drawn - probabilities).max() < 0.06


def test_saved_models_open_in_keras_and_hold_all_weights(tmp_path: Path) -> None:
    for name, predict in product(ALL, ["last", "every"]):
        network = build(name, predict=predict, silence=name == "base")
        network.keras.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        inputs = list(music(steps=5))
        assert np.array_equal(flat(loaded(inputs)), flat(network.keras(inputs)))


def test_constant_predictor_is_the_mean_of_the_predicted_rows(tmp_path: Path) -> None:
    path = made_store(tmp_path / "c.h5", [Split.TRAIN, Split.TRAIN])
    with Store(path) as store:
        windows = read_windows(store, Split.TRAIN, DataConfig(window_steps=30, stride=7))
    rows = [piece[first + 30] for piece in map(as_features, (0, 1)) for first in range(0, len(piece) - 30, 7)]
    assert constant_predictor_loss(windows) == pytest.approx(np.mean((rows - np.mean(rows, axis=0)) ** 2), rel=1e-5)


def as_features(seed: int) -> np.ndarray:
    roll = made_roll(seed, 120 + seed)
    return features(tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))).numpy()


@pytest.mark.parametrize("name", ["base", "gru", "stacked", "bidirectional", "split", "pair"])
def test_leaving_cudnn_is_an_error_where_a_gpu_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that TensorFlow lists and whose kernels do not run: Keras would take its slow loop in silence."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["a GPU"])
    network = build(name)
    with pytest.raises(ValueError, match="use_cudnn=True was specified"):
        network.predict(*music(steps=4))


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("mixed_precision")
@pytest.mark.parametrize("name", ALL)
def test_mixed_precision_computes_in_16_bits_and_answers_in_32(name: str) -> None:
    network = build(name)
    packed, tempo_us = music(steps=6, batch=2)
    assert all(weight.dtype == "float32" for weight in network.keras.weights)
    output = network.predict(packed, tempo_us)
    assert all(each.dtype == tf.float32 for each in tf.nest.flatten(output))
    assert all(value.dtype == tf.float32 for value in network.losses(packed, tempo_us, training=True).values())
    state = network.initial_state(2)
    for step in range(6):
        stepped, state = network.step(packed[:, step], tempo_us[:, step], state)
    assert all(each.dtype == tf.float32 for each in tf.nest.flatten(stepped))
    if name == "bidirectional":
        output = network.predict(packed[:, -WINDOW_STEPS:], tempo_us[:, -WINDOW_STEPS:])
    else:
        assert {each.dtype for each in tf.nest.flatten(state)} == {tf.float16}
    assert np.allclose(flat(stepped), flat(output), atol=2e-3)


@pytest.mark.parametrize("cell", [MultiplicativeLSTMCell(4), PeepholeLSTMCell(4)], ids=["mlstm", "peephole"])
def test_cells_follow_their_papers(cell: keras.layers.Layer) -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(2, 6, 5)).astype(np.float32)
    layer = keras.layers.RNN(cell, return_sequences=True)
    layer(rows)
    assert cell.bias.numpy().tolist() == [0] * 4 + [1] * 4 + [0] * 8  # an open forget gate
    cell.set_weights([random.normal(size=weight.shape) for weight in cell.weights])
    weights = {weight.name: weight.numpy().astype(float) for weight in cell.weights}
    plain = plain_mlstm if "product_kernel" in weights else plain_peephole
    assert np.allclose(layer(rows).numpy(), plain(rows, **weights), atol=1e-5)


def plain_mlstm(
    rows: np.ndarray, kernel: np.ndarray, product_kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Krause et al. 2016, equations 15 to 20, gate by gate; with biases."""
    w_ix, w_fx, w_hx, w_ox, w_mx = np.split(kernel, 5, axis=1)
    w_im, w_fm, w_hm, w_om = np.split(recurrent_kernel, 4, axis=1)
    b_i, b_f, b_h, b_o = np.split(bias, 4)
    h = c = np.zeros((len(rows), len(product_kernel)))
    outputs = []
    for x in np.moveaxis(rows, 1, 0):
        m = (x @ w_mx) * (h @ product_kernel)
        h_hat = x @ w_hx + m @ w_hm + b_h
        i, f, o = sigmoid(x @ w_ix + m @ w_im + b_i), sigmoid(x @ w_fx + m @ w_fm + b_f), sigmoid(x @ w_ox + m @ w_om + b_o)
        c = f * c + i * np.tanh(h_hat)
        h = np.tanh(c) * o
        outputs.append(h)
    return np.stack(outputs, axis=1)


def plain_peephole(
    rows: np.ndarray, kernel: np.ndarray, recurrent_kernel: np.ndarray, peepholes: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Gers and Schmidhuber 2000, with blocks of one cell: input and forget gate see the old memory, the output gate the new."""
    w_i, w_f, w_c, w_o = np.split(kernel, 4, axis=1)
    r_i, r_f, r_c, r_o = np.split(recurrent_kernel, 4, axis=1)
    b_i, b_f, b_c, b_o = np.split(bias, 4)
    p_i, p_f, p_o = peepholes
    h = c = np.zeros((len(rows), len(p_i)))
    outputs = []
    for x in np.moveaxis(rows, 1, 0):
        i = sigmoid(x @ w_i + h @ r_i + p_i * c + b_i)
        f = sigmoid(x @ w_f + h @ r_f + p_f * c + b_f)
        c = f * c + i * np.tanh(x @ w_c + h @ r_c + b_c)
        o = sigmoid(x @ w_o + h @ r_o + p_o * c + b_o)
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def test_peepholes_begin_closed() -> None:
    cell = PeepholeLSTMCell(4)
    rows = np.random.default_rng(3).normal(size=(2, 6, 5)).astype(np.float32)
    layer, lstm = keras.layers.RNN(cell), keras.layers.LSTM(4)
    layer(rows), lstm(rows)
    lstm.set_weights([cell.kernel, cell.recurrent_kernel, cell.bias])
    assert np.allclose(layer(rows), lstm(rows), atol=1e-6)
