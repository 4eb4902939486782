"""The plot of a roll: keys over steps, low keys at the bottom, in lines of complete bars like a page of sheet music."""

import functools
import io
from itertools import pairwise

import numpy as np
from PIL import Image, ImageFont

from pianogen.roll import LOWEST_KEY, NUM_KEYS, US_PER_MINUTE, Roll

_LINE_STEPS = 512  # at most; a line ends at a bar line if it can
_NUMBERED_BARS = 4  # every fourth bar has a number

_STEP_PX, _KEY_PX, _TEMPO_PX = 3, 3, 24
_KEYS_PX = NUM_KEYS * _KEY_PX
_LEFT_PX, _MARGIN_PX, _TEXT_PX = 66, 12, 11
_NUMBERS_PX = _TEXT_PX + 7  # height of the row of bar numbers
_LINE_PX = _KEYS_PX + _NUMBERS_PX + _TEMPO_PX + 2 * _MARGIN_PX

# Sixteen colors take half a byte per pixel. Text is anti-aliased with eight shades between the background and _INK.
_BACKGROUND, _BLACK_KEY, _BAR, _OCTAVE, _HOLD, _ONSET, _TEMPO, _TEXT = range(8)
_NUM_SHADES = 8
_COLORS = ("#ffffff", "#f4f6f8", "#e4e9ed", "#cfd8df", "#8cb9dc", "#0d3a5c", "#d1603d")
_INK = "#52626e"


def plot_roll(roll: Roll) -> bytes:
    """A PNG image of keys over steps: onsets dark, holds light, a line at every bar and every C, and the tempo below."""
    bar_lines = np.flatnonzero(roll.bar_position == 0)
    lines = _divide_into_lines(bar_lines, len(roll))
    width = max(stop - start for start, stop in lines)
    bpm = US_PER_MINUTE / roll.tempo_us
    slowest, fastest = round(bpm.min()), round(bpm.max())
    span = bpm.max() - bpm.min()
    heights = (bpm - bpm.min()) / span if span else np.full(len(roll), 0.5)
    states = roll.states
    page = np.full((len(lines), _LINE_PX, _LEFT_PX + width * _STEP_PX + _MARGIN_PX), _BACKGROUND, np.uint8)
    for (start, stop), line in zip(lines, page, strict=True):
        keys, numbers, tempo = np.split(line[_MARGIN_PX:-_MARGIN_PX], [_KEYS_PX, _KEYS_PX + _NUMBERS_PX])
        _plot_keys(keys, states[start:stop], roll.bar_position[start:stop] == 0)
        _write_bar_numbers(numbers, bar_lines, start, stop)
        _plot_tempo(tempo, heights[start:stop], slowest, fastest)
    return _png(page.reshape(-1, page.shape[2]))


def _divide_into_lines(bar_lines: np.ndarray, num_steps: int) -> list[tuple[int, int]]:
    """The (start, stop) steps of each line; a line ends at its last bar line, unless a bar is longer than a line."""
    starts = [0]
    while starts[-1] + _LINE_STEPS < num_steps:
        last = starts[-1] + _LINE_STEPS
        inside = bar_lines[(bar_lines > starts[-1]) & (bar_lines <= last)]
        starts.append(int(inside[-1]) if len(inside) else last)
    return list(pairwise([*starts, num_steps]))


def _plot_keys(into: np.ndarray, states: np.ndarray, is_bar_line: np.ndarray) -> None:
    """Plots (T, 88) states, with a line before each of the (T,) bool steps at which a bar starts."""
    stop = _LEFT_PX + len(states) * _STEP_PX
    plot = into[:, _LEFT_PX:stop]
    plot[:] = _empty_column()[:, np.newaxis]
    plot[:, np.flatnonzero(is_bar_line) * _STEP_PX] = _BAR
    color = np.array([_BACKGROUND, _ONSET, _HOLD], np.uint8)[states.T[::-1]]
    pixels = color.repeat(_KEY_PX, axis=0).repeat(_STEP_PX, axis=1)
    np.copyto(plot, pixels, where=pixels != _BACKGROUND)
    for key in range(NUM_KEYS):
        if (key + LOWEST_KEY) % 12 == 0:
            middle = _KEYS_PX - key * _KEY_PX - _KEY_PX // 2 - 1
            _write(into, f"C{(key + LOWEST_KEY) // 12 - 1}", middle)


@functools.cache
def _empty_column() -> np.ndarray:
    """(_KEYS_PX,) uint8 colors of a column without notes, highest key first: gray black keys, and a line below every C."""
    colors = np.full((NUM_KEYS, _KEY_PX), _BACKGROUND, np.uint8)
    for key in range(NUM_KEYS):
        pitch = (key + LOWEST_KEY) % 12
        if pitch in (1, 3, 6, 8, 10):
            colors[key] = _BLACK_KEY
        if pitch == 0:
            colors[key, 0] = _OCTAVE
    return colors.ravel()[::-1]


def _write_bar_numbers(into: np.ndarray, bar_lines: np.ndarray, start: int, stop: int) -> None:
    for number, step in enumerate(bar_lines.tolist(), start=1):
        if number % _NUMBERED_BARS == 1 and start <= step < stop:
            shades = _shades(str(number))
            left = _LEFT_PX + (step - start) * _STEP_PX
            into[2 : 2 + shades.shape[0], left : left + shades.shape[1]] = shades[:, : into.shape[1] - left]


def _plot_tempo(into: np.ndarray, heights: np.ndarray, slowest: int, fastest: int) -> None:
    """Plots the tempo as a step function.

    Args:
        heights: (T,) from 0, the slowest, to 1, the fastest.
    """
    row = np.rint((1 - heights) * (_TEMPO_PX - 1)).astype(np.int64)
    before = np.append(row[:1], row[:-1])
    rows = np.arange(_TEMPO_PX)[:, np.newaxis]
    lane = np.repeat(rows == row, _STEP_PX, axis=1)
    lane[:, ::_STEP_PX] = (rows >= np.minimum(row, before)) & (rows <= np.maximum(row, before))
    into[:, _LEFT_PX : _LEFT_PX + lane.shape[1]][lane] = _TEMPO
    if slowest == fastest:
        _write(into, _bpm(slowest), _TEMPO_PX // 2)
    else:
        _write(into, _bpm(fastest), _TEXT_PX // 2)
        _write(into, _bpm(slowest), _TEMPO_PX - 1 - _TEXT_PX // 2)


def _bpm(tempo: int) -> str:
    return f"{tempo} bpm" if tempo < 10_000 else f"{tempo:.0e} bpm"


def _write(into: np.ndarray, text: str, middle: int) -> None:
    """Writes a text into the left margin, aligned to the right."""
    shades = _shades(text)
    top = min(max(middle - shades.shape[0] // 2, 0), into.shape[0] - shades.shape[0])
    right = _LEFT_PX - 8
    into[top : top + shades.shape[0], right - shades.shape[1] : right] = shades


@functools.lru_cache(maxsize=1_024)
def _shades(text: str) -> np.ndarray:
    """(height, width) uint8 colors of a text."""
    mask = ImageFont.load_default(_TEXT_PX).getmask(text)
    coverage = np.asarray(mask, np.uint8).reshape(mask.size[::-1])
    shade = np.rint(coverage / 255 * _NUM_SHADES).astype(np.uint8)
    return np.where(shade > 0, _TEXT - 1 + shade, _BACKGROUND).astype(np.uint8)


@functools.cache
def _palette() -> bytes:
    colors = [np.array(list(bytes.fromhex(color[1:]))) for color in (*_COLORS, _INK)]
    background, ink = colors[_BACKGROUND], colors.pop()
    shades = [background + (ink - background) * shade / _NUM_SHADES for shade in range(1, _NUM_SHADES + 1)]
    return b"".join(np.rint(color).astype(np.uint8).tobytes() for color in (*colors, *shades))


def _png(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(pixels)
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "png", bits=4)
    return file.getvalue()
