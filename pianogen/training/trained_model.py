"""The model of a trained run, as its model.keras and checkpoints hold it."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import keras

from pianogen.config import Config
from pianogen.errors import PianogenError
from pianogen.models.joint.network import Joint, JointModel, joint_ensemble
from pianogen.models.network import Network
from pianogen.roll import STEPS_PER_QUARTER
from pianogen.training import networks
from pianogen.training.checkpoints import find_checkpoints


class TrainedModelError(PianogenError):
    """A run has no usable model.keras."""


def load_trained_model(config: Config, keys: range, run: Path, steps_per_quarter: int = STEPS_PER_QUARTER) -> tuple[Network, str]:
    """Loads the network of a trained run or of an ensemble, and the name of its last checkpoint.

    Args:
        keys, steps_per_quarter: see `networks.build`.

    Raises:
        TrainedModelError: the training is not completed, or model.keras belongs to a different model.
    """
    keras.mixed_precision.set_global_policy("mixed_float16" if config.training.mixed_precision else "float32")
    if config.model.ensemble:
        return load_ensemble(config.model.ensemble, steps_per_quarter), "none"
    path, checkpoints = run / "model.keras", find_checkpoints(run / "checkpoints")
    if not path.is_file() or not checkpoints:
        raise TrainedModelError(f"{run} has no model.keras or no checkpoint; complete its training first")
    network = networks.build(config, keys, steps_per_quarter)
    try:
        network.keras.load_weights(path)
    except (OSError, KeyError, BadZipFile) as error:
        raise TrainedModelError(f"{path} cannot be read ({error}): it is damaged; restore it, or resubmit the run") from error
    except ValueError as error:
        other = f"belongs to a different model than {run / 'config.yaml'}"
        raise TrainedModelError(f"{path} {other}: {error}; restore both files from a backup") from error
    return network, checkpoints[0]


def load_ensemble(runs: Sequence[str], steps_per_quarter: int = STEPS_PER_QUARTER) -> Network:
    """Loads the ensemble of trained runs of the joint model, which computes in 32 bits.

    Args:
        steps_per_quarter: steps of a quarter note in the store.

    Raises:
        TrainedModelError: a run is not trained, or has another model or other steps per quarter note; or the models have
            different heads or keys.
    """
    members = []
    for run in runs:
        path = Path(run, "model.keras")
        try:
            member = keras.saving.load_model(path)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise TrainedModelError(
                f"model.ensemble: {path} cannot be read ({error}); restore the run, or submit the ensemble with its new path"
            ) from error
        if not isinstance(member, JointModel):
            raise TrainedModelError(f"model.ensemble: {run} has another model; expected joint: remove it")
        if member.steps_per_quarter != steps_per_quarter:
            raise TrainedModelError(
                f"model.ensemble: {run} was trained with {member.steps_per_quarter} steps per quarter note, the store has "
                f"{steps_per_quarter}; choose the store of that run, or runs of this store"
            )
        members.append(member)
    try:
        return Joint(joint_ensemble(members))
    except ValueError as error:
        raise TrainedModelError(
            f"model.ensemble: {error}; choose runs with the same model.head, data.transpose and data.groups"
        ) from error
