"""Probabilities of a step: that they are some, and that draws follow them."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pianogen.models.network import NUM_UNIFORMS
from pianogen.roll import HOLD, ONSET, SILENT
from pianogen.sampling.decision import Decision
from tests.support.made_music import made_roll
from tests.support.made_networks import WITH_HEADS, made_network, music

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
    network = made_network(name, **model)
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
    network = made_network(name, **model)
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


NEVER = np.ones((89, 89), np.float32)  # odds of counts, which a static threshold does not read


@pytest.mark.parametrize(("name", "model"), READ_AS_PROBABILITIES)
def test_draws_follow_the_likelihood(name: str, model: dict[str, Any]) -> None:
    """At a static threshold of one half and temperature 1, a key sounds as often as its probabilities say."""
    network = made_network(name, **model)
    num_draws = 2_000
    output = tf.nest.map_structure(lambda each: tf.repeat(each, num_draws, axis=0), network.predict(*music(steps=6)))
    sounding = np.tile(np.arange(88) % 2 == 0, (num_draws, 1))
    noise = np.random.default_rng(5).random((num_draws, NUM_UNIFORMS), np.float32)
    decision = Decision(temperature=1.0, threshold=0.5, hold_cdf=NEVER, onset_cdf=NEVER)
    states, tempo_us = network.draw(output, sounding, noise, decision)
    assert states.shape == (num_draws, 88)
    assert not (states.numpy()[~sounding] == HOLD).any()
    assert np.unique(tempo_us).size == 1
    singles = np.zeros((3, 88, 88), np.uint8)
    for state in (SILENT, ONSET, HOLD):
        np.fill_diagonal(singles[state], state)
    some = tf.nest.map_structure(lambda each: each[: 3 * 88], output)
    relative = network.log_likelihood(some, singles.reshape(-1, 88), sounding[: 3 * 88]).numpy().reshape(3, 88)
    probabilities = np.exp(relative - relative[SILENT]) / np.exp(relative - relative[SILENT]).sum(axis=0)
    drawn = np.stack([(states.numpy() == state).mean(axis=0) for state in (SILENT, ONSET, HOLD)])
    assert np.abs(drawn - probabilities).max() < 0.06
