"""The submissions of a sweep: one folder below runs/NAME/jobs/ for each, and in it jobs.json, which lists the queued jobs.

jobs.json names the job to query for each run. The outcome of a job is recorded in the directory of its run.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jobs.cluster import job_states
from jobs.cluster.job_states import JobPhase
from jobs.cluster.own_job import batch_job
from jobs.records import record_file
from jobs.records.run_directory import Run
from jobs.records.sweep_directory import JOBS
from pianogen import lock
from pianogen.lock import Lock

_CANCELLED = "cancelled"
_FOLDERS = "[0-9][0-9][0-9][0-9]-*"


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs that were queued together.

    Attributes:
        folder: runs/NAME/jobs/0003-train, with scripts, pickles, and the output of the jobs before they open their logs.
        kind: train, sample or decode.
        jobs: the name of the run that each job works on, by job id.
    """

    folder: Path
    kind: str
    jobs: Mapping[str, str]

    @property
    def job_name(self) -> str:
        """The name of its jobs at Slurm."""
        return job_name(self.folder.parent, self.kind)


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """The job that was last queued to train a run.

    Attributes:
        id: Slurm's id.
        submission: the folder of its submission.
        name: its name at Slurm.
    """

    id: str
    submission: Path
    name: str


def job_name(jobs: Path, kind: str) -> str:
    """The name at Slurm of the jobs of a submission: short, and in characters that every tool shows."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', jobs.absolute().parent.name)[:40]}-{kind}"


def create_folder(jobs: Path, kind: str) -> Path:
    """A new folder for a submission; unlike job ids, its number is never used again."""
    while True:
        number = max((int(path.name[:4]) for path in jobs.glob(_FOLDERS)), default=-1) + 1
        folder = jobs / f"{number:04d}-{kind}"
        with suppress(FileExistsError):  # another command was faster
            folder.mkdir(parents=True)
            return folder


def record(folder: Path, jobs: Mapping[str, str]) -> None:
    """Writes jobs.json; `jobs` as in `Submission`."""
    record_file.write(folder / "jobs.json", dict(jobs))


def read_all(jobs: Path) -> list[Submission]:
    """The submissions whose jobs were queued, oldest first.

    Raises:
        RecordError: a jobs.json is damaged.
    """
    return [
        Submission(path.parent, path.parent.name.partition("-")[2], record_file.read(path, _parse_jobs))
        for path in sorted(jobs.glob("*/jobs.json"))
    ]


def _parse_jobs(content: Mapping[str, object]) -> dict[str, str]:
    return {job: str(name) for job, name in content.items()}


def used_names(jobs: Path) -> set[str]:
    """The names of all runs that a job was ever queued for; the directory of such a run may be gone."""
    return {name for submission in read_all(jobs) for name in submission.jobs.values()}


def training_jobs(sweep: Path) -> dict[str, TrainingJob]:
    """The job that was last queued to train each run, by the name of the run."""
    return {
        name: TrainingJob(job, submission.folder, submission.job_name)
        for submission in read_all(sweep / JOBS)
        if submission.kind == "train"
        for job, name in submission.jobs.items()
    }


def live_jobs(runs: Sequence[Run]) -> dict[str, str]:
    """The names of runs of one sweep by the pending and running jobs that work on them; no training jobs of runs that are done.

    Raises:
        SlurmError: Slurm does not respond.
    """
    is_done = {run.name: run.read_result() is not None for run in runs}
    run_names: dict[str, str] = {}
    job_names: dict[str, str] = {}
    for submission in read_all(runs[0].sweep / JOBS):
        for job, run_name in submission.jobs.items():
            if run_name in is_done and not (submission.kind == "train" and is_done[run_name]):
                run_names[job], job_names[job] = run_name, submission.job_name
    states = job_states.query_states(job_names)
    return {job: run_names[job] for job, state in states.items() if state.phase is not JobPhase.ENDED}


def unfinished_jobs(jobs: Path) -> set[str]:
    """The pending and running jobs of all submissions of a sweep.

    Raises:
        SlurmError: Slurm does not respond.
    """
    names = {job: submission.job_name for submission in read_all(jobs) for job in submission.jobs}
    return {job for job, state in job_states.query_states(names).items() if state.phase is not JobPhase.ENDED}


@contextmanager
def exclusive(sweep: Path) -> Iterator[None]:
    """Holds the lock under which one command at a time submits runs of a sweep.

    Parent folders that it creates are removed at the end if they are still empty.

    Raises:
        LockError: another command is submitting the sweep.
    """
    path = _lock_file(sweep)
    created = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Lock(path, f"{sweep.resolve()} is being submitted", batch_job()):
            yield
    finally:
        for folder in created:
            with suppress(OSError):
                folder.rmdir()


def is_being_submitted(sweep: Path) -> bool:
    """Whether a command is submitting runs of a sweep at this moment."""
    return lock.find_owner(_lock_file(sweep), batch_job()) is not None


def _lock_file(sweep: Path) -> Path:
    sweep = sweep.resolve()
    return sweep.with_name(f".{sweep.name}.lock")


def cancel_local(jobs: Path) -> None:
    """Has the commands that run jobs on their own machine start no more of them."""
    for folder in jobs.glob(_FOLDERS):
        if not (folder / "jobs.json").exists():
            (folder / _CANCELLED).touch()


def is_cancelled(folder: Path) -> bool:
    """Whether no more jobs of a submission may start."""
    return (folder / _CANCELLED).exists()
