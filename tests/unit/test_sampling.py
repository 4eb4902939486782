"""Samples are legal, independent of each other, and follow the statistics of the corpus."""

import json
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen import models
from pianogen.config import DataConfig, ModelConfig, SamplingConfig, TrainingConfig
from pianogen.data.statistics import Statistics, compute_statistics
from pianogen.data.windows import find_windows
from pianogen.errors import Interrupted, UsageError
from pianogen.midi.writer import write_midi
from pianogen.models.network import NUM_UNIFORMS, Network
from pianogen.roll import HOLD, ONSET, SILENT, Roll
from pianogen.sampling.decision import ThresholdRule
from pianogen.sampling.draw import BATCH, Sampler, draw_to_store
from pianogen.sampling.sample_store import SampleSource
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
        return compute_statistics(find_windows(store, Split.TRAIN, DataConfig()))


def draw_samples(network: Network, corpus: Statistics, **settings: Any) -> list[Roll]:
    return Sampler(network, SamplingConfig(**settings), corpus, WINDOW_STEPS).draw()


def is_legal(roll: Roll) -> bool:
    """Whether every hold follows an onset or a hold."""
    before = np.vstack([np.zeros((1, 88), np.uint8), roll.states[:-1]])
    return not ((roll.states == HOLD) & (before == SILENT)).any()


@pytest.mark.parametrize("threshold", ["dynamic", 0.2])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_samples_are_legal(
    network: Network, corpus: Statistics, threshold: Literal["dynamic"] | float, temperature: float
) -> None:
    rolls = draw_samples(network, corpus, num=3, steps=60, temperature=temperature, threshold=threshold)
    assert [len(roll) for roll in rolls] == [60] * 3
    assert all(is_legal(roll) for roll in rolls)
    assert all(roll.tempo_us.min() >= 125_000 and roll.tempo_us.max() <= 4_000_000 for roll in rolls)


def test_sample_depends_only_on_seed_and_index(network: Network, corpus: Statistics) -> None:
    many = draw_samples(network, corpus, num=BATCH + 2, steps=30)
    few = draw_samples(network, corpus, num=2, steps=30)
    other = draw_samples(network, corpus, num=2, steps=30, seed=1)
    assert many[:2] == few
    assert len({roll.packed.tobytes() for roll in [*many, *other]}) == BATCH + 4


def test_dynamic_thresholds_follow_the_corpus(network: Network, corpus: Statistics) -> None:
    """The numbers of onsets and holds are those of the corpus, although the network is not trained."""
    rolls = draw_samples(network, corpus, num=8, steps=400)
    for state in (ONSET, HOLD):
        sample_counts, corpus_counts = (
            np.concatenate([(roll.states == state).sum(axis=1) for roll in source])
            for source in (rolls, [made_roll(seed, 120 + seed) for seed in range(3)])
        )
        assert abs(sample_counts.mean() - corpus_counts.mean()) < 0.15
        assert set(sample_counts) <= set(corpus_counts)


UNUSED_CDF = np.ones((89, 89), np.float32)  # a static threshold does not read the distributions of counts


@pytest.mark.parametrize(("threshold", "sounds"), [(0.2, [True, True, False]), (0.5, [True, False, False]), (0.95, [False] * 3)])
def test_static_threshold_lets_more_probable_keys_sound(threshold: float, sounds: list[bool]) -> None:
    probabilities = np.full((1, 88, 3), 1e-6)
    probabilities[0, :, SILENT] = 1
    probabilities[0, :3] = [[0.1, 0.9, 1e-6], [0.7, 0.3, 1e-6], [0.9, 0.1, 1e-6]]
    rule = ThresholdRule(temperature=1e-6, threshold=threshold, hold_cdf=UNUSED_CDF, onset_cdf=UNUSED_CDF)
    states = rule(
        tf.math.log(tf.constant(probabilities, tf.float32)),
        tf.zeros((1, 88), tf.bool),
        tf.fill((1, NUM_UNIFORMS), 0.5),
    )
    assert (states.numpy()[0, :3] == ONSET).tolist() == sounds
    assert (states.numpy() != SILENT).sum() == sum(sounds)


def test_sample_continues_the_primer_without_repeating_it(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    primer = tmp_path / "theme.mid"
    primer.write_bytes(write_midi(made_roll(11, 40)))
    plain = draw_samples(network, corpus, num=1, steps=30)
    primed = draw_samples(network, corpus, num=1, steps=30, primer=str(primer))
    assert len(primed[0]) == 30
    assert is_legal(primed[0])
    assert primed != plain


@pytest.mark.parametrize(
    "content", [None, b"not a MIDI file", write_midi(Roll(np.zeros((4, 22), np.uint8), np.full(4, 500_000, np.uint32)))]
)
def test_primer_without_notes_is_refused(network: Network, corpus: Statistics, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "theme.mid"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read the primer .*theme\.mid"):
        draw_samples(network, corpus, num=1, steps=4, primer=str(path))


def test_samples_are_written_as_a_store(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    sampler = Sampler(network, SamplingConfig(num=3, steps=20), corpus, WINDOW_STEPS)
    rolls = draw_to_store(tmp_path / "samples.h5", sampler, SampleSource("0000-base", "ckpt-1"))
    with Store(tmp_path / "samples.h5") as store:
        assert store.kind == "samples"
        assert [store.roll(index) for index in range(3)] == rolls
        assert (store.pieces.split == Split.NONE).all()
        assert store.pieces.sha256 == [roll.sha256 for roll in rolls]
        assert store.pieces.sample is not None
        assert [json.loads(text) for text in store.pieces.sample] == [
            {
                "run": "0000-base",
                "checkpoint": "ckpt-1",
                "seed": 0,
                "index": index,
                "temperature": 1.0,
                "threshold": "dynamic",
                "primer": None,
            }
            for index in range(3)
        ]


def test_shutdown_request_stops_the_drawing_and_writes_no_store(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    sampler = Sampler(network, SamplingConfig(num=BATCH + 1, steps=4), corpus, WINDOW_STEPS)
    shutdown_flags = iter([False, True])
    with pytest.raises(Interrupted, match="received a shutdown signal while drawing samples"):
        draw_to_store(tmp_path / "samples.h5", sampler, SampleSource("0000-base", "ckpt-1"), lambda: next(shutdown_flags))
    assert not (tmp_path / "samples.h5").exists()
