"""Sweeps on a real Slurm: queued, preempted, killed, resumed, and told apart."""

import json
import subprocess
import sys
from pathlib import Path

from made_music import made_store
from runs import are_equal, iteration_of
from slurm_cluster import SlurmCluster, wait_until

from jobs.rundir import Run
from pianogen import config
from pianogen.store import Split

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "device": "cpu",
    "model": {"units": 8},
    "data": {"window_steps": 16},
    "training": {"epochs": 1, "batch": 16},
    "sampling": {"num": 2, "steps": 20},
    "checkpoints": {"every_iterations": 25},
    "slurm": {"cpus_per_task": 1, "memory_gb": 2, "timeout_min": 15, "max_parallel": 3},
}


class Sweep:
    """A sweep of the user of a cluster."""

    def __init__(self, slurm: SlurmCluster, folder: Path, out: Path, **changes: object) -> None:
        folder.mkdir(exist_ok=True)
        self._slurm, self.out, self._file = slurm, out, folder / "sweep.yaml"
        self.store = folder / "corpus.h5"
        if not self.store.exists():
            made_store(self.store, [Split.TRAIN] * 3 + [Split.VALID])
        self._file.write_text(config.dump_yaml(SETTINGS | changes))

    def call(self, module: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
        return self._slurm.run(sys.executable, "-m", module, *map(str, arguments), cwd=ROOT, timeout_s=150)

    def submit(self, *more: object) -> "subprocess.CompletedProcess[str]":
        return self.call("jobs.sweep", "submit", self._file, "--store", self.store, "--out", self.out, *more)

    def rows(self) -> list[dict[str, object]]:
        asked = self.call("jobs.sweep", "status", self.out, "--json")
        assert asked.returncode == 0, asked.stderr
        return json.loads(asked.stdout)

    def states(self) -> list[str]:
        return [str(row["state"]) for row in self.rows()]

    def wait_for(self, *states: str, timeout_s: float = 200) -> None:
        wait_until(lambda: tuple(self.states()) == states, timeout_s, f"runs that are {states}")

    def runs(self) -> list[Run]:
        return [Run(path.parent) for path in sorted(self.out.glob("*/config.yaml"))]


def succeeded(command: "subprocess.CompletedProcess[str]") -> str:
    assert command.returncode == 0, command.stderr
    return command.stdout


def test_sweep_of_six_gives_on_slurm_what_it_gives_here(slurm: SlurmCluster, tmp_path: Path) -> None:
    grid = {"model.name": ["base", "gru"], "training.seed": [0, 1, 2]}
    there = Sweep(slurm, tmp_path / "a folder", tmp_path / "a folder" / "my runs", grid=grid)
    assert "queued 6 jobs" in succeeded(there.submit())
    assert set(there.states()) <= {"waiting", "running", "done"}
    again = succeeded(there.submit())
    assert "0 to start" in again  # what is queued or runs is not queued twice
    there.wait_for(*["done"] * 6)
    here = Sweep(slurm, tmp_path / "a folder", tmp_path / "here", grid=grid)
    succeeded(here.submit("--cluster", "local"))
    for one, other in zip(there.runs(), here.runs(), strict=True):
        assert one.read_result() == other.read_result()
        assert (one.path / "samples.h5").read_bytes() == (other.path / "samples.h5").read_bytes()
    for sweep in (there, here):
        succeeded(sweep.call("jobs.decode", sweep.out, "--cluster", "local"))
        collected = sweep.out.with_name(sweep.out.name + " collected")
        succeeded(sweep.call("jobs.collect", sweep.out, "--out", collected))
        assert len(list(collected.glob("*/*.mid"))) == 12


def test_run_goes_through_every_interruption(slurm: SlurmCluster, tmp_path: Path) -> None:
    changes = {"training": {"epochs": 1_000, "max_iterations": 6_000, "batch": 16}}
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", **changes)
    succeeded(sweep.submit())
    (run,) = sweep.runs()

    def came_further() -> str:
        """Waits until it trains and has a checkpoint more than before; its job."""
        before = iteration_of(run)
        wait_until(lambda: iteration_of(run) > before + 50, 100, "it to train")
        (row,) = sweep.rows()
        assert row["state"] == "running", row
        assert "of 6,000 iterations" in str(row["progress"])
        return str(row["job"])

    def left(reason: str) -> None:
        """Waits until it waits in the queue, for this reason."""
        wait_until(lambda: sweep.states() == ["waiting"], 100, "it to wait")
        (row,) = sweep.rows()
        assert reason in str(row["reason"]), row

    for _ in range(3):
        slurm.run("scancel", "--signal=USR2", came_further())
        left("with a checkpoint")
    slurm.run("scontrol", "update", f"JobId={came_further()}", "TimeLimit=1")  # less than it has been told of
    left("with a checkpoint")
    slurm.run("scontrol", "update", f"JobId={sweep.rows()[0]['job']}", "TimeLimit=15")
    slurm.run("scontrol", "requeue", came_further())
    left("queued as job")
    job = came_further()
    node = slurm.field(job, "NodeList")
    slurm.kill_node(node)
    left("ended without a word")
    slurm.start_node(node)
    sweep.wait_for("done")

    undisturbed = Sweep(slurm, tmp_path, tmp_path / "undisturbed", **changes)
    succeeded(undisturbed.submit("--cluster", "debug"))
    (other,) = undisturbed.runs()
    assert are_equal(run, other)
    assert run.read_result() == other.read_result()
    attempts = run.read_provenance()["attempts"]
    assert len(attempts) == 7
    assert all(attempt["code"].startswith("code-") for attempt in attempts)
