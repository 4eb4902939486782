"""Sweeps for the tests of a real Slurm cluster, as their user submits them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from jobs.cluster.environment import modified
from jobs.records import status_table, submissions
from jobs.records.run_directory import Run
from pianogen import yaml_files
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.paths import ROOT
from tests.support.processes import POLL_S, finished, wait_until
from tests.support.slurm_cluster import SlurmCluster

_TIMEOUT_S = 250  # a command may train several runs in the foreground
RESOURCES = {"cpus_per_task": 1, "memory_gb": 2, "timeout_min": 15, "max_parallel": 3}
SETTINGS = {
    "device": "cpu",
    "model": {"units": 8},
    "data": {"window_steps": 16},
    "training": {"epochs": 1, "batch": 16},
    "sampling": {"num": 2, "steps": 20},
    "checkpoints": {"every_iterations": 25},
    "slurm": RESOURCES,
}


class Sweep:
    """A sweep that the user of a cluster submits."""

    def __init__(self, cluster: SlurmCluster, folder: Path, out: Path, steps: int = 220, **changes: object) -> None:
        folder.mkdir(exist_ok=True)
        self._cluster, self.out, self._file = cluster, out, folder / "sweep.yaml"
        self.options = ["--no-check-models"]  # which takes seconds; the check has tests of its own
        self.store = folder / "corpus.h5"
        if not self.store.exists():
            made_store(self.store, [Split.TRAIN] * 3 + [Split.VALID], steps=steps)
        self._file.write_text(yaml_files.dump_yaml(SETTINGS | changes))

    def call(self, module: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return finished(command, ROOT, _TIMEOUT_S, **(self._cluster.env | environment))

    def submit(self, *more: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        arguments = [self._file, "--store", self.store, "--out", self.out, *self.options, *more]
        return self.call("jobs.sweep", "submit", *arguments, **environment)

    def rows(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(succeeded(self.call("jobs.sweep", "status", self.out, "--json")))
        return rows

    def states(self) -> list[str]:
        return [str(row["state"]) for row in self.rows()]

    def poll(self) -> list[dict[str, object]]:
        """The rows as `rows` has them, without the start of a process, which takes as long as hundreds of queries."""
        with modified(self._cluster.env):
            return [row.flat() for row in status_table.read(self.out)]

    def wait_for(self, *states: str, timeout_s: float = 200) -> None:
        def have_states() -> bool:
            return tuple(row["state"] for row in self.poll()) == states

        wait_until(have_states, f"runs that are {states}", timeout_s, POLL_S)

    def job_of(self, run: int) -> str:
        """The job that was last queued for a run."""
        return submissions.training_jobs(self.out)[self.runs()[run].name][-1].id

    def runs(self) -> list[Run]:
        return [Run(path.parent) for path in sorted(self.out.glob("*/config.yaml"))]


def succeeded(command: "subprocess.CompletedProcess[str]") -> str:
    assert command.returncode == 0, command.stderr
    return command.stdout


def wrap_sbatch(slurm: SlurmCluster, folder: Path, script: str) -> str:
    """A PATH on which sbatch runs a script, except for --test-only; SBATCH is the real program in it."""
    wrapper = folder / "bin" / "sbatch"
    wrapper.parent.mkdir()
    real = shutil.which("sbatch", path=slurm.env["PATH"])
    wrapper.write_text(f'#!/bin/bash\n[[ $1 == --test-only ]] && exec {real} "$@"\n{script.replace("SBATCH", str(real))}\n')
    wrapper.chmod(0o755)
    return f"{wrapper.parent}:{slurm.env['PATH']}"
