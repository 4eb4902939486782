"""How work is started: on Slurm as a capped job array, on this machine a few processes at a time, or in this process."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import submitit

from pianogen.config import SlurmConfig
from pianogen.errors import PianogenError, UsageError
from pianogen.progress import Progress

Cluster = Literal["slurm", "local", "debug"]
_POLL_S = 0.2


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
    cluster: Cluster, function: Callable[[str], None], arguments: Sequence[str], folder: Path, slurm: SlurmConfig, name: str
) -> None:
    """Calls a function once per argument, each in a job of its own.

    On Slurm it returns when the jobs are queued; elsewhere when all have ended.

    Args:
        folder: for submitit's own files.

    Raises:
        JobError: a job on this machine failed; the others were still run.
    """
    if cluster == "slurm":
        _submit_array(function, arguments, folder, slurm, name)
    elif cluster == "local":
        _run_here(function, arguments, folder, slurm, name)
    else:
        for argument in arguments:
            function(argument)


def _submit_array(function: Callable[[str], None], arguments: Sequence[str], folder: Path, slurm: SlurmConfig, name: str) -> None:
    executor = submitit.SlurmExecutor(folder=folder)
    asked = {"partition": slurm.partition, "account": slurm.account}
    executor.update_parameters(
        job_name=name,
        time=slurm.timeout_min,
        nodes=slurm.nodes,
        ntasks_per_node=1,
        gpus_per_node=slurm.gpus_per_node or None,
        cpus_per_task=slurm.cpus_per_task,
        mem=f"{slurm.memory_gb}GB",
        array_parallelism=slurm.max_parallel,
        **{key: value for key, value in asked.items() if value is not None},
    )
    jobs = executor.map_array(function, arguments)
    print(f"queued {len(jobs)} jobs: {jobs[0].job_id} to {jobs[-1].job_id}")


def _run_here(function: Callable[[str], None], arguments: Sequence[str], folder: Path, slurm: SlurmConfig, name: str) -> None:
    executor = submitit.LocalExecutor(folder=folder)
    executor.update_parameters(timeout_min=slurm.timeout_min)
    at_once = max(1, min(slurm.max_parallel, (os.cpu_count() or 1) // slurm.cpus_per_task))
    waiting = list(arguments)
    running: list[tuple[str, submitit.Job[None]]] = []
    failures: list[tuple[str, str]] = []
    with Progress(name, len(arguments), "jobs") as progress:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    argument = waiting.pop(0)
                    running.append((argument, executor.submit(function, argument)))
                time.sleep(_POLL_S)
                for argument, job in [each for each in running if each[1].done()]:
                    running.remove((argument, job))
                    error = job.exception()
                    if error is not None:
                        failures.append((argument, _last_line(str(error))))
                    progress.advance(1, f"{len(failures)} failed" if failures else "")
        finally:
            for _, job in running:
                job.cancel()
    if failures:
        lines = "\n".join(f"  {argument}: {error}" for argument, error in failures)
        raise JobError(f"{len(failures)} of {len(arguments)} jobs failed:\n{lines}")


def _last_line(text: str) -> str:
    return [line for line in text.strip().splitlines() if line.strip("- ")][-1]
