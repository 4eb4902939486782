"""Sweeps on a real Slurm: queued, preempted, killed, resumed, and told apart."""

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jobs.records.run_directory import Run
from pianogen import config
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.paths import PROGRAMS, ROOT
from tests.support.processes import finished
from tests.support.runs import are_equal, iteration_of, weights_of
from tests.support.slurm_cluster import SlurmCluster, wait_until

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

    def __init__(self, cluster: SlurmCluster, folder: Path, out: Path, steps: int = 220, **changes: object) -> None:
        folder.mkdir(exist_ok=True)
        self._cluster, self.out, self._file = cluster, out, folder / "sweep.yaml"
        self.store = folder / "corpus.h5"
        if not self.store.exists():
            made_store(self.store, [Split.TRAIN] * 3 + [Split.VALID], steps=steps)
        self._file.write_text(config.dump_yaml(SETTINGS | changes))

    def call(self, module: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return finished(command, ROOT, **(self._cluster.env | environment))

    def submit(self, *more: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        return self.call("jobs.sweep", "submit", self._file, "--store", self.store, "--out", self.out, *more, **environment)

    def rows(self) -> list[dict[str, object]]:
        asked = self.call("jobs.sweep", "status", self.out, "--json")
        assert asked.returncode == 0, asked.stderr
        return json.loads(asked.stdout)

    def states(self) -> list[str]:
        return [str(row["state"]) for row in self.rows()]

    def wait_for(self, *states: str, timeout_s: float = 200) -> None:
        wait_until(lambda: tuple(self.states()) == states, timeout_s, f"runs that are {states}")

    def job_of(self, run: int) -> str:
        """The job that was queued last for a run."""
        name = self.runs()[run].name
        records = [json.loads(path.read_text()) for path in sorted(self.out.glob("jobs/*-train/jobs.json"))]
        return next(job for record in reversed(records) for job, each in record.items() if each == name)

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
    assert "queued 6 jobs" in succeeded(there.call("jobs.decode", there.out, "--cluster", "slurm"))  # after the others
    there.wait_for(*["done"] * 6)
    here = Sweep(slurm, tmp_path / "a folder", tmp_path / "here", grid=grid)
    succeeded(here.submit("--cluster", "local"))
    for one, other in zip(there.runs(), here.runs(), strict=True):
        assert one.read_result() == other.read_result()
        assert (one.path / "samples.h5").read_bytes() == (other.path / "samples.h5").read_bytes()
    succeeded(here.call("jobs.decode", here.out))
    wait_until(lambda: len(list(there.out.glob("*/midi/index.csv"))) == 6, 100, "its samples to be decoded")
    for sweep in (there, here):
        collected = sweep.out.with_name(sweep.out.name + " collected")
        succeeded(sweep.call("jobs.collect", sweep.out, "--out", collected))
        assert len(list(collected.glob("*/*.mid"))) == 12


@pytest.mark.timeout(900)
def test_run_goes_through_every_interruption(slurm: SlurmCluster, tmp_path: Path) -> None:
    training = {"epochs": 1_000, "max_iterations": 6_000, "batch": 16}
    changes = {"training": training, "checkpoints": {"every_iterations": 60}}
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
        left("checkpoint written at iteration")
    slurm.run("scontrol", "update", f"JobId={came_further()}", "TimeLimit=1")  # less than it has been told of
    left("checkpoint written at iteration")
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


def test_cancelled_runs_wait_and_go_on(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Slurm keeps one record for all tasks of an array that were cancelled before they ran."""
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", grid={"training.seed": [0, 1, 2, 3]})
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    succeeded(sweep.submit())
    assert "1 jobs" in succeeded(sweep.call("jobs.sweep", "cancel", sweep.runs()[2].path))
    assert sweep.rows()[2]["state"] == "waiting"
    assert str(sweep.rows()[2]["reason"]).startswith("it is not queued: ")
    assert [bool(row["job"]) for row in sweep.rows()] == [True, True, False, True]
    assert "3 jobs" in succeeded(sweep.call("jobs.sweep", "cancel", sweep.out))
    wait_until(lambda: not any(row["job"] for row in sweep.rows()), 60, "the jobs to end")
    assert sweep.states() == ["waiting"] * 4
    assert all("it is not queued" in str(row["reason"]) for row in sweep.rows())
    assert "queued 4 jobs" in succeeded(sweep.submit())
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for(*["done"] * 4)


def test_attempts_here_and_jobs_there_are_told_apart(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", training={"epochs": 1_000, "max_iterations": 100_000, "batch": 16})
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    succeeded(sweep.submit())
    succeeded(sweep.call("jobs.sweep", "cancel", sweep.out))
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    (run,) = sweep.runs()
    command = [sys.executable, str(PROGRAMS / "attempt.py"), str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as here:
        wait_until(lambda: iteration_of(run) > 0, 100, "it to train here")
        (row,) = sweep.rows()
        assert (row["state"], row["job"]) == ("running", "")
        assert "0 to start" in succeeded(sweep.submit())
        here.kill()
    (row,) = sweep.rows()
    assert row["state"] == "failed"
    assert str(row["reason"]).startswith("its process ended without a word")
    kept = iteration_of(run)
    assert "queued 1 jobs" in succeeded(sweep.call("jobs.sweep", "resubmit", sweep.out))
    wait_until(lambda: iteration_of(run) > kept, 100, "it to train there")
    slurm.run("scancel", "--signal=USR2", sweep.job_of(0))
    # Queued again, its job cannot even begin; what the attempt before it said is not the reason.
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    sweep.wait_for("waiting")
    pickles = list(sweep.out.glob("jobs/*/*_submitted.pkl"))
    for path in pickles:
        path.write_bytes(b"damaged")
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for("failed")
    assert "exit code 1 and without a word" in str(sweep.rows()[0]["reason"])


@pytest.mark.parametrize("partition", ["main", "spare"])
def test_run_that_gives_way_to_an_urgent_job_goes_on(slurm: SlurmCluster, tmp_path: Path, partition: str) -> None:
    training = {"epochs": 1_000, "max_iterations": 600, "batch": 16}
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", training=training, slurm=SETTINGS["slurm"] | {"partition": partition})
    succeeded(sweep.submit())
    (run,) = sweep.runs()
    wait_until(lambda: iteration_of(run) > 0, 100, "it to train")
    job = sweep.rows()[0]["job"]
    slurm.run("sbatch", "--partition=urgent", "--nodes=3", "--exclusive", "--chdir=/", "--output=/dev/null", "--wrap=sleep 3")
    sweep.wait_for("waiting")
    sweep.wait_for("done")
    first, second = run.read_provenance()["attempts"]
    assert (first["job"], second["job"]) == (job, job)
    if partition == "spare":  # it gives a minute of notice; in the other it may come to leave, or be killed
        assert first["left"].startswith("received a shutdown signal; checkpoint written at iteration")


def test_failures_are_named_and_mended(slurm: SlurmCluster, tmp_path: Path) -> None:
    """One run is done, one meets an obstacle, one needs too much memory, one is killed."""
    training = {"epochs": 1_000, "max_iterations": 40, "batch": 16}
    greedy = {"model.units": 64, "data.window_steps": 300, "training.batch": 600, "training.max_iterations": 1}
    runs = [{"training.seed": 0}, {"training.seed": 1}, greedy, {"training.seed": 2, "training.max_iterations": 100_000}]
    ask = SETTINGS["slurm"] | {"memory_gb": 1}
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", steps=1_000, training=training, runs=runs, slurm=ask)
    succeeded(sweep.submit("--dry-run"))
    assert not sweep.out.exists()
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")  # they wait until the obstacle is there
    succeeded(sweep.submit())
    done, hindered, _, killed = sweep.runs()
    (hindered.path / "checkpoints").write_text("in the way")
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    wait_until(lambda: iteration_of(killed) > 0, 100, "it to train")
    os.kill(killed.read_provenance()["attempts"][-1]["pid"], signal.SIGKILL)
    sweep.wait_for("done", "failed", "failed", "failed")
    reasons = [str(row["reason"]) for row in sweep.rows()]
    assert str(hindered.path / "checkpoints") in reasons[1]
    assert "out of memory" in reasons[2]
    assert "raise slurm.memory_gb" in reasons[2]
    assert "signal 9 (SIGKILL)" in reasons[3]
    before, kept = done.read_provenance(), iteration_of(killed)

    refused = sweep.call("jobs.sweep", "resubmit", sweep.out, "training.max_iterations=50")
    assert refused.returncode == 2
    assert "would change the result" in refused.stderr
    (hindered.path / "checkpoints").unlink()
    for run in sweep.runs():
        assert run.read_config().slurm.memory_gb == 1
    said = succeeded(sweep.call("jobs.sweep", "resubmit", sweep.out, "slurm.memory_gb=3"))
    assert all(reason in said for reason in reasons[1:])
    assert "queued 3 jobs" in said
    sweep.wait_for("done", "done", "done", "running")
    wait_until(lambda: iteration_of(killed) > kept, 100, "it to train on")
    assert "1 jobs" in succeeded(sweep.call("jobs.sweep", "cancel", sweep.out))
    sweep.wait_for("done", "done", "done", "waiting")
    assert "checkpoint written at iteration" in str(sweep.rows()[3]["reason"])
    assert done.read_provenance() == before


def test_job_of_a_killed_submission_leaves_its_run_to_the_next(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    succeeded(sweep.submit())
    (record,) = sweep.out.glob("jobs/*/jobs.json")
    (unknown,) = json.loads(record.read_text())
    record.unlink()  # as if the submission had been killed just before it wrote that
    assert sweep.rows()[0]["reason"] == "it is not queued"
    assert "queued 1 jobs" in succeeded(sweep.submit())
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for("done")
    assert slurm.wait(unknown) == "FAILED"
    (run,) = sweep.runs()
    (attempt,) = run.read_provenance()["attempts"]
    assert attempt["job"] != unknown
    (said,) = record.parent.glob("*_log.err")
    assert f"job {unknown} leaves {run.path} alone" in said.read_text()


def test_submission_is_kept_out_while_another_is_under_way(slurm: SlurmCluster, tmp_path: Path) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    real = shutil.which("sbatch", path=slurm.env["PATH"])
    there, go_on = tmp_path / "there", tmp_path / "go on"
    wait = f'touch "{there}"; while [[ ! -e "{go_on}" ]]; do sleep 0.1; done'
    sbatch.write_text(f'#!/bin/bash\n[[ $1 == --test-only ]] || {{ {wait}; }}\nexec {real} "$@"\n')
    sbatch.chmod(0o755)
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    with ThreadPoolExecutor() as threads:
        first = threads.submit(sweep.submit, PATH=f"{sbatch.parent}:{slurm.env['PATH']}")
        wait_until(there.exists, 100, "the first submission to queue its job")
        for second in (sweep.submit(), sweep.call("jobs.sweep", "resubmit", sweep.out)):
            assert second.returncode == 1
            assert f"{sweep.out} is being submitted by process" in second.stderr
        go_on.touch()
        assert "queued 1 jobs" in succeeded(first.result())
    sweep.wait_for("done")
    assert not list(tmp_path.glob(".*.lock"))


def test_two_nodes_train_as_one(slurm: SlurmCluster, tmp_path: Path) -> None:
    training = {"epochs": 1_000, "max_iterations": 200, "batch": 16}
    two = Sweep(slurm, tmp_path, tmp_path / "two", training=training, slurm=SETTINGS["slurm"] | {"nodes": 2})
    succeeded(two.submit())
    (run,) = two.runs()
    wait_until(lambda: iteration_of(run) > 0, 150, "it to train")
    slurm.run("scancel", "--signal=USR2", two.rows()[0]["job"])
    two.wait_for("done")
    assert len(run.read_provenance()["attempts"]) == 2
    one = Sweep(slurm, tmp_path, tmp_path / "one", training=training)
    succeeded(one.submit("--cluster", "debug"))
    (other,) = one.runs()
    for weights, expected in zip(*(weights_of(each.path / "model.keras") for each in (run, other)), strict=True):
        assert np.allclose(weights, expected, rtol=0, atol=1e-5)
    drawing = ("--num", 1, "--steps", 8, "--seed", 3, "--cluster", "slurm")  # on one node, though two have trained
    assert "queued 1 jobs" in succeeded(two.call("jobs.sample", two.out, *drawing))
    wait_until(lambda: len(list(run.path.glob("samples-seed3-*.h5"))) == 1, 100, "more samples")


def test_jobs_run_the_code_and_settings_that_were_submitted(slurm: SlurmCluster, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for package in ("pianogen", "jobs"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    site = tmp_path / "the site.sh"
    site.write_text("export PIANOGEN_TESTED=1\n")
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    succeeded(sweep.submit(PYTHONPATH=str(checkout), PYTHONSAFEPATH="1", PIANOGEN_SITE=str(site)))
    (checkout / "jobs" / "run.py").write_text("raise RuntimeError('a line that was not submitted')")
    site.write_text("exit 1\n")
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for("done")
    (run,) = sweep.runs()
    (attempt,) = run.read_provenance()["attempts"]
    assert (sweep.out / "jobs" / attempt["code"] / "jobs" / "run.py").read_bytes() == (ROOT / "jobs" / "run.py").read_bytes()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["slurm.partition=nowhere"], "nowhere"),
        (["slurm.account=nobody", "slurm.timeout_min=5"], "more than 10"),
        (["device=gpu", "slurm.gpus_per_node=9", "training.batch=18"], "Requested node configuration is not available"),
        (["slurm.partition=elsewhere"], "that the nodes share"),
        (["training.bach=3"], "did you mean batch?"),
    ],
)
def test_what_slurm_cannot_do_is_refused_before_anything(
    slurm: SlurmCluster, tmp_path: Path, overrides: list[str], message: str
) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    refused = sweep.submit(*overrides)
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not sweep.out.exists()


def test_refusal_of_sbatch_leaves_nothing_behind(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Slurm may take jobs when it is asked, and refuse them when they come."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    real = shutil.which("sbatch", path=slurm.env["PATH"])
    sbatch.write_text(f'#!/bin/bash\n[[ $1 == --test-only ]] && exec {real} "$@"\nexec {real} --partition=closed "$@"\n')
    sbatch.chmod(0o755)
    path = f"{sbatch.parent}:{slurm.env['PATH']}"
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", grid={"training.seed": [0, 1]})
    refused = sweep.submit(PATH=path)
    assert refused.returncode == 2, refused.stderr
    assert "invalid partition specified: closed" in refused.stderr
    assert not sweep.out.exists()
    succeeded(sweep.submit("grid.training.seed=[0]"))
    sweep.wait_for("done")
    kept = contents(sweep.out)
    assert sweep.submit(PATH=path).returncode == 2
    assert contents(sweep.out) == kept


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "runs.csv"}


def test_two_hundred_runs_take_two_arrays_and_one_question(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    said = succeeded(sweep.call("benchmarks.queue", sweep.store, "--runs", 200, "--rounds", 1))
    figures = json.loads(said.splitlines()[-1])
    assert figures["submit"]["asked"]["sbatch"] == 3  # once whether it would take them, and an array holds 150
    assert figures["status"]["asked"] == {"squeue": 1}
    assert figures["cancel"]["asked"]["scancel"] == 1
