"""Several runs in one job of a real Slurm cluster, and sweeps of two clusters that share a file system."""

from pathlib import Path
from typing import Any

import pytest

from jobs.cluster.environment import modified
from jobs.execution import cancel
from jobs.records.provenance import Outcome
from jobs.records.run_directory import Run
from pianogen import yaml_files
from tests.support.processes import POLL_S, wait_until
from tests.support.runs import are_equal, iteration_of
from tests.support.slurm_cluster import SlurmCluster
from tests.support.slurm_sweep import RESOURCES, Sweep, succeeded


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


@pytest.mark.timeout(900)
def test_two_clusters_over_one_folder_train_packed_random_and_promoted_runs(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Each cluster trains random draws in one job, and one promotes the best run of the other. All jobs are interrupted."""
    random = {"num": 2, "space": {"training.learning_rate": "loguniform(1e-3, 1e-2)", "training.seed": "randint(0, 99)"}}
    changes: dict[str, Any] = {"training": {"epochs": 24, "batch": 16}, "slurm": RESOURCES | {"runs_per_job": 2}}
    with SlurmCluster() as other:
        one = Sweep(slurm, tmp_path / "for one", tmp_path / "one", random=random, **changes)
        two = Sweep(other, tmp_path / "for two", tmp_path / "two", random=random | {"num": 1, "seed": 1}, **changes)
        guest = Sweep(other, tmp_path / "guest", one.out)
        assert "queued 1 job: " in succeeded(one.submit())
        wait_for_iteration(one.runs()[0], 1)
        assert [row["state"] for row in guest.poll()] == ["running", "waiting"]
        slurm.run("scancel", "--signal=USR2", one.job_of(0))
        assert "0 of 2 runs to start" in succeeded(guest.call("jobs.sweep", "resubmit", guest.out))
        assert "queued 1 job: " in succeeded(two.submit())
        (lost,) = two.runs()
        wait_for_iteration(lost, 1)
        other.kill_node(other.field(two.job_of(0), "NodeList"))
        one.wait_for("done", "done")
        promotion = guest.call("jobs.sweep", "promote", guest.out, "--top", 1, "training.epochs=48")
        assert "queued 1 job: " in succeeded(promotion)
        promoted = guest.runs()[2]
        wait_for_iteration(promoted, iteration_of(guest.runs()[0]) + 1)
        other.run("scancel", "--signal=USR2", guest.job_of(2))
        guest.wait_for("done", "done", "done")
        two.wait_for("done")
    assert sum(len(run.read_provenance().attempts) for run in one.runs()) == 5
    assert len(lost.read_provenance().attempts) == 2
    trained = [yaml_files.load_yaml(run.config_file)["training"] for run in (promoted, lost)]
    settings = [{f"training.{name}": value for name, value in training.items()} for training in trained]
    alone = Sweep(slurm, tmp_path / "alone", tmp_path / "alone" / "runs", runs=settings)
    succeeded(alone.submit("--cluster", "debug"))
    assert all(are_equal(run, expected) for run, expected in zip((promoted, lost), alone.runs(), strict=True))


def wait_for_iteration(run: Run, iteration: int) -> None:
    wait_until(lambda: iteration_of(run) >= iteration, f"a checkpoint of iteration {iteration} or later")
