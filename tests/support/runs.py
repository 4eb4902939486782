"""Runs of a sweep for tests: created as `submit` creates them, and attempted as jobs attempt them, in separate processes."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jobs.configuration import grid
from jobs.records import status, submissions, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.sweep_directory import JOBS
from pianogen.store import Store
from tests.support.paths import PROGRAMS

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "model": {"units": 8},
    "data": {"window_steps": 12},
    "training": {"batch": 8, "epochs": 5, "patience": 4},
    "sampling": {"num": 2, "steps": 12},
    "checkpoints": {"every_iterations": 40},
    "slurm": {"cpus_per_task": 1},
}


def create_runs(out: Path, store: Path, values: Mapping[str, Any]) -> list[Run]:
    """The runs of a sweep, which were submitted but not started."""
    with Store(store) as opened:
        variations = grid.expand(dict(values), Path("test"))
        used_names = submissions.used_names(out / JOBS)
        planned = sweep_directory.plan_runs(out, variations, opened.fingerprint, sweep_directory.find_runs(out), used_names)
        sweep_directory.write_runs(out, dict(values), planned, opened)
    return [entry.run for entry in planned]


def prepare(out: Path, store: Path, **changes: object) -> Run:
    """A sweep of one run that is waiting, with these sections instead of those of SETTINGS."""
    (run,) = create_runs(out, store, SETTINGS | changes)
    return run


def copy_of(run: Run, folder: Path) -> Run:
    """The run in a copy of its sweep, so that several tests continue one attempt."""
    return Run(shutil.copytree(run.path.parent, folder / "sweep") / run.path.name)


def state_of(run: Run) -> tuple[str, str]:
    """The state of a run and its reason."""
    (entry,) = status.read_statuses([run]).values()
    return entry.state, entry.reason


def attempt(run: Run) -> list[str]:
    """The command line of one attempt; its exit code is 3 after a shutdown signal, and 1 after a failure."""
    return [sys.executable, str(PROGRAMS / "attempt.py"), str(run.path)]


def iteration_of(run: Run) -> int:
    """The iteration of the newest checkpoint, 0 if there is none."""
    names = [path.stem for path in (run.path / "checkpoints").glob("ckpt-*.index")]
    return max((int(name.rpartition("-")[2]) for name in names), default=0)


def weights_of(path: Path) -> list[np.ndarray]:
    """The weights in a model.keras."""
    import keras  # here, because many tests need no TensorFlow

    import pianogen.training.networks  # noqa: F401 - Keras finds the layers of saved models in it

    weights: list[np.ndarray] = keras.models.load_model(path).get_weights()
    return weights


def are_equal(one: Run, other: Run) -> bool:
    """Whether two runs have the same weights and metrics, bit by bit."""
    pairs = zip(weights_of(one.path / "model.keras"), weights_of(other.path / "model.keras"), strict=True)
    same_metrics = (one.path / "metrics.csv").read_bytes() == (other.path / "metrics.csv").read_bytes()
    return same_metrics and all(np.array_equal(a, b) for a, b in pairs)
