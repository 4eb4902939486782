"""What was submitted for a sweep: a folder for each submission below its jobs/, and in it which job does what.

It only tells whom to ask. What became of a run stands in the run's own directory.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobs import slurm
from jobs.rundir import Run
from pianogen import durable
from pianogen.lock import Lock


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
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    return Lock(out.with_name(f".{out.name}.lock"), f"{out} is being submitted")


def record(folder: Path, jobs: Mapping[str, str]) -> None:
    """Writes down which job does what."""
    durable.write_text(folder / "jobs.json", json.dumps(jobs, indent=1) + "\n")


def live_jobs(runs: Sequence[Run]) -> set[str]:
    """The jobs that are queued or running for some runs of a sweep; of a run that is done, none that trains.

    Raises:
        SlurmError: Slurm does not answer.
    """
    is_done = {run.name: run.read_result() is not None for run in runs}
    queued = {
        job
        for each in read_all(runs[0].path.absolute().parent / "jobs")
        for job, name in each.jobs.items()
        if name in is_done and not (each.name == "train" and is_done[name])
    }
    return {job for job, known in slurm.ask(queued).items() if known.phase != "ended"}


def last_to_train(out: Path) -> dict[str, tuple[str, Path]]:
    """By the names of a sweep's runs, the job that was queued last to train each, and the folder of its submission."""
    return {
        name: (job, each.folder) for each in read_all(out / "jobs") if each.name == "train" for job, name in each.jobs.items()
    }


def read_all(jobs: Path) -> list[Submission]:
    """All that was queued, oldest first."""
    return [
        Submission(path.parent, path.parent.name.partition("-")[2], json.loads(path.read_text()))
        for path in sorted(jobs.glob("*/jobs.json"))
    ]
