"""TensorBoard: metrics by iteration, hyperparameters, and the samples as plots and sound, in event files."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams  # type: ignore[import-untyped]  # it has no type information

from pianogen.roll import Roll
from pianogen.roll_plot import plot_roll
from pianogen.sound import SAMPLE_RATE, beginning, render
from pianogen.tracking.tracker import MAX_SAMPLES, MAX_SOUND_S, History, TrackedRun


class TensorBoard:
    """A `Tracker` that writes event files to tensorboard/ in the directory of the run."""

    errors: tuple[type[Exception], ...] = (tf.errors.OpError, OSError)

    def start(self, run: TrackedRun, history: History) -> None:  # noqa: ARG002 - of the interface
        """Opens an event file. The file repeats no earlier epochs: TensorBoard reads the files of all attempts."""
        self._writer = tf.summary.create_file_writer(str(run.path / "tensorboard"))
        settings = {key: value for key, value in run.settings.items() if isinstance(value, bool | int | float | str)}
        with self._writer.as_default():
            hparams.hparams(settings, trial_id=run.identity)

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Writes scalars, but not those of the horizontal axis."""
        with self._writer.as_default(step=iteration):
            for name, value in values.items():
                if name not in ("epoch", "iteration"):
                    tf.summary.scalar(name, value)

    def log_samples(self, iteration: int, rolls: Sequence[Roll]) -> None:
        """Writes the plots and the sound of the first samples."""
        with self._writer.as_default(step=iteration):
            for number, roll in enumerate(rolls[:MAX_SAMPLES]):
                image = tf.io.decode_png(plot_roll(roll), channels=3)
                tf.summary.image(f"sample {number}", image[tf.newaxis])
                # Not under the name of the plot: TensorBoard shows neither of two kinds with one name.
                sound = render(beginning(roll, MAX_SOUND_S))
                tf.summary.audio(f"sound {number}", np.reshape(sound, (1, -1, 1)), SAMPLE_RATE)

    def finish(self) -> None:
        """Closes the event file."""
        self._writer.close()
