"""curves.png: the metrics of a run by epoch."""

import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pianogen import atomic
from pianogen.training.history import Row
from pianogen.training.run_files import for_display

_INTERVAL_S = 60.0
_TRAINING_COLOR, _VALIDATION_COLOR = "#1f5f8b", "#d1603d"


class Curves:
    """curves.png of a run: drawn at the end of an epoch, at most once a minute, and at the end of the training."""

    def __init__(self, path: Path, metrics: Sequence[str]) -> None:
        self._path, self._metrics = path, metrics
        self._num_drawn, self._drawn_s = 0, time.monotonic()

    def update(self, rows: Sequence[Row]) -> None:
        """Draws the curves if the last drawing is old. A failure is logged, and training continues."""
        if time.monotonic() - self._drawn_s >= _INTERVAL_S:
            self.finish(rows)

    def finish(self, rows: Sequence[Row]) -> None:
        """Draws the curves if they lack an epoch. A failure is logged, and training continues."""
        if len(rows) != self._num_drawn:
            with for_display(self._path):
                draw_curves(rows, self._metrics, self._path)
            self._num_drawn, self._drawn_s = len(rows), time.monotonic()


def draw_curves(rows: Sequence[Row], metrics: Sequence[str], path: Path) -> None:
    """Plots each of the metrics on the train and valid splits by epoch, without the settings of the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        _draw(rows, metrics, path)


def _draw(rows: Sequence[Row], metrics: Sequence[str], path: Path) -> None:
    figure = Figure(figsize=(4 * len(metrics), 3.6), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axes, name in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        axes.plot(epochs, [row[name] for row in rows], marker=".", color=_TRAINING_COLOR, label="training")
        validation = [row.get(f"valid_{name}", np.nan) for row in rows]
        axes.plot(epochs, validation, marker=".", color=_VALIDATION_COLOR, label="validation")
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic.replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
