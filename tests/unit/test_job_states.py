"""The states of jobs, parsed from the output of squeue and sacct."""

import shutil
from pathlib import Path

import pytest

from jobs.cluster import job_states
from jobs.cluster.client import SlurmError
from jobs.cluster.job_states import JobKey, JobPhase, JobState
from tests.support import fake_slurm


def squeue_line(
    job: str, state: str, wait_status: int = 0, reason: str = "None", restarts: int = 0, name: str = "mine", cluster: str = "c1"
) -> str:
    return "".join(f"{field:<60}" for field in (job, state, wait_status, reason, restarts, name, cluster))


def key(job: str) -> JobKey:
    return JobKey(job, "mine", "c1")


def use_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, squeue: list[str], sacct: list[str]) -> Path:
    """Has squeue and sacct print these lines; the file to which both append their names."""
    calls = tmp_path / "calls"
    for name, lines in (("squeue", squeue), ("sacct", sacct)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    scripts = {name: f'echo {name} >> "{calls}"; cat "{tmp_path / name}.txt"' for name in ("squeue", "sacct")}
    fake_slurm.install(monkeypatch, tmp_path / "bin", **scripts)
    return calls


def test_one_call_of_squeue_reports_all_jobs_in_the_queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [
        squeue_line("7_0", "PENDING", reason="Resources"),
        squeue_line("7_1", "RUNNING", restarts=2),
        squeue_line("7_2", "FAILED", wait_status=3 << 8),
        squeue_line("7_3", "FAILED", wait_status=137 << 8),
        squeue_line("7_4", "CANCELLED", wait_status=15),
        squeue_line("7_5", "COMPLETING"),
    ]
    calls = use_slurm(monkeypatch, tmp_path, lines, [])
    assert job_states.query_states([key(f"7_{task}") for task in range(6)]) == {
        key("7_0"): JobState(JobPhase.PENDING, "PENDING", "Resources", restarts=0),
        key("7_1"): JobState(JobPhase.RUNNING, "RUNNING", restarts=2),
        key("7_2"): JobState(JobPhase.ENDED, "FAILED", exit_code=3, restarts=0),
        key("7_3"): JobState(JobPhase.ENDED, "FAILED", signal=9, restarts=0),
        key("7_4"): JobState(JobPhase.ENDED, "CANCELLED", signal=15, restarts=0),
        key("7_5"): JobState(JobPhase.RUNNING, "COMPLETING", restarts=0),
    }
    assert calls.read_text() == "squeue\n"


def test_accounting_reports_jobs_that_have_left_the_queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sacct = ["7_0|TIMEOUT|0:0|None|c1|mine", "7_1|CANCELLED by 1000|0:15|None|c1|mine", "7_2|FAILED|1:0|None|c1|others | mine"]
    use_slurm(monkeypatch, tmp_path, [squeue_line("7_1", "RUNNING")], sacct)
    assert job_states.query_states([key(f"7_{task}") for task in range(4)]) == {
        key("7_0"): JobState(JobPhase.ENDED, "TIMEOUT"),
        key("7_1"): JobState(JobPhase.RUNNING, "RUNNING", restarts=0),  # the queue has precedence over accounting
    }


@pytest.mark.parametrize("shared", ["7_[0-2]", "7"])
def test_tasks_cancelled_together_share_a_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared: str) -> None:
    use_slurm(monkeypatch, tmp_path, [], [f"{shared}|CANCELLED|0:0|None|c1|mine"])
    assert job_states.query_states([key("7_1")]) == {key("7_1"): JobState(JobPhase.ENDED, "CANCELLED")}


def test_shared_record_that_is_pending_is_out_of_date(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_slurm(monkeypatch, tmp_path, [], ["7_[0-2]|PENDING|0:0|None|c1|mine"])
    assert job_states.query_states([key("7_1")]) == {}


@pytest.mark.parametrize("greeting", ["CLUSTER: c1", "7 jobs of yours", "|" * 5])
def test_lines_of_the_site_are_not_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, greeting: str) -> None:
    use_slurm(monkeypatch, tmp_path, [greeting, squeue_line("7_0", "RUNNING")], [greeting, "7_1|FAILED|1:0|None|c1|mine"])
    assert job_states.query_states([key("7_0"), key("7_1")]) == {
        key("7_0"): JobState(JobPhase.RUNNING, "RUNNING", restarts=0),
        key("7_1"): JobState(JobPhase.ENDED, "FAILED", exit_code=1),
    }


def test_machine_without_accounting_reports_the_queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_slurm(monkeypatch, tmp_path, [squeue_line("7_0", "RUNNING")], [])
    (tmp_path / "bin" / "sacct").unlink()
    (tmp_path / "bin" / "cat").symlink_to(shutil.which("cat") or "cat")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert job_states.query_states([key("7_0"), key("7_1")]) == {key("7_0"): JobState(JobPhase.RUNNING, "RUNNING", restarts=0)}


def test_controller_that_does_not_respond_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    fake_slurm.install(monkeypatch, tmp_path / "bin", squeue=script)
    with pytest.raises(SlurmError, match=r"squeue failed: .*Unable to contact slurm controller; retry"):
        job_states.query_states([key("7_1")])


def test_site_without_accounting_is_not_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scripts = {
        "squeue": "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
        "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    }
    fake_slurm.install(monkeypatch, tmp_path / "bin", **scripts)
    assert job_states.query_states([key("7_1")]) == {}


def test_job_of_another_cluster_is_not_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ids of two clusters may be equal, and so may the names of two sweeps."""
    use_slurm(monkeypatch, tmp_path, [squeue_line("7_1", "RUNNING", cluster="c2")], ["7_2|FAILED|1:0|None|c2|mine"])
    assert job_states.query_states([key("7_1"), key("7_2")]) == {}


@pytest.mark.parametrize("variable", ["SQUEUE_PARTITION", "SQUEUE_STATES", "SACCT_FORMAT", "SCONTROL_FUTURE", "SLURM_BITSTR_LEN"])
def test_variables_of_the_user_do_not_reach_the_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    monkeypatch.setenv(variable, "debug")
    script = f'[[ -z ${{{variable}:-}} ]] && echo "{squeue_line("7_1", "RUNNING")}"'
    fake_slurm.install(monkeypatch, tmp_path / "bin", squeue=script, sacct="true")
    assert list(job_states.query_states([key("7_1")])) == [key("7_1")]
