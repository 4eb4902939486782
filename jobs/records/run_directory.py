"""The directory of a run: its paths and its records."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from jobs.configuration import run_config
from jobs.configuration.run_config import RunConfig
from jobs.records import record_file
from jobs.records.provenance import Provenance, read_primer, read_training
from jobs.records.result import Result
from pianogen import atomic, yaml_files
from pianogen.errors import UsageError
from pianogen.store import Store

# A network file system may hide a new file from other machines for this long.
VISIBILITY_DELAY_S = 120.0
_FILES = ("result.json", "model.keras", "curves.png", "metrics.csv")
_FOLDERS = ("tensorboard", "checkpoints")


@dataclass(frozen=True, slots=True)
class Run:
    """The directory of a run.

    Attributes:
        path: runs/NAME/0003-gru-batch64.
    """

    path: Path

    @property
    def name(self) -> str:
        """The name of the directory: a number, and the values in which the run differs from the others."""
        return self.path.name

    @property
    def number(self) -> int | None:
        """The number of the run; None for a directory of another name, such as a copy by hand."""
        number = self.name.partition("-")[0]
        return int(number) if number.isdecimal() else None

    @property
    def sweep(self) -> Path:
        """The directory of the sweep."""
        return self.path.absolute().parent

    @property
    def log(self) -> Path:
        """The folder of the logs."""
        return self.path / "log"

    @property
    def lock(self) -> Path:
        """The lock file of the process that trains the run."""
        return self.log / "lock"

    @property
    def progress(self) -> Path:
        """The progress record of the last attempt."""
        return self.log / "progress.json"

    @property
    def config_file(self) -> Path:
        """The configuration; a directory without this file is not a run."""
        return self.path / "config.yaml"

    def read_config(self) -> RunConfig:
        """The configuration, as last submitted.

        Raises:
            ConfigError: the file cannot be read, or is not valid.
        """
        return run_config.parse(yaml_files.load_yaml(self.config_file), str(self.config_file))

    def read_provenance(self) -> Provenance:
        """The provenance.

        Raises:
            RecordError: the file is damaged or missing.
        """
        return record_file.read(self.path / "provenance.json", Provenance.parse)

    def write_provenance(self, provenance: Provenance) -> None:
        """Replaces provenance.json."""
        record_file.write(self.path / "provenance.json", provenance.to_json())

    def read_result(self) -> Result | None:
        """The result, None if the run is not done.

        Raises:
            RecordError: the file is damaged.
        """
        path = self.path / "result.json"
        return record_file.read(path, Result.parse) if os.path.lexists(path) else None

    def write_result(self, result: Result) -> None:
        """Writes result.json, which marks the run as done."""
        record_file.write(self.path / "result.json", result.to_json())

    def remove_leftovers(self) -> None:
        """Removes the temporary files of attempts that were killed; the caller must hold the lock of the run."""
        for name in (*_FILES, "samples.h5"):
            atomic.remove_leftovers(self.path / name)

    def remove_results(self) -> None:
        """Removes what attempts have written, except records and logs; first result.json, which marks the run as done.

        The folders stay, without their content: they may be links to another disk.
        """
        patterns = (*(f"{name}/*" for name in _FOLDERS), "samples*.h5", "samples*.memorization.json")
        written = [path for pattern in patterns for path in sorted(self.path.glob(pattern))]
        for path in [*(self.path / name for name in _FILES), *written]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def check_primer(self) -> None:
        """Checks that the primer has the content with which the run was submitted.

        Raises:
            UsageError: the primer is missing, or has changed.
        """
        config, expected = self.read_config(), self.read_provenance().sampling_identity
        if expected not in (None, config.sampling_identity(read_primer(config))):
            raise UsageError(
                f"{config.sampling.primer} has changed since {self.path} was submitted; restore the file, or accept it with "
                f"pianogen sweep resubmit {self.path} sampling.primer={config.sampling.primer}"
            )

    def check_members(self) -> None:
        """Checks that the runs of an ensemble are those with which the ensemble was submitted.

        Raises:
            UsageError: a run is missing, another one has taken its place, or the record does not have the trainings of all runs.
            RecordError: the record of a run is damaged or missing.
        """
        members, recorded = self.read_config().model.ensemble, self.read_provenance().members
        if len(recorded) != len(members):
            raise UsageError(
                f"{self.path} records the trainings of {len(recorded)} of the {len(members)} runs of model.ensemble; record "
                f"those of the present runs with pianogen sweep resubmit {self.path} --from-scratch"
            )
        for path, training in zip(members, recorded, strict=True):
            if not Run(Path(path)).config_file.is_file():
                raise UsageError(f"model.ensemble: {path} is missing; restore that run, or submit the ensemble with its new path")
            if read_training(Path(path)) != training:
                raise UsageError(
                    f"model.ensemble: {path} has another training than when {self.path} was submitted; restore that run, or "
                    f"accept the other one with pianogen sweep resubmit {self.path} --from-scratch"
                )

    def open_store(self) -> Store:
        """The store that the run was submitted with.

        Raises:
            StoreError: the store cannot be read.
            UsageError: the store is missing, or its content has changed.
        """
        expected = self.read_provenance().store
        if not Path(expected.path).exists():
            raise UsageError(
                f"{expected.path} does not exist, but {self.path} was submitted with it; restore it, or submit the sweep again "
                "with the new path of the store"
            )
        store = Store(Path(expected.path))
        if store.fingerprint != expected.fingerprint:
            raise UsageError(
                f"{expected.path} has fingerprint {store.fingerprint}, but {self.path} was submitted with "
                f"{expected.fingerprint}; restore that store, or submit the sweep to another --out"
            )
        return store
