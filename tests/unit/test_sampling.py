"""Samples are legal, independent of each other, and follow the statistics of the corpus."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.api.trained import TrainedModel
from pianogen.config import Config, DataConfig, ModelConfig, SamplingConfig
from pianogen.data.statistics import Statistics, compute_statistics
from pianogen.data.windows import find_windows
from pianogen.errors import Interrupted, UsageError
from pianogen.midi.writer import write_midi
from pianogen.models.features import tempo_us_of
from pianogen.models.network import NUM_UNIFORMS, Network
from pianogen.roll import HOLD, ONSET, PACKED_BYTES, SILENT, Roll, equal_bars, pack, unpack
from pianogen.sampling.decision import ThresholdRule
from pianogen.sampling.draw import Sampler, draw_to_store
from pianogen.sampling.sample_store import SampleSource
from pianogen.store import Split, Store
from pianogen.training import networks
from tests.support.made_music import made_roll, made_store
from tests.support.made_networks import made_joint, made_network, window_of
from tests.support.rolls import roll_in_4_4

WINDOW_STEPS = 12


@pytest.fixture(scope="module")
def network() -> Network:
    keras.utils.set_random_seed(4)
    return networks.build(Config(model=ModelConfig(units=16), data=DataConfig(window_steps=WINDOW_STEPS)), range(88))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Statistics:
    path = made_store(tmp_path_factory.mktemp("store") / "c.h5", [Split.TRAIN] * 3)
    with Store(path) as store:
        return compute_statistics(find_windows(store, Split.TRAIN, DataConfig()))


def draw_samples(network: Network, corpus: Statistics, **settings: Any) -> list[Roll]:
    return [sample.roll for sample in Sampler(network, SamplingConfig(**settings), corpus).draw()]


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
    batch = network.sampling_batch
    many = draw_samples(network, corpus, num=batch + 2, steps=30)
    few = draw_samples(network, corpus, num=2, steps=30)
    other = draw_samples(network, corpus, num=2, steps=30, seed=1)
    assert many[:2] == few
    assert len({roll.packed.tobytes() for roll in [*many, *other]}) == batch + 4


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


def predicted_tempo_us(network: Network, silence_us: int, primer: Roll | None = None) -> int:
    """The tempo that the Keras model predicts for the step after a window of silence and the primer."""
    packed, tempo_us = np.zeros((WINDOW_STEPS, PACKED_BYTES), np.uint8), np.full(WINDOW_STEPS, silence_us, np.int32)
    if primer is not None:
        packed, tempo_us = np.concatenate([packed, primer.packed]), np.append(tempo_us, primer.tempo_us.astype(np.int32))
    return int(tempo_us_of(network.keras([packed[np.newaxis], tempo_us[np.newaxis]])[0, -1]))


def test_sample_starts_from_a_window_of_silence_at_the_median_tempo(network: Network, corpus: Statistics) -> None:
    (roll,) = draw_samples(network, corpus, num=1, steps=1)
    assert int(roll.tempo_us[0]) == pytest.approx(predicted_tempo_us(network, corpus.median_tempo_us), rel=1e-5)
    assert int(roll.tempo_us[0]) != pytest.approx(predicted_tempo_us(network, corpus.median_tempo_us // 2), rel=1e-4)


@pytest.mark.parametrize("primer_steps", [None, 10, 100])
def test_sample_continues_silence_and_the_first_steps_of_the_primer(
    network: Network, corpus: Statistics, tmp_path: Path, primer_steps: int | None
) -> None:
    path, piece = tmp_path / "theme.mid", made_roll(11, 40)
    path.write_bytes(write_midi(piece))
    (roll,) = draw_samples(network, corpus, num=1, steps=30, primer=str(path), primer_steps=primer_steps)
    assert len(roll) == 30
    assert is_legal(roll)
    expected = {
        steps: predicted_tempo_us(network, corpus.median_tempo_us, roll_in_4_4(piece.packed[:steps], piece.tempo_us[:steps]))
        for steps in (0, 10, 39, 40)
    }
    used_steps = 10 if primer_steps == 10 else 40
    assert int(roll.tempo_us[0]) == pytest.approx(expected.pop(used_steps), rel=1e-5)
    assert all(int(roll.tempo_us[0]) != pytest.approx(other, rel=1e-4) for other in expected.values())


def test_drawn_tempo_changes_from_step_to_step(network: Network, corpus: Statistics) -> None:
    (roll,) = draw_samples(network, corpus, num=1, steps=30)
    assert len(set(roll.tempo_us.tolist())) > 20


def test_fixed_tempo_is_that_of_every_step_and_of_the_silence_before(corpus: Statistics) -> None:
    network = made_network("base")
    kernel = network.keras.get_layer("body_0").cell.kernel
    kernel.assign(kernel * np.where(np.arange(177) == 176, 8, 1)[:, np.newaxis])  # so that keys depend on the tempo
    median = {"tempo": 60e6 / corpus.median_tempo_us}
    settings: dict[str, dict[str, Any]] = {"fixed": {"tempo": 20.3}, "median": median, "drawn": {}}
    rolls = {
        name: draw_samples(network, corpus, num=1, steps=30, temperature=0.001, **tempo)[0] for name, tempo in settings.items()
    }
    assert (rolls["fixed"].tempo_us == round(60e6 / 20.3)).all()
    assert (rolls["median"].tempo_us == corpus.median_tempo_us).all()
    first_rows, last_rows = ({name: roll.packed[step].tobytes() for name, roll in rolls.items()} for step in (0, -1))
    assert first_rows["drawn"] == first_rows["median"] != first_rows["fixed"], "the silence must have the fixed tempo"
    assert len(set(last_rows.values())) == 3, "the network must read the fixed tempo"


@pytest.mark.parametrize(
    "content", [None, b"not a MIDI file", write_midi(roll_in_4_4(np.zeros((4, 22), np.uint8), np.full(4, 500_000, np.uint32)))]
)
def test_primer_without_notes_is_refused(network: Network, corpus: Statistics, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "theme.mid"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read the primer .*theme\.mid"):
        draw_samples(network, corpus, num=1, steps=4, primer=str(path))


def test_settings_of_the_python_api_may_be_numpy_numbers_and_paths(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    model = TrainedModel(tmp_path, Config(), network, corpus)
    with pytest.raises(UsageError, match=r"cannot read the primer .*theme\.mid"):
        model.sample(1, steps=np.uint8(4), seed=np.int64(3), temperature=np.float32(0.5), primer=tmp_path / "theme.mid")
    with pytest.raises(UsageError, match="sample: seed is -1, expected 0 or more"):
        model.sample(1, seed=np.int64(-1))


BARS = np.concatenate([np.arange(8, 12), np.tile(np.arange(12), 2), np.arange(5)]).astype(
    np.uint8
)  # 3/4, incomplete at both ends
OTHER_BARS = np.concatenate([np.arange(16), np.arange(12), np.arange(5)]).astype(np.uint8)  # 4/4, then 3/4


def primer_with_bars(path: Path, bar_position: np.ndarray, steps_per_quarter: int = 4) -> str:
    """A primer without rests that has these bar positions."""
    states = np.zeros((len(bar_position), 88), np.uint8)
    states[:, 40] = ONSET
    tempo_us = np.full(len(states), 500_000, np.uint32)
    path.write_bytes(write_midi(Roll(pack(states), tempo_us, bar_position, steps_per_quarter=steps_per_quarter)))
    return str(path)


@pytest.mark.parametrize(
    ("bars", "settings", "expected"),
    [
        (None, {}, [*range(16), *range(16)]),
        (None, {"meter": "3/4"}, [*range(12), *range(12)]),
        (BARS, {}, [*range(5, 12), *range(12)]),
        (BARS, {"meter": "4/4"}, [*range(5, 16), *range(16)]),
        (BARS, {"meter": "2/8"}, [*range(4), *range(4)]),
        (BARS, {"primer_steps": 2}, [*range(10, 12), *range(12)]),
        (BARS, {"primer_steps": 4}, [*range(12), *range(12)]),
        (BARS, {"primer_steps": 16}, [*range(12), *range(12)]),
        (OTHER_BARS, {"primer_steps": 16}, [*range(16), *range(16)]),
        (OTHER_BARS, {"primer_steps": 18}, [*range(2, 12), *range(12)]),
        (OTHER_BARS, {"primer_steps": 30}, [*range(2, 12), *range(12)]),
        (BARS[:7], {}, [*range(3, 16), *range(16)]),
    ],
)
def test_bars_of_samples_continue_those_of_the_primer(
    network: Network, corpus: Statistics, tmp_path: Path, bars: np.ndarray | None, settings: dict[str, Any], expected: list[int]
) -> None:
    primer = None if bars is None else primer_with_bars(tmp_path / "theme.mid", bars)
    sampler = Sampler(network, SamplingConfig(num=2, steps=len(expected), primer=primer, **settings), corpus)
    assert sampler.bar_position.tolist() == expected


def test_samples_have_the_steps_per_quarter_of_the_corpus(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    corpus = replace(corpus, steps_per_quarter=12)
    primer = primer_with_bars(tmp_path / "theme.mid", equal_bars(40, 36), 12)
    (roll,) = draw_samples(network, corpus, num=1, steps=40, primer=primer, meter="1/4")
    assert roll.steps_per_quarter == 12
    assert roll.bar_position.tolist() == [*range(4, 12), *range(12), *range(12), *range(8)]


@pytest.mark.parametrize(("meter", "steps"), [("1/32", "0.5"), ("64/4", "256")])
def test_meter_without_a_whole_number_of_at_most_255_steps_is_refused(
    network: Network, corpus: Statistics, meter: str, steps: str
) -> None:
    with pytest.raises(UsageError, match=rf"sampling\.meter: a bar of {meter} has {steps} steps with 4 steps per quarter note"):
        draw_samples(network, corpus, num=1, steps=4, meter=meter)


def test_bar_positions_change_what_the_joint_model_draws(corpus: Statistics) -> None:
    network = made_joint({}, range(30, 60))
    settings = {"num": 1, "steps": 40, "threshold": None}
    one, other = (draw_samples(network, corpus, meter=meter, **settings)[0] for meter in ("4/4", "3/4"))
    assert np.array_equal(one.packed[:12], other.packed[:12])  # the bars differ from step 12 on
    assert not np.array_equal(one.packed, other.packed)


def test_samples_are_written_as_a_store(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    sampler = Sampler(network, SamplingConfig(num=3, steps=20), corpus)
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
                "top_p": 1.0,
                "threshold": "dynamic",
                "primer": None,
                "primer_steps": None,
                "meter": None,
                "tempo": "drawn",
                "best_of": 1,
            }
            for index in range(3)
        ]


def test_samples_from_an_index_on_are_those_of_a_longer_set(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    """Bit by bit, in the first batch and in the second one."""
    num, best_of = 12, 3
    assert network.sampling_batch < num * best_of < 2 * network.sampling_batch
    sampler = Sampler(network, SamplingConfig(num=num, steps=12, best_of=best_of), corpus)
    rolls = [sample.roll for sample in sampler.draw()]
    for first in (1, num - 1):
        path = tmp_path / f"{first}.h5"
        assert draw_to_store(path, sampler, SampleSource("0000-base", "ckpt-1"), first=first) == rolls[first:]
        with Store(path) as store:
            assert store.pieces.name == [f"{index:04d}" for index in range(first, num)]
            assert [json.loads(text)["index"] for text in store.pieces.sample or ()] == list(range(first, num))


def test_most_probable_candidate_is_kept(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    """The candidates of a sample are the samples of a run without a choice."""
    source = SampleSource("0000-base", "ckpt-1")
    chosen = Sampler(network, SamplingConfig(num=3, steps=20, best_of=4), corpus)
    rolls = draw_to_store(tmp_path / "samples.h5", chosen, source)
    candidates = draw_samples(network, corpus, num=12, steps=20)
    with Store(tmp_path / "samples.h5") as store:
        assert store.pieces.sample is not None
        records = [json.loads(text) for text in store.pieces.sample]
    for index, (roll, record) in enumerate(zip(rolls, records, strict=True)):
        nats = [nats_per_note(network, corpus, candidate) for candidate in candidates[4 * index : 4 * index + 4]]
        assert record["candidate"] == int(np.argmin(nats))
        assert record["nats_per_note"] == pytest.approx(min(nats), rel=1e-4)
        assert roll == candidates[4 * index + record["candidate"]]


def nats_per_note(network: Network, corpus: Statistics, roll: Roll) -> float:
    """The negative log-likelihood per onset of a sample, read as one window after silence."""
    packed = np.concatenate([np.zeros((1, 22), np.uint8), roll.packed])[np.newaxis]
    tempo_us = np.append(corpus.median_tempo_us, roll.tempo_us)[np.newaxis].astype(np.int32)
    output, _ = network.read(window_of(packed, tempo_us), network.initial_state(1, 0, corpus.median_tempo_us))
    states = unpack(packed[0])[np.newaxis]
    return -float(tf.reduce_sum(network.log_likelihood(output, states[:, 1:], states[:, :-1] != SILENT))) / roll.num_notes


def test_shutdown_request_stops_the_drawing_and_writes_no_store(network: Network, corpus: Statistics, tmp_path: Path) -> None:
    sampler = Sampler(network, SamplingConfig(num=network.sampling_batch + 1, steps=4), corpus)
    shutdown_flags = iter([False, True])
    with pytest.raises(Interrupted, match="received a shutdown signal while drawing samples"):
        draw_to_store(tmp_path / "samples.h5", sampler, SampleSource("0000-base", "ckpt-1"), lambda: next(shutdown_flags))
    assert not (tmp_path / "samples.h5").exists()
