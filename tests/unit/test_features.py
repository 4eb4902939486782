"""The features of a row."""

import numpy as np
import pytest
import tensorflow as tf

from pianogen.models.features import features, num_features, tempo_feature, tempo_us_of
from pianogen.roll import HOLD, ONSET, SILENT
from tests.support.made_music import made_roll


def test_features_are_onsets_holds_and_tempo() -> None:
    roll = made_roll(3)
    rows = features(tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))).numpy()
    assert rows.shape == (len(roll), num_features())
    assert np.array_equal(rows[:, :88], roll.states == ONSET)
    assert np.array_equal(rows[:, 88:176], roll.states == HOLD)
    assert np.allclose(rows[:, 176], np.log2(60e6 / roll.tempo_us / 15) / 5, atol=1e-6)


def test_silence_features_are_inserted_and_the_tempo_feature_is_removed() -> None:
    roll = made_roll(3)
    packed, tempo_us = tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))
    default = features(packed, tempo_us).numpy()
    with_silence = features(packed, tempo_us, silence=True).numpy()
    without_tempo = features(packed, tempo_us, tempo=False).numpy()
    assert np.array_equal(with_silence[:, 176:264], roll.states == SILENT)
    assert np.array_equal(np.delete(with_silence, range(176, 264), axis=1), default)
    assert np.array_equal(without_tempo, default[:, :176])


@pytest.mark.parametrize(("bpm", "feature"), [(15, 0.0), (60, 0.4), (120, 0.6), (480, 1.0), (3.6, 0.0), (6e7, 1.0)])
def test_tempo_feature_is_logarithmic_and_clipped(bpm: float, feature: float) -> None:
    assert tempo_feature(tf.constant(int(60e6 / bpm))).numpy() == pytest.approx(feature, abs=1e-6)


def test_tempo_of_a_tempo_feature_is_the_original() -> None:
    tempo_us = tf.constant([125_000, 333_333, 500_000, 1_000_000, 4_000_000])
    restored = tempo_us_of(tempo_feature(tempo_us)).numpy()
    assert np.allclose(restored, tempo_us.numpy(), rtol=3e-6)
