"""The likelihood of a row is normalized, and draws follow it."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import ModelName
from pianogen.models.network import NUM_UNIFORMS, Decision, Network
from pianogen.roll import HOLD, ONSET, SILENT
from pianogen.sampling.decision import ThresholdRule
from tests.support.made_music import made_roll
from tests.support.made_networks import SILENCE_US, after_silence, made_network, made_windows, reference_probabilities

MODELS: list[tuple[ModelName, dict[str, Any]]] = [
    ("base", {}),
    ("base", {"silence": True, "activation": "sigmoid"}),
    ("bidirectional", {}),
    ("split", {}),
    ("pair", {}),
]


NUM_ROWS = 3


def read_piece(network: Network, batch: int = 1) -> Any:
    """The output for the first rows of pieces."""
    piece = after_silence(made_windows(NUM_ROWS, batch), 1)
    return network.read(piece, network.initial_state(batch, 0, SILENCE_US))[0]


def repeat(output: Any, times: int) -> Any:
    return tf.nest.map_structure(lambda tensor: tf.repeat(tensor, times, axis=0), output)


def sounding_before(batch: int) -> np.ndarray:
    """(B, W, 88) bool: other keys before each row."""
    return np.tile((np.arange(88) + np.arange(NUM_ROWS)[:, np.newaxis]) % 2 == 0, (batch, 1, 1))


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_probabilities_of_the_legal_states_of_a_key_sum_to_one(name: ModelName, model: dict[str, Any]) -> None:
    """Each of the 88 keys in turn takes its three states while the other 87 are silent."""
    network = made_network(name, **model)
    states = np.zeros((88, 3, NUM_ROWS, 88), np.uint8)
    states[np.arange(88), :, :, np.arange(88)] = np.array([SILENT, ONSET, HOLD])[:, np.newaxis]
    sounding = sounding_before(88 * 3)
    likelihood = network.log_likelihood(repeat(read_piece(network), 88 * 3), states.reshape(-1, NUM_ROWS, 88), sounding)
    likelihood = likelihood.numpy().reshape(88, 3, NUM_ROWS).astype(float)
    assert np.array_equal(np.isneginf(likelihood[:, HOLD]), ~sounding[0].T)
    # The likelihood of a state relative to silence is p(state) / p(silent). If the three states of a key sum to 1, the sum of
    # these ratios is 1 / p(silent), and the product over all keys is 1 / p(all keys silent).
    silence = likelihood[0, SILENT]
    assert np.log(np.exp(likelihood - silence).sum(axis=1)).sum(axis=0) == pytest.approx(-silence, rel=1e-5)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_likelihood_is_the_product_over_keys(name: ModelName, model: dict[str, Any]) -> None:
    network = made_network(name, **model)
    output = read_piece(network, batch=2)
    states = np.stack([made_roll(seed, NUM_ROWS).states for seed in range(2)])
    sounding = (states == HOLD) | (np.arange(88) % 3 == 0)
    probabilities = reference_probabilities(output, sounding)
    true_probabilities = np.take_along_axis(probabilities, states[..., np.newaxis].astype(int), axis=-1)[..., 0]
    likelihood = network.log_likelihood(output, states, sounding)
    assert likelihood.dtype == tf.float32
    assert likelihood.numpy() == pytest.approx(np.log(true_probabilities).sum(axis=-1), rel=1e-5)


UNUSED_CDF = np.ones((89, 89), np.float32)  # a static threshold does not read the distributions of counts


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_draws_follow_the_likelihood(name: ModelName, model: dict[str, Any]) -> None:
    """With a static threshold of one half and temperature 1, the frequency of a drawn state is its probability."""
    network = made_network(name, **model)
    num_draws = 2_000
    output = read_piece(network)
    sounding = sounding_before(num_draws)
    noise = np.random.default_rng(5).random((num_draws, NUM_ROWS, NUM_UNIFORMS), np.float32)
    rule = ThresholdRule(temperature=1.0, threshold=0.5, hold_cdf=UNUSED_CDF, onset_cdf=UNUSED_CDF)
    states, tempo_us = network.draw(repeat(output, num_draws), sounding, noise, Decision(rule=rule))
    assert states.shape == (num_draws, NUM_ROWS, 88)
    assert states.dtype == tf.uint8
    assert not (states.numpy()[~sounding] == HOLD).any()
    assert np.array_equal(tempo_us, np.tile(tempo_us[:1], (num_draws, 1)))
    assert len(np.unique(tempo_us)) == NUM_ROWS
    drawn = np.stack([(states.numpy() == state).mean(axis=0) for state in (SILENT, ONSET, HOLD)], axis=-1)
    assert np.abs(drawn - reference_probabilities(output, sounding[:1])[0]).max() < 0.06


def test_draw_without_a_decision_rule_is_an_error() -> None:
    network = made_network("base")
    with pytest.raises(ValueError, match="needs a decision rule"):
        network.draw(read_piece(network), sounding_before(1), np.zeros((1, NUM_ROWS, NUM_UNIFORMS), np.float32), Decision())
