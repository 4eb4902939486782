"""The statistics of a split equal counts over its states and tempos."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from pianogen.config import Config, DataConfig, LossName, ModelConfig, TrainingConfig
from pianogen.data import windows as windows_module
from pianogen.data.statistics import Statistics, compute_statistics, train_statistics
from pianogen.data.windows import find_windows
from pianogen.evaluation.trivial import constant_predictor_loss
from pianogen.models.features import features
from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store, store_of
from tests.support.rolls import roll_in_4_4

WINDOW_STEPS, STRIDE = 30, 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def rolls() -> list[Roll]:
    return [made_roll(seed, 120 + seed) for seed in range(3)]


@pytest.fixture(scope="module")
def statistics(folder: Path) -> Statistics:
    with Store(made_store(folder / "corpus.h5", [Split.TRAIN] * 3 + [Split.VALID])) as store:
        return compute_statistics(find_windows(store, Split.TRAIN, DataConfig(window_steps=WINDOW_STEPS, stride=STRIDE)))


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


def test_distributions_of_counts_are_those_of_the_corpus(statistics: Statistics, rolls: list[Roll]) -> None:
    hold_counts, onset_counts = np.zeros((2, 89, 89))
    for roll in rolls:
        for before, after in pairwise(roll.states):
            hold_counts[(before != SILENT).sum(), (after == HOLD).sum()] += 1
        for row in roll.states:
            onset_counts[(row == HOLD).sum(), (row == ONSET).sum()] += 1
    for cdf, counts in ((statistics.hold_cdf, hold_counts), (statistics.onset_cdf, onset_counts)):
        for condition in range(89):
            row = counts[condition] if counts[condition].any() else counts.sum(axis=0)
            assert np.allclose(cdf[condition], np.cumsum(row) / row.sum(), atol=1e-6)
        assert cdf.dtype == np.float32
        assert np.all(cdf[:, -1] == 1)


def test_median_tempo_is_the_median_over_all_steps(statistics: Statistics, rolls: list[Roll]) -> None:
    assert statistics.median_tempo_us == int(np.median(np.concatenate([roll.tempo_us for roll in rolls])))


def test_constant_predictor_loss_is_the_mean_variance_of_the_predicted_rows(statistics: Statistics, rolls: list[Roll]) -> None:
    rows = [row for roll in rolls for row in as_features(roll)[WINDOW_STEPS::STRIDE]]
    assert constant_predictor_loss(statistics, Config()) == pytest.approx(np.var(rows, axis=0).mean(), rel=1e-5)


def test_constant_predictor_of_every_row_covers_the_pieces_that_have_a_window(folder: Path, rolls: list[Roll]) -> None:
    with Store(store_of(folder / "every_row.h5", [*rolls, made_roll(5, 119)], [Split.TRAIN] * 4)) as store:
        for window_steps, num_pieces in ((120, 3), (122, 1)):
            statistics = train_statistics(store, DataConfig(window_steps=window_steps), every_row=True)
            rows = [row for roll in rolls[-num_pieces:] for row in as_features(roll)]
            loss = constant_predictor_loss(statistics, Config(training=TrainingConfig(predict="every")))
            assert loss == pytest.approx(np.var(rows, axis=0).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ({"name": "joint"}, None),
        ({"name": "split"}, None),
        ({"silence": True}, None),
        ({}, "weighted_mse"),
        ({"activation": "sigmoid"}, "crossentropy"),
    ],
)
def test_other_losses_than_the_squared_error_have_no_constant_predictor(
    statistics: Statistics, model: dict[str, Any], loss: LossName | None
) -> None:
    config = Config(model=ModelConfig(**model), training=TrainingConfig(loss=loss))
    assert constant_predictor_loss(statistics, config) is None


def as_features(roll: Roll) -> np.ndarray:
    return np.asarray(features(tf.constant(roll.packed), tf.constant(roll.tempo_us.astype(np.int32))))


random_roll = st.integers(1, 5).flatmap(
    lambda steps: st.builds(
        lambda states, tempo_us: roll_in_4_4(pack(states), tempo_us),
        stn.arrays(np.uint8, (steps, 88), elements=st.integers(0, 2), fill=st.just(0)),
        stn.arrays(np.uint32, steps, elements=st.integers(1, 16_777_215)),
    )
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(random_rolls=st.lists(random_roll, min_size=1, max_size=5), block_rows=st.integers(1, 20))
def test_statistics_do_not_depend_on_blocks(folder: Path, random_rolls: list[Roll], block_rows: int) -> None:
    rolls = [*random_rolls, made_roll(0, 20)]
    with Store(store_of(folder / "random.h5", rolls, [Split.TRAIN] * len(rolls))) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=1))
        whole = compute_statistics(windows)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows_module, "BLOCK_ROWS", block_rows)
            in_blocks = compute_statistics(windows)
    for name in Statistics.__slots__:
        assert np.array_equal(getattr(whole, name), getattr(in_blocks, name)), name
    steps = sum(map(len, rolls))
    assert whole.median_tempo_us == int(np.median(np.concatenate([roll.tempo_us for roll in rolls])))
    assert np.all(whole.state_counts.sum(axis=1) == steps)
    assert np.all(whole.transition_counts.sum(axis=(1, 2)) == steps - len(rolls))
    num_first_holds = sum(int((roll.states[0] == HOLD).sum()) for roll in rolls)
    assert (whole.hold_counts @ np.arange(89)).sum() == whole.state_counts[:, HOLD].sum() - num_first_holds
    assert (whole.onset_counts @ np.arange(89)).sum() == whole.state_counts[:, ONSET].sum()
    assert whole.hold_counts.sum() == steps - len(rolls)
    assert whole.onset_counts.sum() == steps
