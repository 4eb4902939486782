"""The likelihood of a step is normalized, and draws follow it."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import ModelName
from pianogen.models.network import NUM_UNIFORMS
from pianogen.roll import HOLD, ONSET, SILENT
from pianogen.sampling.decision import ThresholdRule
from tests.support.made_music import made_roll
from tests.support.made_networks import STATE_HEAD_MODELS, made_network, made_windows

MODELS: list[tuple[ModelName, dict[str, Any]]] = [
    ("base", {}),
    ("base", {"silence": True, "activation": "sigmoid"}),
    ("bidirectional", {}),
    ("split", {}),
    ("pair", {}),
]


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_probabilities_of_the_legal_states_of_a_key_sum_to_one(name: ModelName, model: dict[str, Any]) -> None:
    """Each of the 88 keys in turn takes its three states while the other 87 are silent."""
    network = made_network(name, **model)
    output = network.predict(*made_windows(steps=6)[:2])
    outputs = tf.nest.map_structure(lambda tensor: tf.repeat(tensor, 3 * 88, axis=0), output)
    states = np.zeros((88, 3, 88), np.uint8)
    states[np.arange(88), :, np.arange(88)] = [SILENT, ONSET, HOLD]
    sounding = np.tile(np.arange(88) % 2 == 0, (3 * 88, 1))
    likelihood = network.log_likelihood(outputs, states.reshape(-1, 88), sounding).numpy().reshape(88, 3).astype(float)
    assert np.array_equal(np.isneginf(likelihood[:, HOLD]), ~sounding[0])
    # The likelihood of a state relative to silence is p(state) / p(silent). If the three states of a key sum to 1, the sum of
    # these ratios is 1 / p(silent), and the product over all keys is 1 / p(all keys silent).
    silence = likelihood[0, SILENT]
    assert np.log(np.exp(likelihood - silence).sum(axis=1)).sum() == pytest.approx(-silence, rel=1e-5)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_likelihood_is_the_product_over_keys(name: ModelName, model: dict[str, Any]) -> None:
    network = made_network(name, **model)
    packed, tempo_us, _ = made_windows(steps=6, batch=2)
    output = network.predict(packed, tempo_us)
    if name in STATE_HEAD_MODELS:
        weights = np.exp(output["keys"].numpy().astype(float))
    else:
        onset, hold = (output.numpy().astype(float)[:, first : first + 88] for first in (0, 88))
        silent = output.numpy()[:, 176:264] if model.get("silence") else 1 - onset - hold
        weights = np.clip(np.stack([silent, onset, hold], axis=-1), 1e-4, 1)
    states = np.stack([made_roll(seed, 7).states[-1] for seed in range(2)])
    sounding = (states == HOLD) | (np.arange(88) % 3 == 0)
    weights[..., HOLD] *= sounding
    true_probabilities = np.take_along_axis(weights, states[..., np.newaxis].astype(int), axis=-1)[..., 0] / weights.sum(axis=-1)
    likelihood = network.log_likelihood(output, states, sounding)
    assert likelihood.dtype == tf.float32
    assert likelihood.numpy() == pytest.approx(np.log(true_probabilities).sum(axis=1), rel=1e-5)


UNUSED_CDF = np.ones((89, 89), np.float32)  # a static threshold does not read the distributions of counts


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_draws_follow_the_likelihood(name: ModelName, model: dict[str, Any]) -> None:
    """With a static threshold of one half and temperature 1, the frequency of a drawn state is its probability."""
    network = made_network(name, **model)
    num_draws = 2_000
    output = tf.nest.map_structure(
        lambda tensor: tf.repeat(tensor, num_draws, axis=0), network.predict(*made_windows(steps=6)[:2])
    )
    sounding = np.tile(np.arange(88) % 2 == 0, (num_draws, 1))
    noise = np.random.default_rng(5).random((num_draws, NUM_UNIFORMS), np.float32)
    rule = ThresholdRule(temperature=1.0, threshold=0.5, hold_cdf=UNUSED_CDF, onset_cdf=UNUSED_CDF)
    states, tempo_us = network.draw(output, sounding, noise, rule)
    assert states.shape == (num_draws, 88)
    assert not (states.numpy()[~sounding] == HOLD).any()
    assert np.unique(tempo_us).size == 1
    singles = np.zeros((3, 88, 88), np.uint8)
    for state in (SILENT, ONSET, HOLD):
        np.fill_diagonal(singles[state], state)
    some = tf.nest.map_structure(lambda tensor: tensor[: 3 * 88], output)
    relative = network.log_likelihood(some, singles.reshape(-1, 88), sounding[: 3 * 88]).numpy().reshape(3, 88)
    probabilities = np.exp(relative - relative[SILENT]) / np.exp(relative - relative[SILENT]).sum(axis=0)
    drawn = np.stack([(states.numpy() == state).mean(axis=0) for state in (SILENT, ONSET, HOLD)])
    assert np.abs(drawn - probabilities).max() < 0.06
