"""The model of a finished run, and samples drawn from it in this process."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pianogen import logs
from pianogen.api.results import read_record
from pianogen.combinations import check_combinations
from pianogen.config import Config, SamplingConfig, hash_training
from pianogen.errors import UsageError
from pianogen.roll import Roll
from pianogen.store import Store
from pianogen.validation import validate

logs.import_tensorflow()  # without its messages
from pianogen.data.statistics import Statistics, train_statistics  # noqa: E402
from pianogen.models.network import Network  # noqa: E402
from pianogen.sampling.draw import Sampler  # noqa: E402
from pianogen.training.trained_model import load_trained_model  # noqa: E402


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model of a finished run.

    Attributes:
        run: the directory of the run.
        config: its settings.
        network: the model; `network.keras` is the Keras model.
        statistics: of the train split that the model was trained on.
    """

    run: Path
    config: Config
    network: Network
    statistics: Statistics

    def __repr__(self) -> str:
        return f"TrainedModel({self.run.name}: {self.config.model.name}, {self.network.keras.count_params():,} parameters)"

    def sample(self, num: int = 1, **settings: Any) -> list[Roll]:
        """Draws samples; each call compiles the loop that draws, which takes some seconds.

        Args:
            num: number of samples.
            settings: settings of the section `sampling`, such as `steps`, `temperature`, `seed` or `primer`. Numbers may be
                those of NumPy, and the primer a `Path`. What is not given is the setting of the run. Equal settings give equal
                samples, as with `pianogen sample`.

        Raises:
            ConfigError: a setting is unknown, has a wrong value, or does not apply to the model.
            UsageError: the primer cannot be read.
        """
        given = {key: _plain(value) for key, value in (settings | {"num": num}).items()}
        sampling = validate(SamplingConfig, self.config.sampling.model_dump() | given, "sample")
        check_combinations(self.config.model_copy(update={"sampling": sampling}), "sample")
        return [sample.roll for sample in Sampler(self.network, sampling, self.statistics).draw()]


def load_model(run: str | Path, store: str | Path | None = None) -> TrainedModel:
    """Loads the model of a finished run.

    Args:
        run: the directory of the run, such as runs/quick/0001-joint.
        store: the corpus of the run, if it was moved.

    Raises:
        UsageError: the directory is not that of a run, the store is not the one that the run was trained on, or another run has
            taken the place of one of an ensemble.
        StoreError: the store cannot be read.
        TrainedModelError: the training is not completed.
    """
    run = Path(run)
    record = run / "provenance.json"
    if not record.is_file():
        raise UsageError(f"{run} is not the directory of a run: it has no provenance.json; see the folders below runs/NAME")
    provenance = read_record(record, "config", "store")
    settings, expected = validate(Config, provenance["config"], str(record)), provenance["store"]
    with Store(store or expected["path"]) as corpus:
        if corpus.fingerprint != expected["fingerprint"]:
            raise UsageError(
                f"{corpus.path} has fingerprint {corpus.fingerprint}, but {run} was trained on {expected['fingerprint']}; "
                "give the path of that store"
            )
        statistics = train_statistics(corpus, settings.data)
    _check_members(run, settings.model.ensemble, provenance.get("members", []))
    network, _ = load_trained_model(settings, statistics.keys, run, statistics.steps_per_quarter)
    return TrainedModel(run, settings, network, statistics)


def _plain(value: Any) -> Any:
    """A setting in the type that a configuration file gives it."""
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _check_members(run: Path, members: Sequence[str], trainings: Sequence[str]) -> None:
    """Checks that the runs of an ensemble have the trainings with which it was submitted."""
    if len(trainings) != len(members):
        raise UsageError(
            f"{run} records the trainings of {len(trainings)} of the {len(members)} runs of model.ensemble; "
            "submit the ensemble again"
        )
    for path, training in zip(members, trainings, strict=True):
        record = read_record(Path(path, "provenance.json"), "config", "store")
        if hash_training(record["config"], record["store"]["fingerprint"]) != training:
            raise UsageError(f"model.ensemble: {path} has another training than when {run} was submitted; restore that run")
