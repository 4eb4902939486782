"""The model of a trained run, as its model.keras and checkpoints hold it."""

from pathlib import Path

import tensorflow as tf

from pianogen.config import Config
from pianogen.errors import PianogenError
from pianogen.models.network import Network
from pianogen.training import networks


class TrainedModelError(PianogenError):
    """A run has no usable model.keras."""


def load_trained_model(config: Config, keys: range, run: Path) -> tuple[Network, str]:
    """Loads the network of a trained run, and the name of its last checkpoint.

    Args:
        keys: see `networks.build`.

    Raises:
        TrainedModelError: the training is not completed, or model.keras belongs to a different model.
    """
    path, checkpoint = run / "model.keras", tf.train.latest_checkpoint(run / "checkpoints")
    if not path.is_file() or checkpoint is None:
        raise TrainedModelError(f"{run} has no model.keras or no checkpoint; complete its training first")
    network = networks.build(config, keys)
    try:
        network.keras.load_weights(path)
    except ValueError as error:
        raise TrainedModelError(f"{path} belongs to a different model than {run / 'config.yaml'}: {error}") from error
    return network, Path(checkpoint).name
