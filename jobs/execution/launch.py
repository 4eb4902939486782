"""How work is started: on Slurm as job arrays, on this machine a few processes at a time, or in this process."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import submitit

from jobs.cluster import code_snapshot, site, slurm
from jobs.cluster.slurm import Array, SlurmRefusal
from jobs.configuration.run_config import SlurmConfig
from jobs.records import submissions
from pianogen.errors import PianogenError, UsageError
from pianogen.progress import Progress

Cluster = Literal["slurm", "local", "debug"]
_POLL_S = 0.2
_FRAME = "-" * 22


class JobError(PianogenError):
    """A job ended with an error."""


def check(cluster: Cluster) -> None:
    """Refuses what this machine cannot do, before anything is written.

    Raises:
        UsageError: there is no Slurm here.
    """
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise UsageError("there is no sbatch on this machine; run this on a login node of the cluster, or say --cluster local")


def launch(
    cluster: Cluster,
    function: Callable[[str], None],
    arguments: Sequence[str],
    folder: Path,
    ask: SlurmConfig,
    name: str,
    after: Collection[str] = (),
) -> list[str]:
    """Calls a function once per argument, each in a job of its own, with a copy of this code.

    On Slurm it returns when the jobs are queued; elsewhere when all have ended.

    Args:
        folder: a folder for what belongs to the jobs is made in it.
        after: jobs of Slurm that must have ended before.

    Returns:
        The ids of the jobs on Slurm.

    Raises:
        SlurmRefusal: Slurm does not take them; nothing is queued, and nothing left in the folder.
        JobError: a job on this machine failed; the others were still run.
    """
    if cluster == "debug":
        for argument in arguments:
            function(argument)
        return []
    had_folder = folder.exists()
    place = submissions.begin(folder, name)
    code = code_snapshot.take(folder)
    if cluster == "local":
        with code_snapshot.used_by_children(code):
            _run_here(function, arguments, place, ask, name)
        return []
    site.copy_to(place)
    try:
        return _queue(Array(submissions.job_name(folder, name), function, arguments, place, code, ask, ask.max_parallel, after))
    except SlurmRefusal:
        shutil.rmtree(place if had_folder else folder)
        raise


def _queue(whole: Array) -> list[str]:
    """Queues it in as many arrays as the site's limit on their size demands."""
    queued: dict[str, str] = {}
    for part in slurm.split(whole):
        try:
            jobs = slurm.submit(part)
        except SlurmRefusal as error:
            if not queued:
                raise
            raise JobError(
                f"{error}; the {len(queued)} before them are queued: submit again when they have ended, for the others"
            ) from None
        queued |= dict(zip(jobs, part.arguments, strict=True))
        submissions.record(whole.folder, {job: Path(argument).name for job, argument in queued.items()})
    return list(queued)


def _run_here(function: Callable[[str], None], arguments: Sequence[str], folder: Path, ask: SlurmConfig, name: str) -> None:
    executor = submitit.LocalExecutor(folder=folder)
    executor.update_parameters(timeout_min=ask.timeout_min, gpus_per_node=ask.gpus_per_node)
    at_once = max(1, min(ask.max_parallel, (os.cpu_count() or 1) // ask.cpus_per_task))
    if ask.gpus_per_node:
        at_once = 1  # submitit gives every job the first ones
    waiting = list(arguments)
    running: list[tuple[str, submitit.Job[None]]] = []
    failures: list[tuple[str, str]] = []
    with Progress(name, len(arguments), "jobs") as progress:
        try:
            while waiting or running:
                if submissions.is_cancelled(folder):
                    failures += [(argument, "it was cancelled before it began") for argument in waiting]
                    waiting.clear()
                while waiting and len(running) < at_once:
                    argument = waiting.pop(0)
                    with _ctrl_c_ignored():
                        running.append((argument, executor.submit(_call, function, argument)))
                time.sleep(_POLL_S)
                for argument, job in [each for each in running if each[1].done()]:
                    running.remove((argument, job))
                    error = job.exception()
                    if error is not None:
                        failures.append((argument, _cause(str(error))))
                    progress.advance(1, f"{len(failures)} failed" if failures else "")
        finally:
            _end([job for _, job in running])
    if failures:
        lines = "\n".join(f"  {argument}: {error}" for argument, error in failures)
        raise JobError(f"{len(failures)} of {len(arguments)} jobs failed:\n{lines}")


def _call(function: Callable[[str], None], argument: str) -> None:
    """What a process of this machine does; submitit's ignore SIGTERM, and those of a function that does not must end by it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    function(argument)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """What is started inside is not ended by the Ctrl-C of its terminal, as submitit's would be, but by `_end`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(jobs: Sequence[submitit.Job[None]]) -> None:
    """Has jobs of this machine leave with their checkpoints; told again and again, since one that only starts may miss it."""
    while alive := [job for job in jobs if not job.done()]:
        for job in alive:
            os.kill(int(job.job_id), signal.SIGTERM)  # submitit's process hands it on
        time.sleep(_POLL_S)


def _cause(text: str) -> str:
    """The last line of the traceback that submitit frames with dashes."""
    parts = text.split(_FRAME)
    return (parts[1] if len(parts) > 2 else text).strip().splitlines()[-1]
