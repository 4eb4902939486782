"""Pictures: the curves of a training and the roll of a piece."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from pianogen import durable
from pianogen.roll import LOWEST_KEY, NUM_KEYS, STEPS_PER_QUARTER, Roll

_CURVES = {"loss": "loss", "categorical_crossentropy": "categorical cross-entropy", "mean_absolute_error": "mean absolute error"}
_TRAINING, _VALIDATION = "#1f5f8b", "#d1603d"
_ROLL_COLORS = ListedColormap(["#ffffff", "#12344d", "#8fb8d6"])  # silent, onset, hold
_C_KEYS = [key for key in range(NUM_KEYS) if (key + LOWEST_KEY) % 12 == 0]
_US_PER_MINUTE = 60_000_000


def draw_curves(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The report's three curves, training and validation, by epoch."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axes, (name, title) in zip(figure.subplots(1, len(_CURVES)), _CURVES.items(), strict=True):
        axes.plot(epochs, [row[name] for row in rows], marker=".", color=_TRAINING, label="training")
        validation = [row.get(f"valid_{name}", np.nan) for row in rows]
        axes.plot(epochs, validation, marker=".", color=_VALIDATION, label="validation")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def draw_roll(roll: Roll, title: str, path: Path) -> None:
    """Keys over quarter notes, onsets dark and holds light, with the tempo below."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    keys, tempo = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    quarters = len(roll) / STEPS_PER_QUARTER
    extent = (0, quarters, -0.5, NUM_KEYS - 0.5)
    keys.imshow(
        roll.states.T, origin="lower", aspect="auto", interpolation="nearest", cmap=_ROLL_COLORS, vmin=0, vmax=2, extent=extent
    )
    keys.set_yticks(_C_KEYS, [f"C{(key + LOWEST_KEY) // 12 - 1}" for key in _C_KEYS])
    keys.grid(axis="y", alpha=0.3)
    keys.set_title(title)
    at = np.arange(len(roll) + 1) / STEPS_PER_QUARTER
    bpm = _US_PER_MINUTE / roll.tempo_us
    tempo.step(at, np.append(bpm, bpm[-1:]), where="post", color=_VALIDATION, linewidth=1)
    tempo.set_ylabel("bpm")
    tempo.set_xlabel("quarter notes")
    tempo.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with durable.replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
