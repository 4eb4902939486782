"""Job arrays are queued, then the files that they read are written, then their record; a refusal leaves no trace."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from jobs.cluster import code_snapshot, slurm
from jobs.cluster.slurm import SlurmRefusal
from jobs.configuration.run_config import SlurmConfig
from jobs.execution import launch
from jobs.execution.launch import Batch, JobError
from jobs.records import local_queue, submissions
from tests.support import fake_slurm

# Greets the user, as at some sites.
SBATCH = """
echo "This is job 1 of the 100 of your project"
count=$(($(cat "{calls}" 2>/dev/null || echo 0) + 1))
echo $count > "{calls}"
[[ $count -le {accepted} ]] && echo "Submitted batch job $((100 + count))" && exit
echo "sbatch: error: Batch job submission failed: Invalid account" >&2
exit 1
"""

# Lists the arrays in the queue to those that search by the job name.
SQUEUE = """
[[ " $* " == *" --name="* ]] || exit 0
for ((i = 1; i <= {accepted} && i <= $(cat "{calls}"); i++)); do
    printf '%-60s%s\\n' $((100 + i)) "{folder}/%A_%a_0_log.out"
done
"""


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Five jobs, in arrays of at most two."""
    paths = [str(tmp_path / "runs" / "mine" / f"{number:04d}-base") for number in range(5)]
    return Batch("train", print, paths, tmp_path / "runs" / "mine" / "jobs", SlurmConfig())


def use_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, accepted: int) -> Path:
    """Has sbatch accept this number of arrays; the file that counts its calls."""
    calls = tmp_path / "calls"
    sbatch = SBATCH.format(calls=calls, accepted=accepted)
    fake_slurm.install(
        monkeypatch,
        tmp_path / "bin",
        sbatch=sbatch,
        scontrol="echo 'MaxArraySize = 2'; echo 'ClusterName = c1'",
        squeue=SQUEUE.format(calls=calls, accepted=accepted, folder=tmp_path / "runs" / "mine" / "jobs" / "0000-train"),
        srun="true",
        sacct="true",
    )
    monkeypatch.chdir(tmp_path)
    return calls


def recorded_jobs(batch: Batch) -> dict[str, list[str]]:
    jobs: dict[str, list[str]] = json.loads((batch.folder / "0000-train" / "jobs.json").read_text())["jobs"]
    return jobs


def test_inputs_are_written_after_acceptance_and_before_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: Batch
) -> None:
    calls = use_slurm(monkeypatch, tmp_path, accepted=3)
    calls_at_write: list[str] = []

    def write_inputs() -> None:
        calls_at_write.append(calls.read_text().strip())
        assert not (batch.folder / "0000-train" / "jobs.json").exists()

    jobs = launch.launch("slurm", batch, write_inputs)
    assert jobs == ["101_0", "101_1", "102_0", "102_1", "103"]
    assert calls_at_write == ["3"]
    assert recorded_jobs(batch) == {job: [f"{number:04d}-base"] for number, job in enumerate(jobs)}


def test_refusal_leaves_no_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: Batch) -> None:
    use_slurm(monkeypatch, tmp_path, accepted=0)
    batch.folder.parent.parent.mkdir()
    with pytest.raises(SlurmRefusal, match=r"sbatch rejected an array of 2 jobs: .*Invalid account"):
        launch.launch("slurm", batch, lambda: pytest.fail("inputs were written"))
    assert list(batch.folder.parent.parent.iterdir()) == []


def test_jobs_are_cancelled_if_their_inputs_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: Batch
) -> None:
    use_slurm(monkeypatch, tmp_path, accepted=3)
    fake_slurm.install(monkeypatch, tmp_path / "bin", scancel=f'echo "$@" > {tmp_path / "cancelled"}')

    def write_inputs() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        launch.launch("slurm", batch, write_inputs)
    assert (tmp_path / "cancelled").read_text().split() == ["101_0", "101_1", "102_0", "102_1", "103"]
    assert submissions.read_all(batch.folder) == []


def test_refusal_keeps_earlier_submissions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: Batch) -> None:
    use_slurm(monkeypatch, tmp_path, accepted=3)
    launch.launch("slurm", batch)
    with pytest.raises(SlurmRefusal):
        launch.launch("slurm", batch, lambda: pytest.fail("inputs were written"))
    assert sorted(path.name[:5] for path in batch.folder.iterdir()) == ["0000-", "code-"]


def test_job_of_several_runs_is_recorded_with_all_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: Batch) -> None:
    use_slurm(monkeypatch, tmp_path, accepted=1)
    resources = SlurmConfig(runs_per_job=3, runs_per_gpu=2, cpus_per_task=2)
    packed = replace(batch, resources=resources)
    assert launch.launch("slurm", packed) == ["101_0", "101_1"]
    names = [f"{number:04d}-base" for number in range(5)]
    assert recorded_jobs(batch) == {"101_0": names[:3], "101_1": names[3:]}
    assert [len(job) for job in replace(packed, resources=SlurmConfig(runs_per_gpu=4)).preview().arguments] == [4, 1]
    script = slurm.script_text(packed.preview())
    assert "#SBATCH --array=0-1%2" in script
    assert "#SBATCH --cpus-per-task=4" in script  # for two runs at a time


def test_partly_accepted_batch_records_the_queued_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: Batch) -> None:
    use_slurm(monkeypatch, tmp_path, accepted=2)
    written: list[bool] = []
    with pytest.raises(JobError, match=r"Invalid account; .*; 4 of 5 jobs are queued: submit again when they have ended"):
        launch.launch("slurm", batch, lambda: written.append(True))
    assert written == [True]
    jobs = ["101_0", "101_1", "102_0", "102_1"]
    assert recorded_jobs(batch) == {job: [f"{number:04d}-base"] for number, job in enumerate(jobs)}


def test_refused_submission_to_a_sweep_with_jobs_keeps_its_snapshot_of_the_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: Batch
) -> None:
    """Another command may have found it in the meantime, and queued jobs that run it."""
    use_slurm(monkeypatch, tmp_path, accepted=0)
    (batch.folder / "0000-sample").mkdir(parents=True)
    with pytest.raises(SlurmRefusal):
        launch.launch("slurm", batch)
    assert sorted(path.name[:5] for path in batch.folder.iterdir()) == ["0000-", "code-"]


def test_snapshot_of_the_code_that_lost_files_is_restored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a scratch file system does with files that were not read for weeks; queued jobs import the snapshot."""
    snapshot = code_snapshot.take(tmp_path)
    content = {path: path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}
    shutil.rmtree(snapshot / "jobs" / "records")
    (snapshot / "pianogen" / "roll.py").write_bytes(b"")
    assert code_snapshot.take(tmp_path) == snapshot
    assert {path: path.read_bytes() for path in snapshot.rglob("*") if path.is_file()} == content
    num_records = sum("records" in path.parts for path in content)
    assert f"{snapshot} had lost or changed {num_records + 1} files" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [snapshot.name]


def test_hidden_files_are_not_in_the_snapshot_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the swap file of an editor, which changes, and which only the user who edits the checkout may read."""
    package = ModuleType("made")
    package.__file__ = str(tmp_path / ".venv" / "made" / "__init__.py")
    for name in ("__init__.py", "part.py", ".part.py.swp", ".cache/part.py"):
        path = Path(package.__file__).parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(code_snapshot, "_PACKAGES", [package])
    snapshot = code_snapshot.take(tmp_path)
    assert sorted(path.name for path in (snapshot / "made").iterdir()) == ["__init__.py", "part.py"]


def test_link_to_a_missing_folder_of_submissions_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "jobs").symlink_to("moved")
    with pytest.raises(FileExistsError, match=str(tmp_path / "jobs")):
        submissions.create_folder(tmp_path / "jobs", "train")


@pytest.mark.parametrize(
    ("cancelled", "executed", "num_written"),
    [
        (["0001-base", "0002-gru"], ["0000-base"], 1),
        (["0001-base"], ["0000-base", "0002-gru"], 2),
        (["0002-gru"], ["0000-base", "0001-base"], 1),
    ],
)
def test_runs_that_wait_for_a_local_command_can_be_cancelled(
    tmp_path: Path, cancelled: list[str], executed: list[str], num_written: int
) -> None:
    """Also those of its next batch, whose files are not written if all of its runs are cancelled."""
    sweep = tmp_path / "mine"

    def cancel_others(path: str) -> None:
        """The work of a job, during which the user cancels runs of the sweep; jobs cannot import this module."""
        for submission, name in local_queue.find(sweep / "jobs", cancelled):
            local_queue.take(submission, name)
        Path(path).touch()

    batches = [
        Batch("decode", cancel_others, [str(sweep / name) for name in names], sweep / "jobs", SlurmConfig(max_parallel=1))
        for names in (["0000-base", "0001-base"], ["0002-gru"])
    ]
    written: list[bool] = []
    launched, failures = launch.launch_all("local", [(batch, lambda: written.append(True)) for batch in batches])
    assert launched == []
    for name in cancelled:
        assert f"  {sweep / name}: cancelled before it started" in "\n".join(failures)
    assert sorted(path.name for path in sweep.glob("0*")) == executed
    assert len(written) == num_written
    assert list(sweep.glob("jobs/*/*.waiting")) == []
