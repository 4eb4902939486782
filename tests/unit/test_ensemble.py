"""An ensemble of joint models: the means of their logits are a distribution over legal rows, and their tempos are mixed."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import Config
from pianogen.models.joint.network import Joint, joint_ensemble
from pianogen.models.network import NUM_UNIFORMS, Decision, Network
from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT, pack
from pianogen.training import networks
from pianogen.training.trained_model import TrainedModelError, load_ensemble, load_trained_model
from pianogen.window import Window
from tests.support.made_networks import made_joint, window_of

KEYS = range(40, 44)
SOUNDING = [40, 42]
HEADS = ["two_stage", "one_pass"]


def ensemble_of(networks: Sequence[Joint]) -> Joint:
    return Joint(joint_ensemble([network.keras for network in networks]))


def made_states(keys: dict[int, int]) -> np.ndarray:
    """(88,) states; keys that are not given are silent."""
    states = np.zeros(NUM_KEYS, np.uint8)
    states[list(keys)] = list(keys.values())
    return states


def legal_rows() -> np.ndarray:
    """(N, 88) all legal rows of KEYS after a row in which SOUNDING sound."""
    choices = [[SILENT, ONSET, HOLD] if key in SOUNDING else [SILENT, ONSET] for key in KEYS]
    return np.array([made_states(dict(zip(KEYS, states, strict=True))) for states in product(*choices)])


def windows(after: np.ndarray, tempo_us: int = 500_000) -> Window:
    """Windows of one row, each after a row in which SOUNDING sound."""
    before = np.tile(made_states(dict.fromkeys(SOUNDING, ONSET)), (len(after), 1))
    packed = tf.constant(np.stack([pack(before), pack(after)], axis=1))
    return window_of(packed, tf.constant([[500_000, tempo_us]] * len(after)))


def likelihoods(network: Network, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """(N,) log probabilities of the keys and of the tempo of a row."""
    state = network.initial_state(len(window.packed), 2, 500_000)
    output, _ = network.step(window.packed[:, 0], window.tempo_us[:, 0], tf.zeros(len(window.packed), tf.int32), state)
    losses = network.row_losses(output, window)
    return -losses["keys_nats"].numpy()[:, 0].astype(float), -losses["tempo_nats"].numpy()[:, 0].astype(float)


@pytest.mark.parametrize("head", HEADS)
def test_probabilities_of_legal_rows_sum_to_one_and_their_logits_are_means(head: str) -> None:
    members = [made_joint({"head": head}, KEYS, seed) for seed in (1, 2, 3)]
    rows = legal_rows()
    lowest_is_held = rows[:, KEYS.start] == HOLD
    logits = []
    for network in (*members, ensemble_of(members)):
        probabilities = np.exp(likelihoods(network, windows(rows))[0] - 84 * np.log1p(-1e-6))  # the other keys are silent
        assert probabilities.sum() == pytest.approx(1, rel=1e-5)
        is_silent = rows[:, KEYS.start] != HOLD if head == "two_stage" else rows[:, KEYS.start] == SILENT
        logits.append(np.log(probabilities[lowest_is_held].sum()) - np.log(probabilities[is_silent].sum()))
    assert logits[3] == pytest.approx(np.mean(logits[:3]), abs=1e-4)
    assert np.ptp(logits[:3]) > 0.1


@pytest.mark.parametrize("tempo_us", [500_000, 510_000])
def test_tempo_is_a_mixture(tempo_us: int) -> None:
    members = [made_joint({}, KEYS, seed) for seed in (1, 2)]
    window = windows(legal_rows()[:1], tempo_us)
    one, other, mixed = (likelihoods(network, window)[1][0] for network in (*members, ensemble_of(members)))
    assert mixed == pytest.approx(np.log((np.exp(one) + np.exp(other)) / 2), abs=1e-5)
    assert abs(one - other) > 0.01


@pytest.mark.parametrize("head", HEADS)
def test_ensemble_of_equal_models_draws_what_they_draw(head: str) -> None:
    network = made_joint({"head": head}, KEYS, 4)
    rows = legal_rows()
    window = windows(rows)
    uniforms = tf.constant(np.random.default_rng(1).random((len(rows), 1, NUM_UNIFORMS), np.float32))
    sounding = tf.constant(np.isin(np.arange(NUM_KEYS), SOUNDING) & np.ones((len(rows), 1, 1), bool))
    drawn = []
    for drawing in (network, ensemble_of([network, network])):
        state = drawing.initial_state(len(rows), 2, 500_000)
        output, _ = drawing.step(window.packed[:, 0], window.tempo_us[:, 0], tf.zeros(len(rows), tf.int32), state)
        states, _ = drawing.draw(output, sounding, uniforms, Decision())
        drawn.append(states.numpy())
    assert np.array_equal(*drawn)
    assert len(np.unique(drawn[0])) == 3


def test_ensemble_is_loaded_from_its_runs(tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        made_joint({}, KEYS, seed).keras.save(tmp_path / str(seed) / "model.keras")
    runs = [str(tmp_path / str(seed)) for seed in (1, 2)]
    config = Config.model_validate({"model": {"name": "joint", "ensemble": runs}})
    loaded, checkpoint = load_trained_model(config, KEYS, tmp_path / "no checkpoint")
    window = windows(legal_rows())
    expected = likelihoods(ensemble_of([made_joint({}, KEYS, seed) for seed in (1, 2)]), window)
    assert np.allclose(likelihoods(loaded, window), expected, atol=1e-6)
    assert checkpoint == "none"


def test_runs_that_cannot_be_combined_are_refused(tmp_path: Path) -> None:
    models = {head: made_joint({"head": head}, KEYS).keras for head in HEADS}
    models["base"] = networks.build(Config(), KEYS).keras
    for name, model in models.items():
        (tmp_path / name).mkdir()
        model.save(tmp_path / name / "model.keras")

    def refusal(*names: str) -> str:
        with pytest.raises(TrainedModelError) as caught:
            load_ensemble([str(tmp_path / name) for name in names])
        return str(caught.value)

    assert "different heads or keys; choose runs with the same model.head" in refusal("two_stage", "one_pass")
    assert f"{tmp_path / 'base'} has another model; expected joint" in refusal("two_stage", "base")
    assert f"{tmp_path / 'absent' / 'model.keras'} cannot be read" in refusal("two_stage", "absent")
