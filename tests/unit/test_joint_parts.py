"""The parts of the joint model equal their definitions."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import Config, ModelConfig
from pianogen.models.joint.banded import Banded
from pianogen.models.joint.fixed_point import draw_bits, draw_classes
from pianogen.models.joint.layers import drop
from pianogen.models.joint.recurrence import Recurrence
from pianogen.models.joint.tempo import TempoNetwork, TempoOutput, change_of
from pianogen.models.network import NUM_UNIFORMS, Decision
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT
from pianogen.training import networks


@pytest.mark.parametrize("num_keys", [5, 8, 53, 88])
@pytest.mark.parametrize(("below", "above", "includes_own"), [(12, 12, True), (36, 0, False), (24, 24, True), (2, 1, False)])
def test_banded_product_is_a_convolution_over_keys(num_keys: int, below: int, above: int, includes_own: bool) -> None:
    layer = Banded(below, above, 3, includes_own=includes_own)
    keys = np.random.default_rng(1).normal(size=(4, num_keys, 2)).astype(np.float32)
    output = layer(tf.constant(keys)).numpy()
    offsets = list(range(-below, above + 1))
    kernel = layer.kernel.numpy()
    if not includes_own:
        offsets = offsets[: len(kernel)]  # the key itself comes after the lower ones
    expected = np.zeros((4, num_keys, 3))
    for key in range(num_keys):
        for weights, offset in zip(kernel, offsets, strict=True):
            if 0 <= key + offset < num_keys:
                expected[:, key] += keys[:, key + offset] @ weights
    assert output == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "mlstm"])
def test_recurrence_and_its_gradient_equal_those_of_the_keras_layer(cell: str) -> None:
    keras.utils.set_random_seed(3)
    random = np.random.default_rng(2)
    rows = tf.constant(random.normal(size=(7, 4, 5)).astype(np.float32))
    recurrence = Recurrence(cell, 6)
    state = [tf.constant(random.normal(size=(4, 6)).astype(np.float32)) for _ in recurrence.initial_state(4)]
    recurrence(rows, state)
    weights = recurrence.trainable_variables
    for weight in weights:
        weight.assign_add(random.normal(scale=0.3, size=weight.shape))

    def run(is_stepped: bool) -> list[np.ndarray]:
        """The outputs, the last state, and the gradients of both."""
        with tf.GradientTape() as tape:
            tape.watch([rows, *state])
            outputs, carried = [], state
            for part in tf.split(rows, 7) if is_stepped else [rows]:
                output, carried = recurrence(part, carried)
                outputs.append(output)
            values = [tf.concat(outputs, axis=0), *carried]
            loss = tf.add_n([tf.reduce_sum(value * value * value) for value in values])
        gradients = tape.gradient(loss, [rows, *state, *weights])
        return [tensor.numpy() for tensor in (*values, *gradients)]

    for fused, stepped in zip(run(is_stepped=False), run(is_stepped=True), strict=True):
        assert fused == pytest.approx(stepped, rel=1e-4, abs=1e-4)


def test_bits_are_drawn_with_their_probabilities() -> None:
    logits = np.repeat(np.array([-3.0, 0.0, 2.0], np.float32), 20_000)
    uniforms = np.random.default_rng(1).random(len(logits), np.float32)
    for temperature in (1.0, 0.5):
        drawn = draw_bits(tf.constant(logits), tf.constant(uniforms), Decision(temperature)).numpy().reshape(3, -1)
        expected = 1 / (1 + np.exp(-np.array([-3.0, 0.0, 2.0]) / temperature))
        assert drawn.mean(axis=1) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(("top_p", "certain"), [(1.0, None), (0.9, [False, None, None, True]), (0.3, [False, False, True, True])])
def test_improbable_outcomes_of_bits_are_never_drawn(top_p: float, certain: list[bool | None] | None) -> None:
    probabilities = np.array([0.05, 0.4, 0.6, 0.95])
    logits = tf.constant(np.tile(np.log(probabilities / (1 - probabilities)), (4_000, 1)).astype(np.float32))
    uniforms = tf.constant(np.random.default_rng(2).random((4_000, 4), np.float32))
    share = draw_bits(logits, uniforms, Decision(top_p=top_p)).numpy().mean(axis=0)
    expected = [p if bit is None else float(bit) for p, bit in zip(probabilities, certain or [None] * 4, strict=True)]
    assert share == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.6, 0.3, 0.1]),
        (0.5, 1.0, [0.36 / 0.46, 0.09 / 0.46, 0.01 / 0.46]),
        (1.0, 0.85, [2 / 3, 1 / 3, 0.0]),
        (1.0, 0.5, [1.0, 0.0, 0.0]),
    ],
)
def test_classes_are_drawn_with_their_probabilities(temperature: float, top_p: float, expected: list[float]) -> None:
    logits = tf.constant(np.tile(np.log([0.6, 0.3, 0.1]), (20_000, 1)).astype(np.float32))
    uniforms = tf.constant(np.random.default_rng(3).random(20_000, np.float32))
    drawn = draw_classes(logits, uniforms, Decision(temperature, top_p)).numpy()
    assert np.bincount(drawn, minlength=3) / 20_000 == pytest.approx(expected, abs=0.015)


def test_smallest_top_p_selects_the_most_probable_outcome() -> None:
    logits, uniforms = tf.constant(np.log([[0.4, 0.25, 0.35]]).astype(np.float32)), tf.constant([0.5])
    assert draw_classes(logits, uniforms, Decision()).numpy().tolist() == [1]
    assert draw_classes(logits, uniforms, Decision(top_p=1e-30)).numpy().tolist() == [0]
    assert draw_bits(tf.constant([-0.1, 0.1]), tf.constant([0.01, 0.99]), Decision(top_p=1e-30)).numpy().tolist() == [False, True]


def test_impossible_class_is_never_drawn() -> None:
    logits = tf.constant([[0.0, 1.0, -np.inf]] * 3)
    assert draw_classes(logits, tf.constant([0.0, 0.5, 1 - 2.0**-24]), Decision()).numpy().tolist() == [0, 1, 1]


def made_tempo_network() -> tuple[TempoNetwork, TempoOutput, tf.Tensor]:
    """A network with random weights, its output for 1 row of 1,000 pieces, and the states of that row."""
    keras.utils.set_random_seed(4)
    network = TempoNetwork("lstm", 4)
    units = tf.repeat(tf.random.stateless_normal([1, 1, 48], [1, 1]), 1_000, axis=1)
    output, states = TempoOutput(units, tf.fill([1, 1_000], 612_345)), tf.zeros([1, 1_000, NUM_KEYS], tf.uint8)
    network.distribution(output, states).log_likelihood(output.before_us)
    for weight in network.trainable_variables:
        weight.assign_add(tf.random.stateless_normal(weight.shape, [2, 2]) * 0.03)
    return network, output, states


def density_of_changes(network: TempoNetwork, output: TempoOutput, states: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """1,000 ascending changes of the tempo on the scale of `change_of`, and their densities."""
    change = np.linspace(-6.3, 6.3, 1_000)
    tempo_us = np.round(612_345 * 2 ** (-0.02 * np.sinh(change))).astype(np.int32)
    return change, np.exp(
        network.distribution(output, states).log_likelihood(tf.constant(tempo_us[np.newaxis])).numpy()[0].astype(float)
    )


def test_density_of_tempo_changes_integrates_to_their_probability() -> None:
    network, output, states = made_tempo_network()
    stay = math.exp(float(network.distribution(output, states).log_likelihood(output.before_us)[0, 0]))
    assert 0.05 < stay < 0.95
    change, density = density_of_changes(network, output, states)
    assert np.trapezoid(density, change) == pytest.approx(1 - stay, abs=0.01)


def test_drawn_tempos_follow_their_distribution() -> None:
    network, output, states = made_tempo_network()
    stay = math.exp(float(network.distribution(output, states).log_likelihood(output.before_us)[0, 0]))
    uniforms = tf.constant(np.random.default_rng(4).random((1, 1_000, 3), np.float32))
    drawn = network.distribution(output, states).draw(uniforms).numpy()[0]
    assert (drawn == 612_345).mean() == pytest.approx(stay, abs=0.05)
    assert drawn.min() >= 150_000
    assert drawn.max() <= 3_000_000
    change = change_of(tf.math.log(tf.constant(612_345 / drawn[drawn != 612_345], tf.float32)) / math.log(2)).numpy()
    scale, density = density_of_changes(network, output, states)
    mean = np.trapezoid(density * scale, scale) / np.trapezoid(density, scale)
    assert change.mean() == pytest.approx(mean, abs=0.25)


def test_number_of_parameters_grows_with_the_keys_in_use() -> None:
    model = ModelConfig(name="joint", units=48)
    sizes = [networks.build(Config(model=model), range(14, stop)).keras.count_params() for stop in (67, 68)]
    assert sizes == [82_818, 82_818 + 3 * 48]


def test_unused_keys_have_a_small_fixed_probability_and_can_be_drawn() -> None:
    keras.utils.set_random_seed(1)
    network = networks.build(Config(model=ModelConfig(name="joint", units=4)), range(40, 44))
    silence = tf.zeros([1, 22], tf.uint8)
    output, _ = network.step(silence, tf.constant([500_000]), tf.constant([0]), network.initial_state(1, 4, 500_000))
    states, sounding = np.zeros((3, 1, 1, NUM_KEYS), np.uint8), np.zeros((3, 1, 1, NUM_KEYS), bool)
    states[1, ..., 10] = ONSET
    states[2, ..., 80], sounding[2, ..., 80] = HOLD, True
    silent, onset, hold = (
        float(network.log_likelihood(output, tf.constant(row), tf.constant(before))[0, 0])
        for row, before in zip(states, sounding, strict=True)
    )
    assert onset - silent == pytest.approx(math.log(1e-6), rel=1e-4)
    assert hold - silent == pytest.approx(math.log(0.5), rel=1e-3)
    uniforms = np.full((1, 1, NUM_UNIFORMS), 0.999, np.float32)
    uniforms[..., NUM_KEYS + 10], uniforms[..., 80] = 1e-7, 0.4
    drawn, _ = network.draw(output, tf.constant(sounding[2]), tf.constant(uniforms), Decision())
    assert drawn.numpy()[0, 0, [10, 80]].tolist() == [ONSET, HOLD]
    assert (drawn.numpy()[0, 0, :30] != SILENT).sum() == 1


def test_dropout_drops_the_same_units_of_all_keys_of_a_row() -> None:
    units = drop(tf.ones([40, 5, 7, 30]), 0.3, tf.constant([1, 2])).numpy()
    assert np.unique(units).tolist() == pytest.approx([0, 1 / 0.7])
    assert (units == units[:, :, :1]).all()
    assert (units == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(units, drop(tf.ones([40, 5, 7, 30]), 0.3, tf.constant([1, 2])))
    assert not np.array_equal(units, drop(tf.ones([40, 5, 7, 30]), 0.3, tf.constant([1, 3])))
    assert (drop(tf.ones([1, 1, 7, 30]), 0.3, None).numpy() == 1).all()


def test_saved_model_loads_in_keras_with_all_weights(tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    settings: list[dict[str, Any]] = [{}, {"body": "dense", "head": "one_pass", "copy": False, "cell": "gru"}]
    for values in settings:
        network = networks.build(Config(model=ModelConfig(name="joint", units=4, **values)), range(30, 60))
        network.keras.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert [weight.path for weight in loaded.weights] == [weight.path for weight in network.keras.weights]
        for one, other in zip(loaded.weights, network.keras.weights, strict=True):
            assert np.array_equal(one, other)
