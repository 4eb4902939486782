"""What the commands for sweeps submit to a real Slurm cluster, cancel, refuse and report."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.paths import PROGRAMS, ROOT
from tests.support.processes import POLL_S, wait_until
from tests.support.runs import iteration_of
from tests.support.slurm_cluster import SlurmCluster
from tests.support.slurm_sweep import Sweep, succeeded, wrap_sbatch


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
