"""Samples are legal, independent of their batch, and follow the corpus."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen import models
from pianogen.config import DataConfig, ModelConfig, SamplingConfig, TrainingConfig
from pianogen.data.statistics import Statistics, gather_statistics
from pianogen.data.windows import find_windows
from pianogen.errors import UsageError
from pianogen.midi.writer import write_midi
from pianogen.models.network import NUM_UNIFORMS, Network
from pianogen.roll import HOLD, ONSET, SILENT, Roll
from pianogen.sampling.decision import Decision
from pianogen.sampling.draw import BATCH, draw_samples, write_samples
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store

WINDOW_STEPS = 64


@pytest.fixture(scope="module")
def network() -> Network:
    keras.utils.set_random_seed(4)
    return models.build(ModelConfig(units=16), TrainingConfig(), WINDOW_STEPS)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Statistics:
    path = made_store(tmp_path_factory.mktemp("store") / "c.h5", [Split.TRAIN] * 3)
    with Store(path) as store:
        return gather_statistics(find_windows(store, Split.TRAIN, DataConfig()))


def is_legal(roll: Roll) -> bool:
    before = np.vstack([np.zeros((1, 88), np.uint8), roll.states[:-1]])
    return not ((roll.states == HOLD) & (before == SILENT)).any()


@pytest.mark.parametrize("threshold", ["dynamic", 0.2])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_samples_are_legal(network: Network, corpus: Statistics, threshold: str | float, temperature: float) -> None:
    rolls = draw_samples(
        network, SamplingConfig(num=3, steps=60, temperature=temperature, threshold=threshold), corpus, WINDOW_STEPS
    )
    assert [len(roll) for roll in rolls] == [60] * 3
    assert all(is_legal(roll) for roll in rolls)
    assert all(roll.tempo_us.min() >= 125_000 and roll.tempo_us.max() <= 4_000_000 for roll in rolls)


def test_sample_depends_on_seed_and_index_alone(network: Network, corpus: Statistics) -> None:
    many = draw_samples(network, SamplingConfig(num=BATCH + 2, steps=30), corpus, WINDOW_STEPS)
    few = draw_samples(network, SamplingConfig(num=2, steps=30), corpus, WINDOW_STEPS)
    other = draw_samples(network, SamplingConfig(num=2, steps=30, seed=1), corpus, WINDOW_STEPS)
    assert many[:2] == few
    assert len({roll.packed.tobytes() for roll in [*many, *other]}) == BATCH + 4


def test_dynamic_thresholds_follow_the_corpus(network: Network, corpus: Statistics) -> None:
    """As many keys are struck and as many held, though the network has learned nothing."""
    rolls = draw_samples(network, SamplingConfig(num=8, steps=400), corpus, WINDOW_STEPS)
    for state in (ONSET, HOLD):
        drawn, wanted = (
            np.concatenate([(roll.states == state).sum(axis=1) for roll in each])
            for each in (rolls, [made_roll(seed, 120 + seed) for seed in range(3)])
        )
        assert abs(drawn.mean() - wanted.mean()) < 0.15
        assert set(drawn) <= set(wanted)


NEVER = np.ones((89, 89), np.float32)  # odds of counts, which a static threshold does not read


@pytest.mark.parametrize(("threshold", "sounds"), [(0.2, [True, True, False]), (0.5, [True, False, False]), (0.95, [False] * 3)])
def test_static_threshold_lets_the_probable_sound(threshold: float, sounds: list[bool]) -> None:
    probabilities = np.full((1, 88, 3), 1e-6)
    probabilities[0, :, SILENT] = 1
    probabilities[0, :3] = [[0.1, 0.9, 1e-6], [0.7, 0.3, 1e-6], [0.9, 0.1, 1e-6]]
    decision = Decision(temperature=1e-6, threshold=threshold, hold_cdf=NEVER, onset_cdf=NEVER)
    states = decision(
        tf.math.log(tf.constant(probabilities, tf.float32)),
        tf.zeros((1, 88), tf.bool),
        tf.fill((1, NUM_UNIFORMS), 0.5),
    )
    assert (states.numpy()[0, :3] == ONSET).tolist() == sounds
    assert (states.numpy() != SILENT).sum() == sum(sounds)


def test_primer_is_continued_and_not_repeated(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    primer = tmp_path / "theme.mid"
    primer.write_bytes(write_midi(made_roll(11, 40)))
    plain = draw_samples(network, SamplingConfig(num=1, steps=30), corpus, WINDOW_STEPS)
    primed = draw_samples(network, SamplingConfig(num=1, steps=30, primer=str(primer)), corpus, WINDOW_STEPS)
    assert len(primed[0]) == 30
    assert is_legal(primed[0])
    assert primed != plain


@pytest.mark.parametrize(
    "content", [None, b"no MIDI", write_midi(Roll(np.zeros((4, 22), np.uint8), np.full(4, 500_000, np.uint32)))]
)
def test_unusable_primer_is_told(network: Network, corpus: Statistics, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "theme.mid"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"primer .*theme\.mid cannot be used"):
        draw_samples(network, SamplingConfig(num=1, steps=4, primer=str(path)), corpus, WINDOW_STEPS)


def test_samples_are_a_store(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    settings = SamplingConfig(num=3, steps=20)
    rolls = draw_samples(network, settings, corpus, WINDOW_STEPS)
    write_samples(tmp_path / "samples.h5", rolls, settings, {"run": "0000-base", "checkpoint": "ckpt-1"}, "1")
    with Store(tmp_path / "samples.h5") as store:
        store.verify()
        assert store.kind == "samples"
        assert [store.roll(index) for index in range(3)] == rolls
        assert (store.pieces.split == Split.NONE).all()
        assert store.pieces.sha256 == [roll.sha256 for roll in rolls]
        assert store.pieces.sample is not None
        assert '"seed": 0, "index": 2' in store.pieces.sample[2]
