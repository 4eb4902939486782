"""Sweeps on a real Slurm cluster: trained, preempted, requeued, killed and resumed."""

import json
import os
import re
import shutil
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.records import submissions
from jobs.records.provenance import Outcome
from jobs.records.usage import Requested
from tests.support.processes import POLL_S, wait_until
from tests.support.runs import are_equal, iteration_of, weights_of
from tests.support.slurm_cluster import SlurmCluster
from tests.support.slurm_sweep import RESOURCES, Sweep, succeeded
from tests.unit.test_path_text import USABLE


def test_results_on_slurm_equal_those_of_local_processes(slurm: SlurmCluster, tmp_path: Path) -> None:
    grid = {"model.name": ["base", "gru"]}
    folder = tmp_path / f"a {USABLE}"
    on_slurm = Sweep(slurm, folder, folder / "my runs", grid=grid)
    on_slurm.options.clear()
    assert "queued 2 jobs" in succeeded(on_slurm.submit())
    assert set(on_slurm.states()) <= {"waiting", "running", "done"}
    assert "0 to start" in succeeded(on_slurm.submit())  # queued and running runs are not queued twice
    assert "queued 2 jobs" in succeeded(on_slurm.call("jobs.decode", on_slurm.out, "--cluster", "slurm"))  # after the training
    on_slurm.wait_for(*["done"] * 2)
    local = Sweep(slurm, folder, tmp_path / "local", grid=grid)
    succeeded(local.submit("--cluster", "local"))
    for one, other in zip(on_slurm.runs(), local.runs(), strict=True):
        assert one.name == other.name  # samples.h5 contains it
        assert one.read_result() == other.read_result()
        assert (one.path / "samples.h5").read_bytes() == (other.path / "samples.h5").read_bytes()
    succeeded(local.call("jobs.decode", local.out))
    wait_until(lambda: len(list(on_slurm.out.glob("*/midi/index.csv"))) == 2, "its samples to be decoded")
    for sweep in (on_slurm, local):
        collected = sweep.out.with_name(sweep.out.name + " collected")
        succeeded(sweep.call("jobs.collect", sweep.out, "--out", collected))
        assert len(list(collected.glob("*/*.mid"))) == 4


def wait_for_progress(sweep: Sweep) -> str:
    """Waits until the run of a sweep trains and has a later checkpoint than before; the id of its job."""
    (run,) = sweep.runs()
    before = iteration_of(run)
    wait_until(lambda: iteration_of(run) > before + 50, "a later checkpoint")
    (row,) = sweep.poll()
    assert row["state"] == "running", row
    assert re.search(r" of [\d,]+ iterations", str(row["progress"]))
    return str(row["job"])


def wait_for_requeue(sweep: Sweep) -> str:
    """Waits until the run of a sweep is waiting; its reason at that moment, since it starts again soon."""
    row: dict[str, object] = {}

    def is_waiting() -> bool:
        row.update(sweep.poll()[0])
        return row["state"] == "waiting"

    wait_until(is_waiting, "the run to be requeued", interval_s=POLL_S)
    return str(row["reason"])


def test_run_is_requeued_before_its_time_limit(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Slurm looks at time limits every 30 seconds; no training of a test would last so long on every machine."""
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", training={"epochs": 1_000_000, "batch": 16})
    succeeded(sweep.submit())
    job = wait_for_progress(sweep)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=1")  # below the limit that the job was given
    reason = wait_for_requeue(sweep)
    assert f"iteration {iteration_of(sweep.runs()[0])}" in reason
    assert re.search(rf"requeued, pending \(.+\) as job {job}; |job {job} is being requeued", reason)
    assert "cancelled 1 job," in succeeded(sweep.call("jobs.sweep", "cancel", sweep.out))


@pytest.mark.timeout(900)
def test_run_resumes_after_every_kind_of_interruption(slurm: SlurmCluster, tmp_path: Path) -> None:
    training = {"epochs": 1_000, "max_iterations": 3_000, "batch": 16}
    changes: dict[str, Any] = {"training": training, "checkpoints": {"every_iterations": 60}}
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs [lr]", **changes)  # TensorFlow reads names of checkpoints as patterns
    succeeded(sweep.submit())
    (run,) = sweep.runs()
    slurm.run("scancel", "--signal=USR2", wait_for_progress(sweep))
    reason = wait_for_requeue(sweep)
    assert f"iteration {iteration_of(run)}" in reason
    slurm.run("scontrol", "requeue", wait_for_progress(sweep))
    assert re.match(rf"requeued, pending \(.+\) as job {sweep.job_of(0)}; previous attempt on ", wait_for_requeue(sweep))
    job = wait_for_progress(sweep)
    node = slurm.field(job, "NodeList")
    slurm.kill_node(node)
    assert "exited without recording a result" in wait_for_requeue(sweep)
    slurm.start_node(node)
    sweep.wait_for("done")

    uninterrupted = Sweep(slurm, tmp_path, tmp_path / "uninterrupted", **changes)
    succeeded(uninterrupted.submit("--cluster", "debug"))
    (other,) = uninterrupted.runs()
    assert are_equal(run, other)
    assert run.read_result() == other.read_result()
    attempts = run.read_provenance().attempts
    assert len(attempts) == 4
    assert all(attempt.code.startswith("code-") for attempt in attempts)


@pytest.mark.parametrize("partition", ["main", "spare"])
def test_preempted_run_is_requeued_and_resumes(slurm: SlurmCluster, tmp_path: Path, partition: str) -> None:
    training = {"epochs": 1_000, "max_iterations": 600, "batch": 16}
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", training=training, slurm=RESOURCES | {"partition": partition})
    succeeded(sweep.submit())
    (run,) = sweep.runs()
    wait_until(lambda: iteration_of(run) > 0, "the job to train")
    job = sweep.rows()[0]["job"]
    slurm.run("sbatch", "--partition=urgent", "--nodes=3", "--exclusive", "--chdir=/", "--output=/dev/null", "--wrap=sleep 3")
    sweep.wait_for("waiting")
    sweep.wait_for("done")
    first, second = run.read_provenance().attempts
    assert (first.job, second.job) == (job, job)
    if partition == "spare":  # with grace time; a job of the other partition may be killed before it has exited
        assert first.outcome is Outcome.INTERRUPTED


def test_reasons_of_failures_are_reported_and_resubmit_resumes(slurm: SlurmCluster, tmp_path: Path) -> None:
    """One run is done, one finds a file in its way, one needs too much memory, one is killed."""
    training = {"epochs": 1_000, "max_iterations": 40, "batch": 16}
    greedy = {"model.units": 64, "data.window_steps": 300, "training.batch": 2_000, "training.max_iterations": 1}  # 2.5 GB
    runs = [{"training.seed": 0}, {"training.seed": 1}, greedy, {"training.seed": 2, "training.max_iterations": 100_000}]
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", steps=1_000, training=training, runs=runs)
    succeeded(sweep.submit("--dry-run"))
    assert not sweep.out.exists()
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")  # until the file is in the way
    succeeded(sweep.submit())
    done, blocked, _, killed = sweep.runs()
    (blocked.path / "checkpoints").write_text("in the way")
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    wait_until(lambda: iteration_of(killed) > 0, "the job to train")
    os.kill(killed.read_provenance().attempts[-1].pid, signal.SIGKILL)
    sweep.wait_for("done", "failed", "failed", "failed")
    reasons = [str(row["reason"]) for row in sweep.rows()]
    assert str(blocked.path / "checkpoints") in reasons[1]
    assert "out of memory" in reasons[2]
    assert "slurm.memory_gb" in reasons[2]
    assert "signal 9 (SIGKILL)" in reasons[3]
    before, last = done.read_provenance(), iteration_of(killed)

    refused = sweep.call("jobs.sweep", "resubmit", sweep.out, "training.max_iterations=50")
    assert refused.returncode == 2
    assert "has training.max_iterations=50, found" in refused.stderr
    (blocked.path / "checkpoints").unlink()
    for run in sweep.runs():
        assert run.read_config().slurm.memory_gb == 2
    output = succeeded(sweep.call("jobs.sweep", "resubmit", sweep.out, "slurm.memory_gb=3"))
    assert all(reason in output for reason in reasons[1:])
    assert "queued 3 jobs" in output
    sweep.wait_for("done", "done", "done", "running")
    wait_until(lambda: iteration_of(killed) > last, "the killed run to resume")
    usage = killed.read_provenance().attempts[0].usage
    assert usage is not None, "it was recorded before the attempt was killed"
    assert usage.requested == Requested(cpus=1, memory_gb=2, timeout_min=15)
    assert_other_cluster_sees_the_run(sweep, 3)
    link = tmp_path / "latest"
    link.symlink_to("runs")
    for name in (link, sweep.out / "jobs" / ".."):
        row = json.loads(succeeded(sweep.call("jobs.sweep", "status", name, "--json")))[3]
        assert (row["state"], row["job"]) == ("running", sweep.job_of(3))
    assert "cancelled 1 job," in succeeded(sweep.call("jobs.sweep", "cancel", link))
    sweep.wait_for("done", "done", "done", "waiting")
    assert f"iteration {iteration_of(killed)}" in str(sweep.rows()[3]["reason"])
    assert done.read_provenance() == before


def assert_other_cluster_sees_the_run(sweep: Sweep, number: int) -> None:
    """A cluster that shares the file system does not know the job of a running run, and does not queue another one."""
    record = submissions.training_jobs(sweep.out)[sweep.runs()[number].name][-1].submission / "jobs.json"
    content = record.read_text()
    record.write_text(json.dumps(json.loads(content) | {"cluster": "elsewhere"}))
    row = sweep.rows()[number]
    assert (row["state"], row["job"]) == ("running", "")
    assert re.match(r"process \d+ on \S+, job \d+ holds its lock", str(row["reason"]))
    assert "0 of 4 runs to start" in succeeded(sweep.call("jobs.sweep", "resubmit", sweep.out))
    record.write_text(content)


def path_with_slow_git(slurm: SlurmCluster, folder: Path, delay_s: int) -> str:
    """A search path with a git that waits: a submission calls it for the provenance of a run, before it writes config.yaml."""
    git = folder / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f'#!/bin/bash\nsleep {delay_s}\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    return f"{git.parent}:{slurm.env['PATH']}"


def test_two_nodes_wait_for_the_record_of_their_submission_and_train_as_one(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Both workers start while the submission, after sbatch has accepted the job, writes the run."""
    training = {"epochs": 1_000, "max_iterations": 200, "batch": 16}
    two = Sweep(slurm, tmp_path, tmp_path / "two", training=training, slurm=RESOURCES | {"nodes": 2})
    delay_s = 20
    # The jobs inherit a proxy, which the workers must not use for each other.
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    assert "queued 1 job: " in succeeded(two.submit(PATH=path_with_slow_git(slurm, tmp_path, delay_s), **proxy))
    (run,) = two.runs()
    started_s = datetime.fromisoformat(slurm.field(two.job_of(0), "StartTime")).timestamp()
    assert started_s < run.config_file.stat().st_mtime - delay_s
    wait_until(lambda: iteration_of(run) > 0, "the workers to train", timeout_s=150)
    slurm.run("scancel", "--signal=USR2", two.job_of(0))
    two.wait_for("done")
    assert len(run.read_provenance().attempts) == 2
    one = Sweep(slurm, tmp_path, tmp_path / "one", training=training)
    succeeded(one.submit("--cluster", "debug"))
    (other,) = one.runs()
    for weights, expected in zip(weights_of(run.path / "model.keras"), weights_of(other.path / "model.keras"), strict=True):
        assert np.allclose(weights, expected, rtol=0, atol=1e-5)
    drawing = ("--num", 1, "--steps", 8, "--seed", 3, "--cluster", "slurm")  # on one node, although two have trained
    assert "queued 1 job: " in succeeded(two.call("jobs.sample", two.out, *drawing))
    wait_until(lambda: (run.path / "samples-num1-steps8-seed3.h5").is_file(), "more samples")
