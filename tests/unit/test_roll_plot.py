"""The plot of a roll shows every cell, and its file is small."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack
from pianogen.roll_plot import plot_roll
from tests.support.made_music import made_roll
from tests.support.made_sweep import dense_states
from tests.support.rolls import roll_in_4_4

LEFT, TOP, STEP, KEY = 66, 12, 3, 3  # pixels
LINE_STEPS, LINE = 512, 330
ONSET_COLOR, HOLD_COLOR, TEMPO_COLOR = 0x0D3A5C, 0x8CB9DC, 0xD1603D


def colors_of(png: bytes) -> np.ndarray:
    """(height, width) int64 colors, 0xRRGGBB."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)
    return np.asarray(pixels @ np.array([1 << 16, 1 << 8, 1]))


def plotted_states(png: bytes, steps: int) -> np.ndarray:
    """The states that the colors in the middle of the cells show."""
    step, key = np.arange(steps)[:, np.newaxis], np.arange(88)
    row = step // LINE_STEPS * LINE + TOP + (87 - key) * KEY + KEY // 2
    column = LEFT + step % LINE_STEPS * STEP + STEP // 2
    colors = colors_of(png)[row, column]
    return np.where(colors == ONSET_COLOR, ONSET, np.where(colors == HOLD_COLOR, HOLD, SILENT))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1_000), st.sampled_from([1, 15, 16, 17, 511, 512, 513, 1_100]))
def test_plot_shows_every_cell(seed: int, steps: int) -> None:
    roll = made_roll(seed, steps)
    assert np.array_equal(plotted_states(plot_roll(roll), steps), roll.states)


@pytest.mark.parametrize(("steps", "lines"), [(1, 1), (512, 1), (513, 2), (5_000, 10)])
def test_long_roll_is_plotted_in_several_lines(steps: int, lines: int) -> None:
    roll = roll_in_4_4(np.zeros((steps, 22), np.uint8), np.full(steps, 500_000, np.uint32))
    height, width = colors_of(plot_roll(roll)).shape
    assert height == lines * LINE
    assert width <= LEFT + LINE_STEPS * STEP + TOP


BAR_COLOR, BACKGROUND = 0xE4E9ED, 0xFFFFFF


def test_bar_lines_are_at_position_0_and_lines_end_at_bar_lines() -> None:
    """A pickup of 4 steps, bars of 12 steps, then bars of 18; the first line ends at the last bar line up to step 512."""
    positions = np.concatenate([np.arange(8, 12), np.tile(np.arange(12), 20), np.tile(np.arange(18), 20)]).astype(np.uint8)
    roll = Roll(np.zeros((len(positions), 22), np.uint8), np.full(len(positions), 500_000, np.uint32), positions)
    colors = colors_of(plot_roll(roll))
    row = TOP + (87 - 40) * KEY + 1  # a white key without a line above it
    found = np.flatnonzero(colors[row, LEFT:] == BAR_COLOR)
    last = 4 + 240 + 14 * 18  # 496
    assert found.tolist() == [STEP * step for step in np.flatnonzero(positions == 0) if step < last]
    second = np.flatnonzero(colors[LINE + row, LEFT:] == BAR_COLOR)
    assert second.tolist() == [STEP * (step - last) for step in np.flatnonzero(positions == 0) if step >= last]


def test_faster_tempo_is_plotted_higher() -> None:
    tempo_us = np.repeat(np.array([600_000, 300_000, 400_000], np.uint32), 16)
    colors = colors_of(plot_roll(roll_in_4_4(np.zeros((48, 22), np.uint8), tempo_us)))
    heights = [np.flatnonzero(colors[:, LEFT + step * STEP + 1] == TEMPO_COLOR).tolist() for step in (4, 20, 40)]
    assert [len(height) for height in heights] == [1, 1, 1]
    assert heights[1] < heights[2] < heights[0]


@pytest.mark.parametrize("tempo_us", [1, 500_000, 16_777_215])
def test_any_tempo_can_be_plotted(tempo_us: int) -> None:
    steps = 40
    roll = roll_in_4_4(made_roll(1, steps).packed, np.full(steps, tempo_us, np.uint32))
    assert np.array_equal(plotted_states(plot_roll(roll), steps), roll.states)


def test_plot_of_a_sample_is_small() -> None:
    assert len(plot_roll(made_roll(1, 512))) < 12_000
    assert len(plot_roll(roll_in_4_4(pack(dense_states(512)), np.full(512, 500_000, np.uint32)))) < 20_000
