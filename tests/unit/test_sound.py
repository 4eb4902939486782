"""The sound of rolls."""

import numpy as np
import pytest

from pianogen.roll import HOLD, ONSET, Roll, pack
from pianogen.sound import SAMPLE_RATE, beginning, render
from tests.support.rolls import roll_in_4_4

A4 = 48


def roll_of(onset: int, end: int, key: int, steps: int = 32, tempo_us: int = 500_000) -> Roll:
    """A roll of one note."""
    states = np.zeros((steps, 88), np.uint8)
    states[onset, key] = ONSET
    states[onset + 1 : end, key] = HOLD
    return roll_in_4_4(pack(states), np.full(steps, tempo_us, np.uint32))


def test_note_sounds_from_its_onset_to_its_end() -> None:
    sound = render(roll_of(8, 16, A4))  # from 1 to 2 seconds
    second = SAMPLE_RATE
    assert not sound[:second].any()
    assert np.abs(sound[second : second + second // 20]).max() > 0.5
    assert np.abs(sound[2 * second - 1_000 : 2 * second]).max() > 0.05
    assert np.abs(sound[2 * second + second // 2 :]).max() < 0.001


def test_pitch_of_a4_is_440_hz() -> None:
    sound = render(roll_of(0, 32, A4))
    spectrum = np.abs(np.fft.rfft(sound[:SAMPLE_RATE]))  # bins of 1 Hz
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)


def test_tempo_scales_the_time_of_onsets() -> None:
    fast, slow = (render(roll_of(8, 9, A4, tempo_us=tempo_us)) for tempo_us in (250_000, 1_000_000))
    assert np.flatnonzero(fast)[0] == pytest.approx(0.5 * SAMPLE_RATE, abs=2)
    assert np.flatnonzero(slow)[0] == pytest.approx(2 * SAMPLE_RATE, abs=2)


@pytest.mark.parametrize(("max_s", "steps"), [(2.0, 16), (1.99, 15), (0.0, 1), (99.0, 32)])
def test_beginning_has_the_steps_that_end_within_the_time(max_s: float, steps: int) -> None:
    """A sample of 131,072 steps at 15 bpm lasts 36 hours."""
    roll = roll_of(0, 32, A4)
    assert beginning(roll, max_s) == roll.rows(0, steps)


def test_silence_is_silent() -> None:
    states = np.zeros((4, 88), np.uint8)
    assert not render(roll_in_4_4(pack(states), np.full(4, 500_000, np.uint32))).any()


@pytest.mark.parametrize("key", [0, 87])
def test_outermost_keys_sound_without_clipping(key: int) -> None:
    sound = render(roll_of(0, 32, key))
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() == pytest.approx(0.9)
