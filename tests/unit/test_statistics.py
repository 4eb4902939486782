"""Statistics are what plain counting finds."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from pianogen.config import DataConfig
from pianogen.data.statistics import Statistics, gather_statistics
from pianogen.data.windows import find_windows
from pianogen.evaluation import trivial
from pianogen.models.features import features
from pianogen.roll import Roll, pack
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store

WINDOW_STEPS, STRIDE = 30, 7


@dataclass
class Blocks:
    """Rolls as windows give them, some at a time."""

    rolls: list[list[Roll]]
    window_steps: int = 1
    stride: int = 1

    def blocks(self) -> Iterator[tuple[Roll, np.ndarray]]:
        for rolls in self.rolls:
            lengths = np.array([len(roll) for roll in rolls])
            packed = np.concatenate([roll.packed for roll in rolls])
            yield Roll(packed, np.concatenate([roll.tempo_us for roll in rolls])), np.cumsum(lengths) - lengths


@pytest.fixture(scope="module")
def rolls() -> list[Roll]:
    return [made_roll(seed, 120 + seed) for seed in range(3)]


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Statistics:
    path = made_store(tmp_path_factory.mktemp("store") / "c.h5", [Split.TRAIN] * 3 + [Split.VALID])
    with Store(path) as store:
        return gather_statistics(find_windows(store, Split.TRAIN, DataConfig(window_steps=WINDOW_STEPS, stride=STRIDE)))


def test_states_and_transitions_are_counted(statistics: Statistics, rolls: list[Roll]) -> None:
    states, transitions = np.zeros((88, 3)), np.zeros((88, 3, 3))
    for roll in rolls:
        for key in range(88):
            for state in roll.states[:, key]:
                states[key, state] += 1
            for before, after in pairwise(roll.states[:, key]):
                transitions[key, before, after] += 1
    assert np.array_equal(statistics.state_counts, states)
    assert np.array_equal(statistics.transition_counts, transitions)


def test_odds_of_counts_are_those_of_the_corpus(statistics: Statistics, rolls: list[Roll]) -> None:
    held_table, struck_table = np.zeros((2, 89, 89))
    for roll in rolls:
        for before, after in pairwise(roll.states):
            held_table[(before != 0).sum(), (after == 2).sum()] += 1
        for row in roll.states:
            struck_table[(row == 2).sum(), (row == 1).sum()] += 1
    for odds, table in ((statistics.hold_cdf, held_table), (statistics.onset_cdf, struck_table)):
        for before in range(89):
            row = table[before] if table[before].any() else table.sum(axis=0)
            assert np.allclose(odds[before], np.cumsum(row) / row.sum(), atol=1e-6)
        assert odds.dtype == np.float32
        assert np.all(odds[:, -1] == 1)


def test_median_tempo_is_that_of_the_steps(statistics: Statistics, rolls: list[Roll]) -> None:
    assert statistics.median_tempo_us == int(np.median(np.concatenate([roll.tempo_us for roll in rolls])))


def test_variance_is_that_of_the_predicted_rows(statistics: Statistics, rolls: list[Roll]) -> None:
    rows = [row for roll in rolls for row in as_features(roll)[WINDOW_STEPS::STRIDE]]
    assert np.allclose(trivial._feature_variance(statistics), np.var(rows, axis=0), atol=1e-7)
    assert trivial.constant_predictor_loss(statistics) == pytest.approx(np.mean((rows - np.mean(rows, axis=0)) ** 2), rel=1e-5)


def as_features(roll: Roll) -> np.ndarray:
    return features(tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))).numpy()


made_rolls = st.integers(1, 5).flatmap(
    lambda steps: st.builds(
        lambda states, tempo_us: Roll(pack(states), tempo_us),
        stn.arrays(np.uint8, (steps, 88), elements=st.integers(0, 2), fill=st.just(0)),
        stn.arrays(np.uint32, steps, elements=st.integers(1, 16_777_215)),
    )
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(made_rolls, min_size=1, max_size=5), st.integers(0, 4))
def test_statistics_do_not_depend_on_blocks(rolls: list[Roll], cut: int) -> None:
    rolls = [*rolls, made_roll(0, 20)]
    cut = min(cut, len(rolls) - 1)
    halves = [half for half in (rolls[:cut], rolls[cut:]) if half]
    whole, parts = gather_statistics(Blocks([rolls])), gather_statistics(Blocks(halves))
    for name in Statistics.__slots__:
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name
    steps = sum(map(len, rolls))
    assert whole.median_tempo_us == int(np.median(np.concatenate([roll.tempo_us for roll in rolls])))
    assert np.all(whole.state_counts.sum(axis=1) == steps)
    assert np.all(whole.transition_counts.sum(axis=(1, 2)) == steps - len(rolls))
    first_holds = sum(int((roll.states[0] == 2).sum()) for roll in rolls)
    assert (whole.hold_counts @ np.arange(89)).sum() == whole.state_counts[:, 2].sum() - first_holds
    assert (whole.onset_counts @ np.arange(89)).sum() == whole.state_counts[:, 1].sum()
    assert whole.hold_counts.sum() == steps - len(rolls)
    assert whole.onset_counts.sum() == steps
