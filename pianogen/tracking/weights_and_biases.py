"""Weights & Biases: the configuration, the metrics and the samples of a run.

The nodes of most clusters have no internet, so the default mode is offline: the data are written to wandb/ in the directory of
the run, and `wandb sync` sends them. WANDB_MODE=online sends them directly.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import wandb
from PIL import Image

from pianogen.roll import Roll
from pianogen.roll_plot import plot_roll
from pianogen.sound import beginning, wav
from pianogen.tracking.tracker import MAX_SAMPLES, MAX_SOUND_S, History, TrackedRun

_PROJECT = "pianogen"


class WeightsAndBiases:
    """A `Tracker` whose run has one id in all attempts."""

    errors: tuple[type[Exception], ...] = (wandb.Error, OSError)

    def start(self, run: TrackedRun, history: History) -> None:
        """Starts or continues the run.

        `wandb sync` replaces a run by a later one of the same id, so every attempt in offline mode repeats the epochs of the
        earlier ones. In online mode the server has them, and expects later steps.
        """
        path = run.path.resolve()
        os.environ.setdefault("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            group=path.parent.name,
            name=path.name,
            id=hashlib.sha256(f"{run.identity} {path}".encode()).hexdigest()[:16],
            dir=path,
            config={**run.settings, "identity": run.identity},
            resume="allow" if os.environ["WANDB_MODE"] == "online" else None,
            settings=wandb.Settings(console="off", silent=True),
        )
        for row in history:
            if row["iteration"] >= self._run.step:
                self.log(int(row["iteration"]), row)

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Logs metrics."""
        self._run.log(dict(values), step=iteration)

    def log_samples(self, iteration: int, rolls: Sequence[Roll]) -> None:
        """Logs the plots and the sound of the first samples."""
        media: dict[str, wandb.Image | wandb.Audio] = {}
        with tempfile.TemporaryDirectory() as folder:  # its files are copied while they are logged
            for number, roll in enumerate(rolls[:MAX_SAMPLES]):
                media[f"sample {number}"] = wandb.Image(Image.open(io.BytesIO(plot_roll(roll))).convert("RGB"))
                sound = Path(folder, f"{number}.wav")
                sound.write_bytes(wav(beginning(roll, MAX_SOUND_S)))
                media[f"sound {number}"] = wandb.Audio(str(sound))
            self._run.log(media, step=iteration)

    def finish(self) -> None:
        """Writes what is pending; in online mode, waits until it is sent."""
        self._run.finish()
