"""Runs of a sweep for the tests: prepared as submitting does, attempted as jobs do, in processes of their own."""

import sys
from pathlib import Path

import keras
import numpy as np

import pianogen.models  # noqa: F401 - Keras finds the layers of saved networks in it
from jobs.configuration import grid
from jobs.records import run_directory, status
from jobs.records.run_directory import Run
from pianogen.store import Store
from tests.support.paths import PROGRAMS

SETTINGS = {
    "device": "cpu",
    "model": {"units": 8},
    "data": {"window_steps": 12},
    "training": {"batch": 8, "epochs": 5, "patience": 4},
    "sampling": {"num": 2, "steps": 12},
    "checkpoints": {"every_iterations": 9},
    "slurm": {"cpus_per_task": 1},
}


def prepare(folder: Path, store: Path, **changes: object) -> Run:
    """A run that waits, with these sections instead of those of SETTINGS."""
    values = SETTINGS | changes
    with Store(store) as opened:
        prepared = run_directory.prepare_runs(folder, values, grid.expand(values, Path("test")), opened)
    (run,) = prepared.runs
    return run


def state_of(run: Run) -> tuple[str, str]:
    """Its state, and why."""
    (found,) = status.look([run])
    return found.state, found.reason


def attempt(run: Run) -> list[str]:
    """The command line of one attempt; it exits with 3 if it was told to leave, and with 1 if it failed."""
    return [sys.executable, str(PROGRAMS / "attempt.py"), str(run.path)]


def iteration_of(run: Run) -> int:
    """The iteration of its newest checkpoint, 0 if there is none."""
    pointer = run.path / "checkpoints" / "checkpoint"
    return int(pointer.read_text().split('"')[1].rpartition("-")[2]) if pointer.is_file() else 0


def weights_of(path: Path) -> list[np.ndarray]:
    """The weights in a model.keras."""
    return keras.models.load_model(path).get_weights()


def are_equal(one: Run, other: Run) -> bool:
    """Whether two runs have the same weights and metrics, bit for bit."""
    pairs = zip(weights_of(one.path / "model.keras"), weights_of(other.path / "model.keras"), strict=True)
    same_curves = (one.path / "metrics.csv").read_bytes() == (other.path / "metrics.csv").read_bytes()
    return same_curves and all(np.array_equal(a, b) for a, b in pairs)
