"""Jobs as processes of this machine, as many at a time as its cores and GPUs allow."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import submitit
from submitit.core.utils import UncompletedJobError

from jobs.configuration.run_config import SlurmConfig
from jobs.execution.cores import num_cores
from jobs.execution.job_display import JobDisplay
from jobs.execution.shutdown import handle_signals
from jobs.records import local_queue
from pianogen import logs
from pianogen.errors import UsageError
from pianogen.progress import Progress

_POLL_S = 0.2
_NO_LIMIT_MIN = 100 * 365 * 24 * 60  # submitit requires a time limit
_TRACEBACK_FRAME = "-" * 22
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
_EXIT_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_NVIDIA_SMI_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class _Running:
    """A running job: its argument, its process, and its GPUs, which it shares only with `runs_per_gpu` others."""

    argument: str
    job: submitit.Job[None]
    gpus: list[str]


def run_all(
    kind: str, function: Callable[[str], None], arguments: Sequence[str], place: Path, resources: SlurmConfig
) -> list[tuple[str, str]]:
    """Calls a function with each argument in a process of its own; returns the arguments that failed, with the reasons.

    SIGTERM, SIGHUP and Ctrl-C end the processes, which write a checkpoint if they train. The processes have no time limit.

    Args:
        kind: train, sample or decode.
        arguments: paths, whose names are in the queue; a name that is removed from it is cancelled.
        place: the folder of the submission, and of the queue.
        resources: the cores and GPUs of each process, and the limit of processes at a time.

    Raises:
        UsageError: the driver of the GPUs does not respond.
    """
    executor = submitit.LocalExecutor(folder=place)
    executor.update_parameters(timeout_min=_NO_LIMIT_MIN)
    waiting, running, failures = list(arguments), list[_Running](), list[tuple[str, str]]()
    gpus = find_gpus() * resources.runs_per_gpu if resources.num_gpus else []
    limit = max_parallel(resources, len(gpus))
    with Progress(kind, len(arguments), "jobs") as progress, _exit_on_signals():
        display = JobDisplay(kind, progress)
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    argument = waiting.pop(0)
                    if not local_queue.take(place, Path(argument).name):
                        failures.append((argument, "cancelled before it started"))
                        continue
                    own_gpus, gpus = gpus[: resources.num_gpus], gpus[resources.num_gpus :]
                    display.start(argument)
                    # A terminal's signals would kill submitit's processes; `_terminate` ends them when this process gets one.
                    with handle_signals((signal.SIGINT, signal.SIGHUP), signal.SIG_IGN):
                        job = executor.submit(_run_job, function, argument, ",".join(own_gpus))
                        running.append(_Running(argument, job, own_gpus))
                display.refresh([entry.argument for entry in running], len(waiting))
                time.sleep(_POLL_S)
                for entry in [entry for entry in running if entry.job.done()]:
                    running.remove(entry)
                    gpus += entry.gpus
                    reason = _failure(entry.job)
                    if reason is not None:
                        failures.append((entry.argument, reason))
                    display.end(entry.argument, reason, len(running), len(waiting))
        finally:
            _terminate([entry.job for entry in running])
    return failures


def max_parallel(resources: SlurmConfig, num_gpus: int) -> int:
    """The number of processes at a time: by the cores that this process may use, by the GPUs, and by `max_parallel`.

    Args:
        num_gpus: places for processes on the GPUs, of which each GPU has `runs_per_gpu`.
    """
    by_cores = num_cores() // resources.cpus_per_task
    by_gpus = num_gpus // resources.num_gpus if resources.num_gpus else by_cores
    return max(1, min(resources.max_parallel, by_cores, by_gpus))


def find_gpus() -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them; if the user has set the variable, those in it.

    Raises:
        UsageError: the driver of the GPUs does not respond.
    """
    chosen = os.environ.get(_GPU_VARIABLE)
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        end = next((index for index, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
        return names[:end]  # CUDA ignores what follows an invalid name
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=False).stdout
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"nvidia-smi did not respond within {_NVIDIA_SMI_TIMEOUT_S} s, so the GPUs of this machine are unknown; name them in "
            f"{_GPU_VARIABLE}, or use another machine"
        ) from None
    return [line for line in answer.split() if line.startswith("GPU-")]  # it also prints its errors there


def _run_job(function: Callable[[str], None], argument: str, gpus: str) -> None:
    logs.configure()
    os.environ[_GPU_VARIABLE] = gpus  # submitit gives the first GPUs to every job
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it; a function without a handler must end by it
    function(argument)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Raises SystemExit when this process receives SIGTERM, or SIGHUP unless that is ignored, as under nohup."""

    def exit_with_code(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        for handled in _EXIT_SIGNALS:
            signal.signal(handled, signal.SIG_IGN)  # a second signal must not interrupt the end of the jobs
        raise SystemExit(128 + number)

    with handle_signals(_EXIT_SIGNALS, exit_with_code):
        yield


def _terminate(jobs: Sequence[submitit.Job[None]]) -> None:
    """Sends SIGTERM to jobs of this machine until they have ended; a job that is starting may miss the first ones."""
    while alive := [job for job in jobs if not job.done()]:
        for job in alive:
            os.kill(int(job.job_id), signal.SIGTERM)  # submitit's process forwards it to the job
        time.sleep(_POLL_S)


def _failure(job: submitit.Job[None]) -> str | None:
    """The reason why a job has failed; None if it has not."""
    error = job.exception()
    if type(error) is UncompletedJobError:  # the base of FailedJobError, which has a traceback
        return f"its process was killed or crashed; see {job.paths.stderr}"
    return None if error is None else _last_traceback_line(str(error))


def _last_traceback_line(text: str) -> str:
    """The last line of the traceback that submitit frames with dashes, without the module of the exception."""
    parts = text.split(_TRACEBACK_FRAME)
    last = (parts[1] if len(parts) > 2 else text).strip().splitlines()[-1]
    return re.sub(r"^(?:\w+\.)+(?=\w+: )", "", last)
