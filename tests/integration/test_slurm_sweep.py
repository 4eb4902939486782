"""Sweeps on a real Slurm cluster: submitted, preempted, requeued, killed, cancelled, resumed, refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.cluster.environment import modified
from jobs.execution import cancel
from jobs.records import status_table, submissions
from jobs.records.provenance import Outcome
from jobs.records.run_directory import Run
from jobs.records.usage import Requested
from pianogen import config
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.paths import PROGRAMS, ROOT
from tests.support.processes import POLL_S, finished, wait_until
from tests.support.runs import are_equal, iteration_of, weights_of
from tests.support.slurm_cluster import SlurmCluster
from tests.unit.test_path_text import USABLE

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
        self._file.write_text(config.dump_yaml(SETTINGS | changes))

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


@pytest.mark.timeout(900)
def test_run_resumes_after_every_kind_of_interruption(slurm: SlurmCluster, tmp_path: Path) -> None:
    training = {"epochs": 1_000, "max_iterations": 3_000, "batch": 16}
    changes: dict[str, Any] = {"training": training, "checkpoints": {"every_iterations": 60}}
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs [lr]", **changes)  # TensorFlow reads names of checkpoints as patterns
    succeeded(sweep.submit())
    (run,) = sweep.runs()

    def wait_for_progress() -> str:
        """Waits until the run trains and has a later checkpoint than before; the id of its job."""
        before = iteration_of(run)
        wait_until(lambda: iteration_of(run) > before + 50, "a later checkpoint")
        (row,) = sweep.rows()
        assert row["state"] == "running", row
        assert "of 3,000 iterations" in str(row["progress"])
        return str(row["job"])

    def wait_for_requeue() -> str:
        """Waits until the run is waiting; its reason at that moment, since it starts again soon."""
        row: dict[str, object] = {}

        def is_waiting() -> bool:
            row.update(sweep.poll()[0])
            return row["state"] == "waiting"

        wait_until(is_waiting, "the run to be requeued", interval_s=POLL_S)
        return str(row["reason"])

    slurm.run("scancel", "--signal=USR2", wait_for_progress())
    reason = wait_for_requeue()
    assert f"iteration {iteration_of(run)}" in reason
    slurm.run("scontrol", "update", f"JobId={wait_for_progress()}", "TimeLimit=1")  # below the limit that the job was given
    reason = wait_for_requeue()
    assert f"iteration {iteration_of(run)}" in reason
    slurm.run("scontrol", "update", f"JobId={sweep.rows()[0]['job']}", "TimeLimit=15")
    slurm.run("scontrol", "requeue", wait_for_progress())
    assert re.match(rf"requeued, pending \(.+\) as job {sweep.job_of(0)}; previous attempt on ", wait_for_requeue())
    job = wait_for_progress()
    node = slurm.field(job, "NodeList")
    slurm.kill_node(node)
    assert "exited without recording a result" in wait_for_requeue()
    slurm.start_node(node)
    sweep.wait_for("done")

    uninterrupted = Sweep(slurm, tmp_path, tmp_path / "uninterrupted", **changes)
    succeeded(uninterrupted.submit("--cluster", "debug"))
    (other,) = uninterrupted.runs()
    assert are_equal(run, other)
    assert run.read_result() == other.read_result()
    attempts = run.read_provenance().attempts
    assert len(attempts) == 5
    assert all(attempt.code.startswith("code-") for attempt in attempts)


def test_cancelled_runs_wait_and_are_submitted_again(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Slurm keeps one record for all tasks of an array that were cancelled before they started.

    A run that is added has resources of its own, and waits because the others reach the limit on jobs that run at a time. The
    answer of sbatch is lost, and the user has variables that change what sbatch and squeue are asked.
    """
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", grid={"training.seed": [0, 1, 2, 3]})
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    error = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    path = wrap_sbatch(slurm, tmp_path, f'SBATCH "$@" >&2; echo "{error}" >&2; exit 1')  # although the jobs are queued
    of_user = {"SBATCH_CONSTRAINT": "nowhere", "SBATCH_EXCLUSIVE": "1", "SBATCH_TIMELIMIT": "1", "SQUEUE_NAMES": "others"}
    of_user |= {"SBATCH_PARTITION": "spare", "SBATCH_QOS": "none", "SBATCH_RESERVATION": "none", "SBATCH_ACCOUNT": "nobody"}
    submitted = sweep.submit(PATH=path, **of_user)
    assert "queued 4 jobs" in succeeded(submitted)
    assert "SBATCH_ACCOUNT, SBATCH_CONSTRAINT, SBATCH_EXCLUSIVE, SBATCH_PARTITION" in submitted.stderr
    assert slurm.field(sweep.job_of(0), "Partition") == "main"
    assert slurm.field(sweep.job_of(0), "TimeLimit") == "00:15:00"
    of_user = {"SQUEUE_STATES": "FAILED", "SQUEUE_PARTITION": "spare", "SQUEUE_USERS": "nobody", "SACCT_FORMAT": "JobID"}
    shown = succeeded(sweep.call("jobs.sweep", "status", sweep.out, "--json", **of_user))
    assert [row["job"] for row in json.loads(shown)] == [sweep.job_of(run) for run in range(4)]
    assert "cancelled 1 job," in succeeded(sweep.call("jobs.sweep", "cancel", sweep.runs()[2].path))
    assert sweep.rows()[2]["state"] == "waiting"
    assert "not queued: " in str(sweep.rows()[2]["reason"])
    assert [bool(row["job"]) for row in sweep.rows()] == [True, True, False, True]
    resources = ["slurm={timeout: 1-2, memory_gb: null, signal_lead_s: 200}", "slurm.extra={comment: it's mine, nice: 7}"]
    added = sweep.submit("grid.training.seed=[0, 1, 3, 4]", *resources, SBATCH_TIMELIMIT="5", SBATCH_COMMENT="other")
    assert "queued 1 job: " in succeeded(added)
    job = sweep.job_of(4)
    assert slurm.field(job, "Dependency").startswith(f"afterany:{sweep.job_of(0).partition('_')[0]}")
    assert (slurm.field(job, "TimeLimit"), slurm.field(job, "Nice")) == ("1-02:00:00", "7")
    assert "Comment=it's mine" in slurm.run("scontrol", "show", "job", job).stdout
    assert "cancelled 4 jobs" in succeeded(sweep.call("jobs.sweep", "cancel", sweep.out))
    wait_until(lambda: not any(row["job"] for row in sweep.poll()), "the jobs to end", interval_s=POLL_S)
    assert sweep.states() == ["waiting"] * 5
    assert all("not queued: " in str(row["reason"]) for row in sweep.rows())
    notify = 'slurm.notify=touch "$PIANOGEN_SWEEP/notified"'
    # A run that was cancelled alone, and one that was cancelled with its array.
    assert "queued 2 jobs" in succeeded(sweep.submit("grid.training.seed=[0, 2]", notify))
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for("done", "waiting", "done", "waiting", "waiting")
    wait_until((sweep.out / "notified").exists, "the notification")


def test_status_distinguishes_jobs_from_processes_outside_of_slurm(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", training={"epochs": 1_000, "max_iterations": 100_000, "batch": 16})
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    succeeded(sweep.submit())
    succeeded(sweep.call("jobs.sweep", "cancel", sweep.out))
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    (run,) = sweep.runs()
    command = [sys.executable, str(PROGRAMS / "attempt.py"), str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        wait_until(lambda: iteration_of(run) > 0, "the process to train")
        (row,) = sweep.rows()
        assert (row["state"], row["job"]) == ("running", "")
        assert "0 to start" in succeeded(sweep.submit())
        process.kill()
    (row,) = sweep.rows()
    assert row["state"] == "failed"
    assert str(row["reason"]).startswith(f"process {process.pid} on ")
    last = iteration_of(run)
    assert "queued 1 job: " in succeeded(sweep.call("jobs.sweep", "resubmit", sweep.out))
    wait_until(lambda: iteration_of(run) > last, "the job to train")
    slurm.run("scancel", "--signal=USR2", sweep.job_of(0))
    # The requeued job cannot begin an attempt; the message of the attempt before must not be taken for its outcome.
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    sweep.wait_for("waiting")
    for path in sweep.out.glob("jobs/*/*_submitted.pkl"):
        path.write_bytes(b"damaged")
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for("failed")
    assert f"job {sweep.job_of(0)} exited without recording a result: exit code 1" in str(sweep.rows()[0]["reason"])


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


@pytest.mark.timeout(900)
def test_packed_runs_resume_exactly_and_a_failed_one_stops_no_other(
    slurm: SlurmCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One job trains two runs at a time, four in all: the first finds a file in its way, and the last is cancelled."""
    training = {"epochs": 1_000, "max_iterations": 300, "batch": 16}
    runs = [{"training.seed": 0}, {"training.seed": 1}, {"training.seed": 2, "training.max_iterations": 30}, {"training.seed": 3}]
    resources = RESOURCES | {"runs_per_job": 4, "runs_per_gpu": 2, "memory_gb": 3}  # a process takes 1 GB
    packed = Sweep(slurm, tmp_path, tmp_path / "packed", runs=runs, training=training, slurm=resources)
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")  # until the file is in the way
    assert "queued 1 job: " in succeeded(packed.submit())
    blocked, trained, _, cancelled = packed.runs()
    job = packed.job_of(0)
    assert slurm.field(job, "NumCPUs") == "2"
    (blocked.path / "checkpoints").write_text("in the way")
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")

    def has_to_wait() -> bool:
        return packed.poll()[3]["reason"] == f"pending (other runs of its job first) as job {job}"

    wait_until(has_to_wait, "the job to start its first runs", interval_s=POLL_S)
    with modified(slurm.env):
        cancel.cancel(cancelled.path)
    assert "cancelled 0 jobs, 1 run of jobs that have other runs" in capsys.readouterr().out
    packed.wait_for("failed", "running", "running", "waiting")
    reasons = [str(row["reason"]) for row in packed.poll()]
    wait_until(lambda: iteration_of(trained) > 0, "a run to train", timeout_s=300)
    slurm.run("scancel", "--signal=USR2", job)  # while another run may still be starting
    assert str(blocked.path / "checkpoints") in reasons[0]
    assert reasons[3] == f"cancelled (job {job}); not queued: resubmit to resume from the last checkpoint"
    packed.wait_for("failed", "done", "done", "waiting", timeout_s=600)
    attempts = [run.read_provenance().attempts for run in packed.runs()]
    assert [(attempt.job, attempt.outcome) for attempt in attempts[1]] == [(job, Outcome.INTERRUPTED), (job, Outcome.FINISHED)]
    assert (len(attempts[0]), len(attempts[3])) == (1, 0)
    assert slurm.wait(job) == "FAILED"
    assert "2 of 4 runs to start" in succeeded(packed.call("jobs.sweep", "resubmit", packed.out, "--dry-run"))

    alone = Sweep(slurm, tmp_path, tmp_path / "alone", runs=[runs[1]], training=training)
    succeeded(alone.submit("--cluster", "debug"))
    (other,) = alone.runs()
    assert trained.read_provenance().identity == other.read_provenance().identity
    assert are_equal(trained, other)


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


def test_job_of_a_killed_submission_does_not_train(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    succeeded(sweep.submit())
    (record,) = sweep.out.glob("jobs/*/jobs.json")
    (unrecorded,) = json.loads(record.read_text())["jobs"]
    record.unlink()  # as if the submission had been killed before it wrote the record
    assert sweep.rows()[0]["reason"] == "not submitted"
    assert "queued 1 job: " in succeeded(sweep.submit())
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for("done")
    assert slurm.wait(unrecorded) == "FAILED"
    (run,) = sweep.runs()
    (attempt,) = run.read_provenance().attempts
    assert attempt.job != unrecorded
    (output,) = record.parent.glob("*_log.err")
    assert f"job {unrecorded} does not train {run.path}" in output.read_text()


def wrap_sbatch(slurm: SlurmCluster, folder: Path, script: str) -> str:
    """A PATH on which sbatch runs a script, except for --test-only; SBATCH is the real program in it."""
    wrapper = folder / "bin" / "sbatch"
    wrapper.parent.mkdir()
    real = shutil.which("sbatch", path=slurm.env["PATH"])
    wrapper.write_text(f'#!/bin/bash\n[[ $1 == --test-only ]] && exec {real} "$@"\n{script.replace("SBATCH", str(real))}\n')
    wrapper.chmod(0o755)
    return f"{wrapper.parent}:{slurm.env['PATH']}"


def test_only_one_command_at_a_time_submits_a_sweep(slurm: SlurmCluster, tmp_path: Path) -> None:
    begun, may_end = tmp_path / "begun", tmp_path / "may end"
    path = wrap_sbatch(slurm, tmp_path, f'touch "{begun}"; while [[ ! -e "{may_end}" ]]; do sleep 0.1; done; exec SBATCH "$@"')
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    with ThreadPoolExecutor() as threads:
        first = threads.submit(sweep.submit, PATH=path)
        wait_until(begun.exists, "the first submission to call sbatch")
        second = sweep.submit()
        may_end.touch()
        assert second.returncode == 1
        assert f"{sweep.out} is being submitted by process" in second.stderr
        assert "queued 1 job: " in succeeded(first.result())
    assert not (sweep.out / "jobs" / "lock").exists()
    succeeded(sweep.call("jobs.sweep", "cancel", sweep.out))


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


def test_jobs_use_the_code_and_the_site_settings_of_their_submission(slurm: SlurmCluster, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for package in ("pianogen", "jobs"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    site = tmp_path / "the site.sh"
    site.write_text("export PIANOGEN_TESTED=1\n")
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    succeeded(sweep.submit(PYTHONPATH=str(checkout), PYTHONSAFEPATH="1", PIANOGEN_SITE=str(site)))
    module = Path("jobs", "execution", "run_job.py")
    (checkout / module).write_text("raise RuntimeError('a line that was not submitted')")
    site.write_text("exit 1\n")
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    sweep.wait_for("done")
    (run,) = sweep.runs()
    (attempt,) = run.read_provenance().attempts
    assert (sweep.out / "jobs" / attempt.code / module).read_bytes() == (ROOT / module).read_bytes()


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
def test_impossible_resources_and_paths_are_refused_before_anything_is_written(
    slurm: SlurmCluster, tmp_path: Path, overrides: list[str], message: str
) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    refused = sweep.submit(*overrides)
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not sweep.out.exists()


def test_refused_submission_leaves_no_trace(slurm: SlurmCluster, tmp_path: Path) -> None:
    """sbatch may reject jobs that --test-only has accepted."""
    path = wrap_sbatch(slurm, tmp_path, 'exec SBATCH --partition=closed "$@"')
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs", grid={"training.seed": [0, 1]})
    refused = sweep.submit(PATH=path)
    assert refused.returncode == 2, refused.stderr
    assert "invalid partition specified: closed" in refused.stderr
    assert not sweep.out.exists()
    succeeded(sweep.submit("grid.training.seed=[0]"))
    sweep.wait_for("done")
    slurm.wait(sweep.job_of(0))  # a run is done before its job has written its last record
    kept = contents(sweep.out)
    assert sweep.submit("slurm.memory_gb=1", PATH=path).returncode == 2
    assert sweep.call("jobs.sweep", "resubmit", sweep.out, PATH=path).returncode == 0  # nothing to start
    assert contents(sweep.out) == kept


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "runs.csv"}


def test_two_hundred_runs_take_two_arrays_and_one_query(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = Sweep(slurm, tmp_path, tmp_path / "runs")
    output = succeeded(sweep.call("benchmarks.queue", sweep.store, "--runs", 200, "--rounds", 1))
    figures = json.loads(output.splitlines()[-1])
    assert figures["submit"]["calls"]["sbatch"] == 3  # --test-only, and two arrays of at most 150 jobs
    assert figures["status"]["calls"] == {"squeue": 1}
    assert figures["cancel"]["calls"]["scancel"] == 1
