"""Metrics of samples, and the detection of collapsed samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.evaluation.collapse import find_collapse
from pianogen.evaluation.sample_metrics import measure
from pianogen.roll import HOLD, ONSET, SILENT, Roll, equal_bars, pack, unpack
from tests.support.made_music import made_roll
from tests.support.rolls import roll_in_4_4

STEPS = 512


def roll_of(states: np.ndarray) -> Roll:
    return roll_in_4_4(pack(states), np.full(len(states), 500_000, np.uint32))


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
    """Music, and one key that is never released."""
    states = made_roll(1, STEPS).states
    states[:, 20] = HOLD
    states[0, 20] = ONSET
    return states


def repeated_chord() -> np.ndarray:
    states = silence()
    states[:, [40, 44, 47]] = ONSET
    return states


def repeated_few_keys() -> np.ndarray:
    random = np.random.default_rng(2)
    states = silence()
    for step in range(STEPS):
        states[step, random.choice(np.arange(40, 47), 3, replace=False)] = ONSET
    return states


def noise() -> np.ndarray:
    random = np.random.default_rng(3)
    states = silence()
    states[random.random(states.shape) < 0.12] = ONSET
    return states


def pattern(steps: int) -> np.ndarray:
    states = np.tile(made_roll(4, steps).states, (STEPS // steps + 1, 1))[:STEPS]
    states[::steps][states[::steps] == HOLD] = SILENT
    return states


def sustained_chords() -> np.ndarray:
    """Music: a chord at every half note. At a fine resolution, nearly all steps equal the step before."""
    random = np.random.default_rng(5)
    states = silence()
    for step in range(0, STEPS, 8):
        keys = random.choice(88, 4, replace=False)
        states[step, keys] = ONSET
        states[step + 1 : step + 8, keys] = HOLD
    return states


def alternating_chords() -> np.ndarray:
    states = silence()
    for step in range(0, STEPS, 2):
        keys = [40, 44] if step % 4 else [35, 50]
        states[step, keys] = ONSET
        states[step + 1, keys] = HOLD
    return states


COLLAPSED = [
    (silence(), "silence"),
    (nearly_silent(), "silence"),
    (held_chord(), "stuck_note"),
    (stuck_key(), "stuck_note"),
    (repeated_chord(), "every_step"),
    (repeated_few_keys(), "every_step"),
    (noise(), "every_step"),
    (pattern(16), "repetition"),
    (pattern(32), "repetition"),
    (alternating_chords(), "repetition"),
]


@pytest.mark.parametrize(("states", "collapse"), COLLAPSED)
def test_collapse_of_the_second_half_is_detected(states: np.ndarray, collapse: str) -> None:
    music = made_roll(9, 300).states
    assert find_collapse(roll_of(states)) == collapse
    assert measure(roll_of(states)).collapse == collapse
    late = states.copy()
    late[: STEPS // 2 - 8] = music[: STEPS // 2 - 8]  # the first half is music
    late[STEPS // 2 - 8] = np.where(states[STEPS // 2 - 8] > 0, ONSET, SILENT)
    assert find_collapse(roll_of(late)) == collapse


@pytest.mark.parametrize("times", [2, 3, 6])
@pytest.mark.parametrize(("states", "collapse"), [*COLLAPSED, (sustained_chords(), "")])
def test_collapse_does_not_depend_on_the_resolution(states: np.ndarray, collapse: str, times: int) -> None:
    finer = np.repeat(states, times, axis=0)
    finer[np.arange(len(finer)) % times > 0] = np.where(states > SILENT, HOLD, SILENT).repeat(times - 1, axis=0)
    tempo_us, bar_position = np.full(len(finer), 500_000, np.uint32), equal_bars(len(finer), 16 * times)
    assert find_collapse(Roll(pack(finer), tempo_us, bar_position, steps_per_quarter=4 * times)) == collapse


def test_pattern_at_six_steps_per_quarter_is_a_repetition() -> None:
    """A sixteenth is one and a half steps; the period of five sixteenths is found twice as long."""
    states = pattern(15)
    roll = Roll(pack(states), np.full(len(states), 500_000, np.uint32), equal_bars(len(states), 24), steps_per_quarter=6)
    assert find_collapse(roll) == "repetition"


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1_000), st.integers(1, 6))
def test_music_is_not_collapsed(seed: int, chords: int) -> None:
    assert find_collapse(made_roll(seed, STEPS, chords)) == ""


def test_onsets_at_every_step_on_many_keys_are_not_a_collapse() -> None:
    random = np.random.default_rng(7)
    states = silence()
    states[np.arange(STEPS), random.integers(40, 70, STEPS)] = ONSET
    assert find_collapse(roll_of(states)) == ""
    assert measure(roll_of(states)).onset_share == 1


@pytest.mark.parametrize("steps", [33, 40])
def test_repetition_of_a_longer_pattern_is_not_a_collapse(steps: int) -> None:
    assert find_collapse(roll_of(pattern(steps))) == ""


@pytest.mark.parametrize("steps", [1, 2, 31, 126])
def test_collapse_of_a_short_roll_is_not_detected(steps: int) -> None:
    assert find_collapse(roll_of(held_chord()[:steps])) == ""


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1_000), st.integers(1, 200))
def test_metrics_equal_a_count_over_all_states(seed: int, steps: int) -> None:
    roll = made_roll(seed, steps)
    metrics = measure(roll)
    rows = unpack(roll.packed).tolist()
    assert metrics.steps == steps
    assert metrics.notes == sum(row.count(ONSET) for row in rows)
    assert metrics.onset_share == pytest.approx(sum(ONSET in row for row in rows) / steps)
    assert metrics.silent_share == pytest.approx(sum(not any(row) for row in rows) / steps)
    assert metrics.keys == sum(ONSET in column for column in zip(*rows, strict=True))
    assert metrics.mean_sounding == pytest.approx(sum(88 - row.count(SILENT) for row in rows) / steps)
