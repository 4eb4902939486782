"""What was submitted for a sweep: a folder for each submission below its jobs/, and in it which job does what.

It only tells whom to ask. What became of a run stands in the run's own directory.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobs.cluster import slurm
from jobs.records import run_directory
from jobs.records.run_directory import Run
from pianogen import atomic
from pianogen.lock import Lock

_CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs that were queued together.

    Attributes:
        folder: runs/NAME/jobs/0003-train, with scripts, pickles, and what jobs printed before they had a log.
        name: train, sample or decode.
        jobs: Slurm's id of each job, to what it works on.
    """

    folder: Path
    name: str
    jobs: Mapping[str, str]

    @property
    def job_name(self) -> str:
        """What Slurm calls its jobs."""
        return job_name(self.folder.parent, self.name)


def job_name(jobs: Path, name: str) -> str:
    """What Slurm calls the jobs of a submission: short, and in letters that every tool shows."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', jobs.absolute().parent.name)[:40]}-{name}"


def named(jobs: Path) -> set[str]:
    """The names of all runs that jobs were ever queued for; a directory may be gone, and its jobs still there."""
    return {name for each in read_all(jobs) for name in each.jobs.values()}


def begin(jobs: Path, name: str) -> Path:
    """A new folder for a submission; ids of jobs begin anew on a new cluster, folders of submissions never do."""
    while True:
        number = max((int(path.name[:4]) for path in jobs.glob("[0-9][0-9][0-9][0-9]-*")), default=-1) + 1
        folder = jobs / f"{number:04d}-{name}"
        with suppress(FileExistsError):  # taken meanwhile
            folder.mkdir(parents=True)
            return folder


def alone(out: Path) -> Lock:
    """To be entered while the runs of a sweep are made and started, by one command at a time."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    return Lock(out.with_name(f".{out.name}.lock"), f"{out} is being submitted", slurm.batch_job())


def cancel(jobs: Path) -> None:
    """Has submissions to the machine on which they were made start nothing more."""
    for folder in jobs.glob("[0-9][0-9][0-9][0-9]-*"):
        if not (folder / "jobs.json").exists():
            (folder / _CANCELLED).touch()


def is_cancelled(folder: Path) -> bool:
    """Whether nothing more of a submission is to be started."""
    return (folder / _CANCELLED).exists()


def record(folder: Path, jobs: Mapping[str, str]) -> None:
    """Writes down which job does what."""
    atomic.write_text(folder / "jobs.json", json.dumps(jobs, indent=1) + "\n")


def live_jobs(runs: Sequence[Run]) -> dict[str, str]:
    """The jobs that are queued or running for some runs of a sweep, each with its run; of a run that is done, none that trains.

    Raises:
        SlurmError: Slurm does not answer.
    """
    is_done = {run.name: run.read_result() is not None for run in runs}
    queued = {
        job: (each.job_name, name)
        for each in read_all(runs[0].path.absolute().parent / "jobs")
        for job, name in each.jobs.items()
        if name in is_done and not (each.name == "train" and is_done[name])
    }
    known = slurm.ask({job: job_name for job, (job_name, _) in queued.items()})
    return {job: queued[job][1] for job, found in known.items() if found.phase != "ended"}


def last_to_train(out: Path) -> dict[str, tuple[str, Submission]]:
    """By the names of a sweep's runs, the job that was queued last to train each, and its submission."""
    return {name: (job, each) for each in read_all(out / "jobs") if each.name == "train" for job, name in each.jobs.items()}


def read_all(jobs: Path) -> list[Submission]:
    """All that was queued, oldest first."""
    return [
        Submission(path.parent, path.parent.name.partition("-")[2], run_directory.read_json(path))
        for path in sorted(jobs.glob("*/jobs.json"))
    ]
