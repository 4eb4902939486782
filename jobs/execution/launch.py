"""Three ways to execute jobs: Slurm job arrays, a few processes at a time on this machine, or this process."""

import functools
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.cluster import client, code_snapshot, environment, path_text, site, slurm
from jobs.cluster.job_states import array_of
from jobs.cluster.slurm import Array, SlurmRefusal
from jobs.configuration.run_config import SlurmConfig
from jobs.execution import local_processes, pack
from jobs.records import local_queue, submissions
from jobs.records.run_directory import Run
from pianogen import logs
from pianogen.command import counted
from pianogen.errors import PianogenError, UsageError

Cluster = Literal["slurm", "local", "debug"]
WriteInputs = Callable[[], None]


class JobError(PianogenError):
    """Some jobs failed, or were not queued."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls of one function with different arguments. Each call is a job; on Slurm, one job may train several runs.

    Attributes:
        kind: train, sample or decode.
        function: must be importable.
        arguments: a path for each call: a run or a store.
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

    @property
    def names(self) -> list[str]:
        """The names of the runs or stores."""
        return [Path(argument).name for argument in self.arguments]

    def array(self, folder: Path, code: Path) -> Array:
        """The job array of the batch."""
        size = self.resources.pack_size
        alone, packed = functools.partial(_run_slurm_job, self.function), functools.partial(_run_slurm_pack, self.resources)
        return Array(
            name=submissions.job_name(self.folder, self.kind),
            function=packed if size > 1 else alone,
            arguments=[self.arguments[start : start + size] for start in range(0, len(self.arguments), size)],
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
    """Refuses a cluster that this machine does not have, and names the variables of the user that it ignores.

    Raises:
        UsageError: Slurm is not installed.
    """
    if cluster != "slurm":
        return
    if shutil.which("sbatch") is None:
        raise UsageError("sbatch is not installed on this machine; use a login node of the cluster, or --cluster local")
    site.warn_of_ignored_variables()


def launch_all(cluster: Cluster, batches: Sequence[tuple[Batch, WriteInputs]]) -> tuple[list[tuple[Batch, list[str]]], list[str]]:
    """Launches the batches of a command one after another; see `launch`.

    Returns:
        The batches that were launched, each with its job ids, and the reasons why others or some of their jobs were not.

    Raises:
        SlurmRefusal: sbatch rejected the first batch; nothing is queued or written.
    """
    if cluster == "local":
        return [], _execute(batches)
    launched: list[tuple[Batch, list[str]]] = []
    failures: list[str] = []
    for batch, write_inputs in batches:
        try:
            jobs = launch(cluster, batch, write_inputs)
        except SlurmRefusal as error:
            if not launched and not failures:
                raise
            failures.append(str(error))
        except JobError as error:
            failures.append(str(error))
        else:
            launched.append((batch, jobs))
            if jobs:
                print(f"queued {counted(len(jobs), 'job')}: {jobs[0]} to {jobs[-1]}")
    return launched, failures


def launch(cluster: Cluster, batch: Batch, write_inputs: WriteInputs = lambda: None) -> list[str]:
    """Executes a batch of jobs with a snapshot of the code. Returns when they are queued by Slurm, or have ended elsewhere.

    Args:
        write_inputs: writes the files that the jobs read. On Slurm it is called once sbatch has accepted the jobs, which wait
            for the record of their submission; so a refusal leaves no trace. If it fails, the jobs are cancelled. Elsewhere it is
            called before the jobs start.

    Returns:
        The job ids on Slurm; empty elsewhere.

    Raises:
        SlurmRefusal: sbatch rejected the jobs; nothing is queued or written.
        UsageError: a path has characters that jobs cannot use, or TensorFlow is not installed on this machine, which jobs here
            need; nothing is queued or written.
        JobError: jobs on this machine failed or were cancelled, after all were executed; or sbatch rejected a part of the jobs.
    """
    if cluster == "slurm":
        path_text.check([batch.folder.absolute(), *map(Path, batch.arguments)])
        return _queue(batch, write_inputs)
    if cluster == "local":
        if failures := _execute([(batch, write_inputs)]):
            raise JobError("\n".join(failures))
        return []
    if batch.kind != "decode":
        logs.check_tensorflow()
    write_inputs()
    for argument in batch.arguments:
        batch.function(argument)
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
    slurm.notify(recipient, batch.folder.parent.absolute(), set(map(array_of, jobs)), batch.resources, place)


def _execute(batches: Sequence[tuple[Batch, WriteInputs]]) -> list[str]:
    """Executes the batches of a command in processes of this machine; returns the reasons why jobs failed, by batch."""
    first = batches[0][0]
    path_text.check([first.folder.absolute(), *(Path(argument) for batch, _ in batches for argument in batch.arguments)])
    if first.kind != "decode":
        logs.check_tensorflow()
    place = submissions.create_folder(first.folder, first.kind)
    reasons = []
    with local_queue.filled(place, [name for batch, _ in batches for name in batch.names]):
        for batch, write_inputs in batches:
            if not local_queue.is_empty(place, batch.names):
                write_inputs()
            with environment.modified(code_snapshot.variables(code_snapshot.take(batch.folder))):
                failures = local_processes.run_all(batch.kind, batch.function, batch.arguments, place, batch.resources)
            if failures:
                lines = "\n".join(f"  {argument}: {error}" for argument, error in failures)
                reasons.append(f"{len(failures)} of {counted(len(batch.arguments), 'job')} failed:\n{lines}")
    return reasons


def _queue(batch: Batch, write_inputs: WriteInputs) -> list[str]:
    """Queues a batch as job arrays of at most the site's MaxArraySize."""
    known = set(batch.folder.glob("*"))
    is_first = not any(path.name[0].isdecimal() for path in known)
    place = submissions.create_folder(batch.folder, batch.kind)
    try:
        site.copy_to(place)
        cluster = client.cluster_name()
        parts = slurm.split(batch.array(place, code_snapshot.take(batch.folder)))
        submitted = slurm.submit_parts(parts, submissions.unfinished_jobs(batch.folder))
        queued = dict(zip(next(submitted), parts[0].arguments, strict=True))
    except PianogenError:
        shutil.rmtree(place)
        # Another command may already use the snapshot that this one has taken, unless the sweep is new.
        for snapshot in set(batch.folder.glob("code-*")) - known if is_first else ():
            shutil.rmtree(snapshot)
        submissions.remove_empty([batch.folder, batch.folder.parent])  # a new sweep has no other files yet
        raise
    refusal = None
    with ExitStack() as failure:
        failure.callback(slurm.cancel, queued)  # jobs without a record would wait for it, and then exit
        try:
            for part, jobs in zip(parts[1:], submitted, strict=True):
                queued |= zip(jobs, part.arguments, strict=True)
        except SlurmRefusal as error:
            refusal = error
        write_inputs()
        runs = {job: [Path(argument).name for argument in arguments] for job, arguments in queued.items()}
        submissions.record(place, parts[0].name, cluster, runs)
        failure.pop_all()
    if refusal is not None:
        jobs_are = counted(sum(len(part.arguments) for part in parts), "job", "are")
        raise JobError(f"{refusal}; {len(queued)} of {jobs_are} queued: submit again when they have ended")
    return list(queued)


def _run_slurm_job(function: Callable[[str], None], arguments: Sequence[str]) -> None:
    logs.configure()
    (argument,) = arguments
    function(argument)


def _run_slurm_pack(resources: SlurmConfig, runs: Sequence[str]) -> None:
    logs.configure()
    pack.run_pack(resources, [Run(Path(run)) for run in runs])
