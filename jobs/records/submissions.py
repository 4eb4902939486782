"""The submissions of a sweep: one folder below runs/NAME/jobs/ for each, and in it jobs.json, which lists the queued jobs.

jobs.json has the ids, name and cluster of the jobs, and the runs of each job. The outcome of a job is in the record of its run.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.cluster import job_states
from jobs.cluster.job_states import JobKey, JobPhase, JobState
from jobs.cluster.own_job import batch_job
from jobs.records import packs, record_file
from jobs.records.run_directory import Run
from jobs.records.sweep_directory import JOBS
from pianogen import lock
from pianogen.lock import Lock

_RECORD = "jobs.json"


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs that were queued together.

    Attributes:
        folder: runs/NAME/jobs/0003-train, with scripts, pickles, and the output of the jobs before they open their logs.
        kind: train, sample or decode.
        name: the name of its jobs at Slurm.
        cluster: the name of the cluster that queued them.
        path: the folder at that time, without symbolic links.
        jobs: the names of the runs that each job works on, by job id.
    """

    folder: Path
    kind: str
    name: str
    cluster: str
    path: Path
    jobs: Mapping[str, Sequence[str]]

    @property
    def is_copy(self) -> bool:
        """Whether this is a copy of the folder that the jobs work in, such as that of a copied sweep."""
        return self.path.exists() and not self.path.samefile(self.folder)

    def key(self, job: str) -> JobKey:
        """The key that identifies a job at Slurm."""
        return JobKey(job, self.name, self.cluster)


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A job that was queued to train a run.

    Attributes:
        key: identifies the job at Slurm.
        submission: the folder of its submission.
        is_copy: whether the job trains the original of this copied sweep.
    """

    key: JobKey
    submission: Path
    is_copy: bool = False

    @property
    def id(self) -> str:
        """Slurm's id."""
        return self.key.id


@dataclass(frozen=True, slots=True)
class LiveJob:
    """A pending or running job.

    Attributes:
        id: Slurm's id.
        submission: the folder of its submission.
        runs: the names of the selected runs that it works on, or is to work on.
        has_others: whether there are such runs that were not selected.
    """

    id: str
    submission: Path
    runs: Sequence[str]
    has_others: bool


def job_name(jobs: Path, kind: str) -> str:
    """The name at Slurm of the jobs of a submission: short, and in characters that every tool shows."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', jobs.resolve().parent.name)[:40]}-{kind}"


def create_folder(jobs: Path, kind: str) -> Path:
    """A new folder for a submission; unlike job ids, its number is never used again.

    Raises:
        OSError: the folder cannot be created.
    """
    jobs.mkdir(parents=True, exist_ok=True)
    while True:
        number = max((number_of(path.name) for path in jobs.iterdir()), default=-1) + 1
        folder = jobs / f"{number:04d}-{kind}"
        with suppress(FileExistsError):  # another command was faster
            folder.mkdir()
            return folder


def number_of(name: str) -> int:
    """The number of a submission from the name of its folder; later ones have larger numbers. -1 for another name."""
    number, dash, _ = name.partition("-")
    return int(number) if dash and number.isdecimal() else -1


def record(folder: Path, name: str, cluster: str, jobs: Mapping[str, Sequence[str]]) -> None:
    """Writes jobs.json; the arguments are those of `Submission`."""
    content = {"name": name, "cluster": cluster, "path": str(folder.resolve()), "jobs": jobs}
    record_file.write(folder / _RECORD, content)


def read_all(jobs: Path) -> list[Submission]:
    """The submissions whose jobs were queued, oldest first.

    Raises:
        RecordError: a jobs.json is damaged.
    """
    paths = sorted(jobs.glob(f"*/{_RECORD}"), key=lambda path: (number_of(path.parent.name), path))
    return [_read(path) for path in paths]


def _read(path: Path) -> Submission:
    def parse(content: Mapping[str, Any]) -> Submission:
        # Until jobs could have several runs, the record had the name of the one run.
        jobs = {job: [names] if isinstance(names, str) else list(names) for job, names in content["jobs"].items()}
        kind = path.parent.name.partition("-")[2]
        return Submission(path.parent, kind, content["name"], content["cluster"], Path(content["path"]), jobs)

    return record_file.read(path, parse)


def used_names(jobs: Path) -> set[str]:
    """The names of all runs that a job was ever queued for; the directory of such a run may be gone."""
    return {name for submission in read_all(jobs) for names in submission.jobs.values() for name in names}


def training_jobs(sweep: Path) -> dict[str, list[TrainingJob]]:
    """The jobs that were queued to train each run, oldest first, by the name of the run."""
    jobs: dict[str, list[TrainingJob]] = {}
    for submission in read_all(sweep / JOBS):
        if submission.kind == "train":
            is_copy = submission.is_copy
            for job, names in submission.jobs.items():
                training_job = TrainingJob(submission.key(job), submission.folder, is_copy)
                for name in names:
                    jobs.setdefault(name, []).append(training_job)
    return jobs


def live_jobs(runs: Sequence[Run]) -> list[LiveJob]:
    """The pending and running jobs that work on runs of one sweep; no training jobs of runs that are done.

    Raises:
        SlurmError: Slurm does not respond.
    """
    names = {run.name for run in runs}
    unfinished = {run.name for run in runs if run.read_result() is None}
    jobs = {
        submission.key(job): submission
        for submission in read_all(runs[0].sweep / JOBS)
        if not submission.is_copy
        for job, job_runs in submission.jobs.items()
        if (unfinished if submission.kind == "train" else names).intersection(job_runs)
    }
    states = job_states.query_states(jobs)
    live = [_live_job(submission, job.id, states[job], names) for job, submission in jobs.items() if job in states]
    return [job for job in live if job.runs]


def _live_job(submission: Submission, job: str, state: JobState, names: Collection[str]) -> LiveJob:
    """A job with those runs that it has yet to work on."""

    def is_live(run: str) -> bool:
        if submission.kind == "train" and Run(submission.folder.parents[1] / run).read_result() is not None:
            return False
        return packs.state_of_run(submission.folder, job, run, state).phase is not JobPhase.ENDED

    live = [run for run in submission.jobs[job] if is_live(run)]
    selected = [run for run in live if run in names]
    return LiveJob(job, submission.folder, selected, has_others=len(selected) < len(live))


def unfinished_jobs(jobs: Path) -> set[str]:
    """The pending and running jobs of all submissions of a sweep.

    Raises:
        SlurmError: Slurm does not respond.
    """
    keys = [submission.key(job) for submission in read_all(jobs) if not submission.is_copy for job in submission.jobs]
    return {job.id for job, state in job_states.query_states(keys).items() if state.phase is not JobPhase.ENDED}


@contextmanager
def exclusive(sweep: Path) -> Iterator[None]:
    """Holds the lock under which one command at a time submits runs of a sweep.

    The lock is in the folder of the submissions. Folders that are created for it are removed at the end if they are still empty.

    Raises:
        LockError: another command is submitting the sweep.
    """
    path = _lock_file(sweep)
    created = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Lock(path, f"{sweep} is being submitted", batch_job()):
            yield
    finally:
        remove_empty(created)


def remove_empty(folders: Sequence[Path]) -> None:
    """Removes those of the folders that are empty, from the first to the last."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def is_being_submitted(sweep: Path) -> bool:
    """Whether a command is submitting runs of a sweep at this moment."""
    return lock.find_owner(_lock_file(sweep), batch_job()) is not None


def _lock_file(sweep: Path) -> Path:
    return sweep / JOBS / "lock"
