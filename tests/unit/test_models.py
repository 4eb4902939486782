"""The report's networks."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_music import made_roll, made_store

from pianogen import models
from pianogen.config import DataConfig, ModelConfig
from pianogen.features import NUM_FEATURES, features, tempo_feature, tempo_us_of
from pianogen.metrics import constant_predictor_loss
from pianogen.roll import HOLD, ONSET
from pianogen.store import Split, Store
from pianogen.windows import read_windows


@pytest.mark.parametrize(("name", "parameters"), [("base", 104_963), ("gru", 89_667)])
def test_parameter_counts_are_the_reports(name: str, parameters: int) -> None:
    assert models.build(ModelConfig(name=name)).keras.count_params() == parameters


def test_features_are_onsets_holds_and_tempo() -> None:
    roll = made_roll(3)
    found = features(tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))).numpy()
    assert found.shape == (len(roll), NUM_FEATURES)
    assert np.array_equal(found[:, :88], roll.states == ONSET)
    assert np.array_equal(found[:, 88:176], roll.states == HOLD)
    assert np.allclose(found[:, 176], np.log2(60e6 / roll.tempo_us / 15) / 5, atol=1e-6)


@pytest.mark.parametrize(("bpm", "feature"), [(15, 0.0), (60, 0.4), (120, 0.6), (480, 1.0), (3.6, 0.0), (6e7, 1.0)])
def test_tempo_feature_is_logarithmic_and_bounded(bpm: float, feature: float) -> None:
    assert tempo_feature(tf.constant(int(60e6 / bpm))).numpy() == pytest.approx(feature, abs=1e-6)


def test_tempo_survives_its_feature() -> None:
    tempo_us = tf.constant([125_000, 333_333, 500_000, 1_000_000, 4_000_000])
    back = tempo_us_of(tempo_feature(tempo_us)).numpy()
    assert np.allclose(back, tempo_us.numpy(), rtol=3e-6)


@pytest.mark.parametrize("name", ["base", "gru"])
def test_steps_give_what_the_window_gives(name: str) -> None:
    keras.utils.set_random_seed(1)
    network = models.build(ModelConfig(name=name, units=16))
    roll = made_roll(5, steps=20)
    packed, tempo_us = roll.packed[np.newaxis], roll.tempo_us.astype(np.int32)[np.newaxis]
    state = network.initial_state(1)
    for step in range(20):
        output, state = network.step(packed[:, step], tempo_us[:, step], state)
    assert np.allclose(output.numpy(), network.keras([packed, tempo_us]).numpy(), atol=1e-6)


def test_saved_model_opens_in_keras(tmp_path: Path) -> None:
    network = models.build(ModelConfig(units=8))
    network.keras.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    roll = made_roll(7, steps=12)
    inputs = [roll.packed[np.newaxis], roll.tempo_us.astype(np.int32)[np.newaxis]]
    assert np.array_equal(loaded(inputs), network.keras(inputs))


def test_losses_are_those_of_the_row_after_the_window() -> None:
    keras.utils.set_random_seed(2)
    network = models.build(ModelConfig(units=8))
    roll = made_roll(9, steps=11)
    packed, tempo_us = roll.packed[np.newaxis], roll.tempo_us.astype(np.int32)[np.newaxis]
    target = features(tf.constant(packed[:, -1]), tf.constant(tempo_us[:, -1])).numpy()
    output = network.keras([packed[:, :-1], tempo_us[:, :-1]]).numpy()
    losses = network.losses(packed, tempo_us, training=False)
    assert losses["loss"].numpy() == pytest.approx(np.mean((output - target) ** 2), rel=1e-5)
    assert losses["mean_absolute_error"].numpy() == pytest.approx(np.mean(np.abs(output - target)), rel=1e-5)


def test_constant_predictor_is_the_mean_of_the_predicted_rows(tmp_path: Path) -> None:
    path = made_store(tmp_path / "c.h5", [Split.TRAIN, Split.TRAIN])
    with Store(path) as store:
        windows = read_windows(store, Split.TRAIN, DataConfig(window_steps=30, stride=7))
    rows = [piece[first + 30] for piece in map(as_features, (0, 1)) for first in range(0, len(piece) - 30, 7)]
    assert constant_predictor_loss(windows) == pytest.approx(np.mean((rows - np.mean(rows, axis=0)) ** 2), rel=1e-5)


def as_features(seed: int) -> np.ndarray:
    roll = made_roll(seed, 120 + seed)
    return features(tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))).numpy()
