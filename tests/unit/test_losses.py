"""The losses and metrics of the models of the 2021 report equal their definitions, computed with NumPy."""

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import Config, LossName, ModelConfig, ModelName
from pianogen.models.features import features
from pianogen.roll import HOLD, ONSET, SILENT
from pianogen.training import networks
from tests.support.made_music import made_roll
from tests.support.made_networks import REPORT_MODELS, STATE_HEAD_MODELS, made_network, made_windows, predict_row, window_of

LOSSES: list[LossName] = ["mse", "weighted_mse", "crossentropy", "weighted_crossentropy", "focal"]
CROSSENTROPIES: list[LossName] = ["crossentropy", "weighted_crossentropy", "focal"]
PREDICTIONS: list[Literal["last", "every"]] = ["last", "every"]


@pytest.mark.parametrize(
    ("name", "loss", "crossentropy"),
    [
        ("base", [0.4742165803909302, 0.47658172249794006], [17.96738052368164, 12.994704246520996]),
        ("gru", [0.47959455847740173, 0.4723075032234192], [18.070545196533203, 12.889100074768066]),
    ],
)
def test_losses_of_base_and_gru_are_unchanged(name: ModelName, loss: list[float], crossentropy: list[float]) -> None:
    keras.utils.set_random_seed(2)
    network = networks.build(Config(model=ModelConfig(name=name)), range(88))
    roll = made_roll(9, steps=33)
    packed = np.stack([roll.packed[:17], roll.packed[16:]])
    tempo_us = np.stack([roll.tempo_us[:17], roll.tempo_us[16:]]).astype(np.int32)
    losses = network.losses(window_of(packed, tempo_us), training=True)
    assert losses["loss"].numpy() == pytest.approx(loss, rel=1e-5)
    assert losses["categorical_crossentropy"].numpy() == pytest.approx(crossentropy, rel=1e-5)


def combinations() -> Iterator[Any]:
    """Every model of the 2021 report with every loss that applies to it, and with both values of `training.predict`."""
    for name, predict in product(REPORT_MODELS, PREDICTIONS):
        for loss in CROSSENTROPIES if name in STATE_HEAD_MODELS else LOSSES:
            if not (name == "bidirectional" and predict == "every"):
                yield pytest.param(name, loss, predict, id=f"{name}-{loss}-{predict}")


@pytest.mark.parametrize(("name", "loss", "predict"), list(combinations()))
def test_every_weight_has_a_gradient(name: ModelName, loss: LossName, predict: Literal["last", "every"]) -> None:
    activation = "sigmoid" if loss in CROSSENTROPIES and name not in STATE_HEAD_MODELS else "softplus"
    network = made_network(name, loss=loss, predict=predict, units=3, activation=activation)
    for weight in network.keras.trainable_variables:  # the initial zeros of hyperlstm would stop gradients
        weight.assign_add(tf.fill(weight.shape, 0.01))
    with tf.GradientTape() as tape:
        losses = network.losses(made_windows(steps=4, batch=2), training=True)
    assert tuple(losses) == network.metrics
    for value in losses.values():
        assert value.shape == (2,)
        assert value.dtype == tf.float32
        assert np.isfinite(value).all()
    gradients = tape.gradient(losses["loss"], network.keras.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def reference_losses(loss: LossName, target: np.ndarray, output: np.ndarray, weight: float) -> np.ndarray:
    """(B,) float64 losses of (B, F) features: the 176 bits of onsets and holds come first, the tempo last."""
    bits, probability = target[:, :-1], output[:, :-1]
    true_probability = np.where(bits == 1, probability, 1 - probability)
    errors = {
        "mse": (bits - probability) ** 2,
        "crossentropy": -np.log(true_probability),
        "focal": -((1 - true_probability) ** 2) * np.log(true_probability),
    }[loss.removeprefix("weighted_")]
    if loss.startswith("weighted"):
        errors = errors * np.where((bits == 1) & (np.arange(bits.shape[1]) < 176), weight, 1)
    return np.asarray((errors.sum(axis=1) + (target[:, -1] - output[:, -1]) ** 2) / target.shape[1])


@pytest.mark.parametrize("silence", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_the_vector_head_follow_their_definitions(loss: LossName, silence: bool) -> None:
    network = made_network("base", loss=loss, loss_weight=7.0, silence=silence, activation="sigmoid")
    window = made_windows(steps=6, batch=3)
    target = (
        features(tf.constant(window.packed[:, -1]), tf.constant(window.tempo_us[:, -1]), silence=silence).numpy().astype(float)
    )
    output = predict_row(network, window, 5)[:, 0].numpy().astype(float)
    losses = network.losses(window, training=False)
    assert losses["loss"].numpy() == pytest.approx(reference_losses(loss, target, output, 7.0), rel=1e-5)
    if silence:
        target, output = (np.delete(rows, range(176, 264), axis=1) for rows in (target, output))
    assert losses["mean_absolute_error"].numpy() == pytest.approx(np.abs(target - output).mean(axis=1), rel=1e-5)
    keras_crossentropy = keras.losses.categorical_crossentropy(tf.constant(target), tf.constant(output))
    assert losses["categorical_crossentropy"].numpy() == pytest.approx(keras_crossentropy.numpy(), rel=1e-5)


@pytest.mark.parametrize("name", STATE_HEAD_MODELS)
@pytest.mark.parametrize("loss", CROSSENTROPIES)
def test_losses_of_the_state_head_follow_their_definitions(name: ModelName, loss: LossName) -> None:
    network = made_network(name, loss=loss, loss_weight=7.0)
    window = made_windows(steps=6, batch=3)
    output = tf.nest.map_structure(lambda rows: rows[:, 0], predict_row(network, window, 5))
    target = features(tf.constant(window.packed[:, -1]), tf.constant(window.tempo_us[:, -1])).numpy()
    exponents = np.exp(output["keys"].numpy().astype(float))
    probabilities = exponents / exponents.sum(axis=-1, keepdims=True)
    states = np.stack([made_roll(seed, 6).states[-1] for seed in range(3)]).astype(int)
    true_probability = np.take_along_axis(probabilities, states[..., np.newaxis], axis=-1)[..., 0]
    errors = -np.log(true_probability) * ((1 - true_probability) ** 2 if loss == "focal" else 1)
    errors *= np.where(states != SILENT, 7.0, 1.0) if loss.startswith("weighted") else 1.0
    tempo = output["tempo"].numpy()
    losses = network.losses(window, training=False)
    assert losses["loss"].numpy() == pytest.approx(errors.mean(axis=1) + (tempo[:, 0] - target[:, -1]) ** 2, rel=1e-5)
    row = np.concatenate([probabilities[..., ONSET], probabilities[..., HOLD], tempo], axis=1)
    assert losses["mean_absolute_error"].numpy() == pytest.approx(np.abs(row - target).mean(axis=1), rel=1e-5)


def test_metrics_of_an_all_zero_relu_output_are_finite() -> None:
    network = made_network("base", activation="relu")
    network.keras.get_layer("output").bias.assign(tf.fill([177], -100.0))
    losses = network.losses(made_windows(steps=4), training=False)
    assert all(np.isfinite(value).all() for value in losses.values())
