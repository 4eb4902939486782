"""The curves of a training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pianogen import atomic

_CURVES = {"loss": "loss", "categorical_crossentropy": "categorical cross-entropy", "mean_absolute_error": "mean absolute error"}
_TRAINING, _VALIDATION = "#1f5f8b", "#d1603d"


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
    with atomic.replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
