"""Three ways to execute jobs: Slurm job arrays, a few processes at a time on this machine, or this process."""

import functools
import os
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import submitit

from jobs.cluster import code_snapshot, environment, path_text, site, slurm
from jobs.cluster.slurm import Array, SlurmRefusal
from jobs.configuration.run_config import SlurmConfig
from jobs.records import submissions
from pianogen import logs
from pianogen.errors import PianogenError, UsageError
from pianogen.progress import Progress

Cluster = Literal["slurm", "local", "debug"]
WriteInputs = Callable[[], None]
_POLL_S = 0.2
_TRACEBACK_FRAME = "-" * 22


class JobError(PianogenError):
    """Some jobs failed, or were not queued."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that call one function, each with an argument of its own.

    Attributes:
        kind: train, sample or decode.
        function: must be importable.
        arguments: a path for each job: a run or a store.
        folder: the folder of the submissions, runs/NAME/jobs.
        resources: of each job.
        after: ids of jobs that must have ended before, successfully or not.
    """

    kind: str
    function: Callable[[str], None]
    arguments: Sequence[str]
    folder: Path
    resources: SlurmConfig
    after: Collection[str] = ()

    def array(self, folder: Path, code: Path) -> Array:
        """The job array of the batch."""
        return Array(
            name=submissions.job_name(self.folder, self.kind),
            function=functools.partial(_run_slurm_job, self.function),
            arguments=self.arguments,
            folder=folder,
            code=code,
            resources=self.resources,
            max_parallel=self.resources.max_parallel,
            after=self.after,
        )

    def preview(self) -> Array:
        """The job array for a dry run: its folder and its code snapshot do not exist."""
        jobs = self.folder.absolute()
        return self.array(jobs / f"0000-{self.kind}", jobs / "code")


def check_cluster(cluster: Cluster) -> None:
    """Refuses a cluster that this machine does not have.

    Raises:
        UsageError: Slurm is not installed.
    """
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise UsageError("sbatch is not installed on this machine; use a login node of the cluster, or --cluster local")


def launch(cluster: Cluster, batch: Batch, write_inputs: WriteInputs = lambda: None) -> list[str]:
    """Executes a batch of jobs with a snapshot of the code. Returns when they are queued by Slurm, or have ended elsewhere.

    Args:
        write_inputs: writes the files that the jobs read. On Slurm it is called once sbatch has accepted the jobs, which wait
            for the record of their submission; so a refusal leaves no trace. Elsewhere it is called before the jobs start.

    Returns:
        The job ids on Slurm; empty elsewhere.

    Raises:
        SlurmRefusal: sbatch rejected the jobs; nothing is queued or written.
        UsageError: a path has characters that jobs cannot use; nothing is queued or written.
        JobError: jobs on this machine failed, after all were executed; or sbatch rejected a part of the jobs.
    """
    if cluster != "debug":
        path_text.check([batch.folder.absolute(), *map(Path, batch.arguments)])
    if cluster == "slurm":
        return _queue(batch, write_inputs)
    write_inputs()
    if cluster == "debug":
        for argument in batch.arguments:
            batch.function(argument)
        return []
    place = submissions.create_folder(batch.folder, batch.kind)
    with environment.modified(code_snapshot.variables(code_snapshot.take(batch.folder))):
        _run_processes(batch, place)
    return []


def notify(recipient: str, jobs: Collection[str], batch: Batch) -> None:
    """Queues a job that sends a mail or runs a command when jobs of a sweep have ended; see `slurm.notify`.

    Args:
        batch: one of the batches of these jobs.

    Raises:
        SlurmRefusal: sbatch rejected the job; the others are queued.
    """
    place = submissions.create_folder(batch.folder, "notify")
    site.copy_to(place)
    slurm.notify(recipient, batch.folder.parent.absolute(), {job.partition("_")[0] for job in jobs}, batch.resources, place)


def _queue(batch: Batch, write_inputs: WriteInputs) -> list[str]:
    """Queues a batch as job arrays of at most the site's MaxArraySize."""
    is_first = not batch.folder.exists()
    place = submissions.create_folder(batch.folder, batch.kind)
    try:
        site.copy_to(place)
        parts = slurm.split(batch.array(place, code_snapshot.take(batch.folder)))
        submitted = slurm.submit_parts(parts, submissions.unfinished_jobs(batch.folder))
        queued = dict(zip(next(submitted), parts[0].arguments, strict=True))
    except PianogenError:
        shutil.rmtree(batch.folder if is_first else place)
        with suppress(OSError):  # a new sweep has no other files yet
            place.parents[1].rmdir()
        raise
    refusal = None
    try:
        for part, jobs in zip(parts[1:], submitted, strict=True):
            queued |= zip(jobs, part.arguments, strict=True)
    except SlurmRefusal as error:
        refusal = error
    write_inputs()
    submissions.record(place, {job: Path(argument).name for job, argument in queued.items()})
    if refusal is not None:
        raise JobError(f"{refusal}; {len(queued)} of {len(batch.arguments)} jobs are queued: submit again when they have ended")
    return list(queued)


def _run_processes(batch: Batch, place: Path) -> None:
    resources, waiting = batch.resources, list(batch.arguments)
    executor = submitit.LocalExecutor(folder=place)
    executor.update_parameters(timeout_min=resources.timeout_min, gpus_per_node=resources.gpus_per_node)
    max_parallel = max(1, min(resources.max_parallel, (os.cpu_count() or 1) // resources.cpus_per_task))
    if resources.gpus_per_node:
        max_parallel = 1  # submitit gives the first GPUs to every job
    running: list[tuple[str, submitit.Job[None]]] = []
    failures: list[tuple[str, str]] = []
    with Progress(batch.kind, len(batch.arguments), "jobs") as progress:
        try:
            while waiting or running:
                if submissions.is_cancelled(place):
                    failures += [(argument, "cancelled before it started") for argument in waiting]
                    waiting.clear()
                while waiting and len(running) < max_parallel:
                    argument = waiting.pop(0)
                    with _sigint_ignored():
                        running.append((argument, executor.submit(_run_local_job, batch.function, argument)))
                time.sleep(_POLL_S)
                for argument, job in [entry for entry in running if entry[1].done()]:
                    running.remove((argument, job))
                    error = job.exception()
                    if error is not None:
                        failures.append((argument, _last_traceback_line(str(error))))
                    progress.advance(1, f"{len(failures)} failed" if failures else "")
        finally:
            _terminate([job for _, job in running])
    if failures:
        lines = "\n".join(f"  {argument}: {error}" for argument, error in failures)
        raise JobError(f"{len(failures)} of {len(batch.arguments)} jobs failed:\n{lines}")


def _run_slurm_job(function: Callable[[str], None], argument: str) -> None:
    logs.configure()
    function(argument)


def _run_local_job(function: Callable[[str], None], argument: str) -> None:
    logs.configure()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it; a function without a handler must end by it
    function(argument)


@contextmanager
def _sigint_ignored() -> Iterator[None]:
    """Processes started in the context ignore Ctrl-C, which would kill submitit's processes; `_terminate` ends them."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _terminate(jobs: Sequence[submitit.Job[None]]) -> None:
    """Sends SIGTERM to jobs of this machine until they have ended; a job that is starting may miss the first ones."""
    while alive := [job for job in jobs if not job.done()]:
        for job in alive:
            os.kill(int(job.job_id), signal.SIGTERM)  # submitit's process forwards it to the job
        time.sleep(_POLL_S)


def _last_traceback_line(text: str) -> str:
    """The last line of the traceback that submitit frames with dashes."""
    parts = text.split(_TRACEBACK_FRAME)
    return (parts[1] if len(parts) > 2 else text).strip().splitlines()[-1]
