"""Collapsed samples are named, and music is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.evaluation.collapse import find_collapse
from pianogen.evaluation.sample_metrics import measure
from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack, unpack
from tests.support.made_music import made_roll

STEPS = 512


def roll_of(states: np.ndarray) -> Roll:
    return Roll(pack(states), np.full(len(states), 500_000, np.uint32))


def silence() -> np.ndarray:
    return np.full((STEPS, 88), SILENT, np.uint8)


def nearly_silent() -> np.ndarray:
    states = silence()
    states[::40, 30] = ONSET
    return states


def held_chord() -> np.ndarray:
    states = silence()
    states[3, [40, 44, 47]] = ONSET
    states[4:, [40, 44, 47]] = HOLD
    return states


def stuck_key() -> np.ndarray:
    """Music over one key that is never let go."""
    states = made_roll(1, STEPS).states
    states[:, 20] = HOLD
    states[0, 20] = ONSET
    return states


def hammered_chord() -> np.ndarray:
    states = silence()
    states[:, [40, 44, 47]] = ONSET
    return states


def hammered_few_keys() -> np.ndarray:
    random = np.random.default_rng(2)
    states = silence()
    for step in range(STEPS):
        states[step, random.choice(np.arange(40, 47), 3, replace=False)] = ONSET
    return states


def far_too_many() -> np.ndarray:
    random = np.random.default_rng(3)
    states = silence()
    states[random.random(states.shape) < 0.12] = ONSET
    return states


def pattern(steps: int) -> np.ndarray:
    states = np.tile(made_roll(4, steps).states, (STEPS // steps + 1, 1))[:STEPS]
    states[::steps][states[::steps] == HOLD] = SILENT
    return states


def alternating_chords() -> np.ndarray:
    states = silence()
    for step in range(0, STEPS, 2):
        keys = [40, 44] if step % 4 else [35, 50]
        states[step, keys] = ONSET
        states[step + 1, keys] = HOLD
    return states


@pytest.mark.parametrize(
    ("states", "name"),
    [
        (silence(), "silence"),
        (nearly_silent(), "silence"),
        (held_chord(), "stuck_note"),
        (stuck_key(), "stuck_note"),
        (hammered_chord(), "every_step"),
        (hammered_few_keys(), "every_step"),
        (far_too_many(), "every_step"),
        (pattern(16), "repetition"),
        (pattern(32), "repetition"),
        (alternating_chords(), "repetition"),
    ],
)
def test_collapse_is_named(states: np.ndarray, name: str) -> None:
    music = made_roll(9, 300).states
    assert find_collapse(roll_of(states)) == name
    assert measure(roll_of(states)).collapse == name
    late = states.copy()
    late[: STEPS // 2 - 8] = music[: STEPS // 2 - 8]  # its start may be music
    late[STEPS // 2 - 8] = np.where(states[STEPS // 2 - 8] > 0, ONSET, SILENT)
    assert find_collapse(roll_of(late)) == name


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1_000), st.integers(1, 6))
def test_music_is_not_collapsed(seed: int, chords: int) -> None:
    assert find_collapse(made_roll(seed, STEPS, chords)) == ""


def test_perpetuum_mobile_is_not_collapsed() -> None:
    random = np.random.default_rng(7)
    states = silence()
    states[np.arange(STEPS), random.integers(40, 70, STEPS)] = ONSET
    assert find_collapse(roll_of(states)) == ""
    assert measure(roll_of(states)).onset_share == 1


@pytest.mark.parametrize("steps", [33, 40])
def test_longer_patterns_are_music(steps: int) -> None:
    assert find_collapse(roll_of(pattern(steps))) == ""


@pytest.mark.parametrize("steps", [1, 2, 31, 126])
def test_short_rolls_are_not_judged(steps: int) -> None:
    assert find_collapse(roll_of(held_chord()[:steps])) == ""


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1_000), st.integers(1, 200))
def test_numbers_are_those_of_plain_counting(seed: int, steps: int) -> None:
    roll = made_roll(seed, steps)
    metrics = measure(roll)
    rows = unpack(roll.packed).tolist()
    assert metrics.steps == steps
    assert metrics.notes == sum(row.count(ONSET) for row in rows)
    assert metrics.onset_share == pytest.approx(sum(ONSET in row for row in rows) / steps)
    assert metrics.silent_share == pytest.approx(sum(not any(row) for row in rows) / steps)
    assert metrics.keys == sum(ONSET in column for column in zip(*rows, strict=True))
    assert metrics.mean_sounding == pytest.approx(sum(88 - row.count(SILENT) for row in rows) / steps)
