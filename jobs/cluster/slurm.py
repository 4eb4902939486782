"""What is said to Slurm, and what it answers. Every question is asked once, for all jobs together."""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import submitit
from submitit.core.utils import FailedJobError

from jobs.cluster import code_snapshot, site
from jobs.configuration.run_config import SlurmConfig
from pianogen.errors import PianogenError, UsageError
from pianogen.lock import BatchJob

_ANSWER_S = 60
_NOTICE_S = 90  # from the signal that says leave to the kill
# Flags of sbatch that the script states itself; in the environment they would win over it.
_STATED = (
    *("WAIT", "TIMELIMIT", "ARRAY_INX", "JOB_NAME", "OPEN_MODE", "REQUEUE", "NO_REQUEUE"),
    *("SIGNAL", "MEM_PER_NODE", "GPUS_PER_NODE"),
)
_COLUMN = 60
_QUEUED = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
)
_TASK = re.compile(r"\d+_\d+")
_SIGNALLED = 128
_USUAL_ARRAY_SIZE = 1_001


class SlurmError(PianogenError):
    """Slurm does not answer."""


class SlurmRefusal(UsageError):
    """Slurm does not take these jobs."""


@dataclass(frozen=True, slots=True)
class Array:
    """A job array that is to be queued.

    Attributes:
        name: what squeue shows.
        function: what each job calls; it must be importable by name.
        arguments: one for each job.
        folder: for its script, its pickles and what its jobs print.
        code: the copy of the code that runs.
        ask: partition, time, memory and so on of each job.
        max_parallel: jobs at a time.
        after: jobs that must have ended, however they did.
    """

    name: str
    function: Callable[[str], None]
    arguments: Sequence[str]
    folder: Path
    code: Path
    ask: SlurmConfig
    max_parallel: int
    after: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class JobState:
    """What Slurm knows of a job.

    Attributes:
        phase: queued, running or ended.
        state: Slurm's own word, such as OUT_OF_MEMORY.
        reason: why it is queued, '' if not.
        exit_code, signal: with which it ended.
        restarts: how often it was queued again; None where accounting was asked, which does not say it.
    """

    phase: Literal["queued", "running", "ended"]
    state: str
    reason: str = ""
    exit_code: int = 0
    signal: int = 0
    restarts: int | None = None


def text_of(array: Array) -> str:
    """The script that `submit` hands to sbatch."""
    executor = _executor(array)
    if len(array.arguments) > 1:
        executor.parameters["map_count"] = len(array.arguments)
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))  # submitit has no public way to it


def test(array: Array) -> None:
    """Asks Slurm whether it would take an array; nothing is queued.

    Raises:
        SlurmRefusal: it would not.
    """
    with _environment(array.ask):
        asked = _run(["sbatch", "--test-only"], text_of(array))
    if asked.returncode != 0:
        raise SlurmRefusal(
            f"Slurm would not take these jobs: {_said(asked.stderr)}; "
            "correct the section slurm of the sweep, or wait until the partition is up"
        )


def submit(array: Array) -> list[str]:
    """Queues an array; the id of each job, in the order of the arguments.

    Raises:
        SlurmRefusal: sbatch does.
    """
    executor = _executor(array)
    try:
        with _environment(array.ask):
            queued = executor.map_array(array.function, array.arguments)
    except FailedJobError as error:
        raise SlurmRefusal(
            f"sbatch refused {len(array.arguments)} jobs: {_said(str(error))}; nothing of them is queued"
        ) from None
    return [job.job_id for job in queued]


def split(array: Array) -> list[Array]:
    """The arrays as which it must be queued, since a site limits their size; together they keep its limit on jobs at a time."""
    shown = _run(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", shown.stdout, re.MULTILINE)
    largest = int(found.group(1)) if found else _USUAL_ARRAY_SIZE
    parts = [array.arguments[start : start + largest] for start in range(0, len(array.arguments), largest)]
    return [replace(array, arguments=part, max_parallel=max(1, array.max_parallel // len(parts))) for part in parts]


def nodes_of(partition: str | None) -> list[str]:
    """The host names of a partition's nodes; for None of that which the site's settings or Slurm give.

    Raises:
        SlurmError: Slurm does not answer.
    """
    partition = partition or os.environ.get("SBATCH_PARTITION") or site.exported(site.find()).get("SBATCH_PARTITION")
    shown = _run(["sinfo", "--noheader", "--Node", "--format=%n|%P"] + ([f"--partition={partition}"] if partition else []))
    if shown.returncode != 0:
        raise SlurmError(f"sinfo does not answer: {_said(shown.stderr)}; try again when Slurm is well")
    rows = [line.split("|") for line in shown.stdout.split()]
    return sorted({node for node, name in rows if partition or name.endswith("*")} or {node for node, _ in rows})


def ask(jobs: Mapping[str, str]) -> dict[str, JobState]:
    """What Slurm knows of some jobs; those that it knows nothing of are not there.

    The queue is asked, once. Only for jobs that have left it is accounting asked too, where the site has it.

    Args:
        jobs: the name of each, by its id: ids begin anew on another cluster, or after a loss of Slurm's state.

    Raises:
        SlurmError: the queue cannot be asked.
    """
    if not jobs:
        return {}
    numbers = f"--jobs={','.join(sorted({_number(job) for job in jobs}))}"
    columns = ",".join(f"{name}:{_COLUMN}" for name in ("JobArrayID", "State", "exit_code", "Reason", "RestartCnt", "Name"))
    answer = _run(["squeue", "--noheader", "--array", "--states=all", f"--Format={columns}", numbers])
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        raise SlurmError(f"squeue does not answer: {_said(answer.stderr)}; try again when Slurm is well")
    found: dict[str, tuple[str, JobState]] = {}
    for line in answer.stdout.splitlines():
        job, state, status, reason, restarts, name = (line[at : at + _COLUMN].strip() for at in range(0, 6 * _COLUMN, _COLUMN))
        found[job] = name, _job_state(state, int(status) >> 8, int(status) & 0x7F, reason, int(restarts))
    if any(job not in found for job in jobs):
        columns = "JobID,State,ExitCode,Reason,JobName"
        answer = _run(["sacct", "--noheader", "--allocations", "--parsable2", f"--format={columns}", numbers])
        for line in answer.stdout.splitlines():
            job, state, status, reason, name = line.split("|", 4)  # a name may hold anything
            code, _, number = status.partition(":")
            found.setdefault(job, (name, _job_state(state.split()[0], int(code), int(number), reason)))
    # Tasks of an array that were cancelled before they ran have one record together, with or without [their numbers]. One that
    # is pending only says that accounting is late: the queue would have each of its tasks.
    together = {_number(job): known for job, known in found.items() if _TASK.fullmatch(job) is None and known[1].phase == "ended"}
    known = {job: found.get(job) or together.get(_number(job)) for job in jobs}
    return {job: each[1] for job, each in known.items() if each is not None and each[0] == jobs[job]}


def _number(job: str) -> str:
    """A job's number without that of its task."""
    return job.partition("_")[0]


def _job_state(state: str, exit_code: int, number: int, reason: str, restarts: int | None = None) -> JobState:
    if state in _QUEUED:
        return JobState("queued", state, reason, restarts=restarts)
    if state not in _ENDED:
        return JobState("running", state, restarts=restarts)
    if exit_code > _SIGNALLED:  # as a shell tells of a child that a signal has ended
        exit_code, number = 0, exit_code - _SIGNALLED
    return JobState("ended", state, "", exit_code, number, restarts)


def cancel(jobs: Collection[str]) -> None:
    """Ends jobs, those that run and those that wait.

    Raises:
        SlurmError: Slurm refused.
    """
    done = _run(["scancel", *sorted(jobs)])
    if done.returncode != 0:
        raise SlurmError(f"scancel refused: {_said(done.stderr)}; try again when Slurm is well")


@dataclass(frozen=True, slots=True)
class OwnJob:
    """The job that this process is a task of.

    Attributes:
        id: as `submit` gives it; '' outside of Slurm.
        restart: how often it was queued again.
        rank, size: of this task among those of the job.
        folder: of its submission.
    """

    id: str = ""
    restart: int = 0
    rank: int = 0
    size: int = 1
    folder: Path = Path()


def own_job() -> OwnJob:
    """The job this process belongs to, as Slurm's variables tell it."""
    get = os.environ.get
    if get("SUBMITIT_EXECUTOR") != "slurm":  # on a node, but started by hand
        return OwnJob()
    array, task = get("SLURM_ARRAY_JOB_ID"), get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
    numbers = (int(get("SLURM_RESTART_COUNT", 0)), int(get("SLURM_PROCID", 0)), int(get("SLURM_NTASKS", 1)))
    return OwnJob(job, *numbers, Path(os.environ["SUBMITIT_FOLDER"]))


def batch_job() -> BatchJob:
    """The Slurm job that this process runs in, for locks; also of a process that was started by hand inside a job."""
    return BatchJob(os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get("SLURM_RESTART_COUNT", 0)))


def is_wanted(job: str) -> bool:
    """Whether a running job is still meant to run: not cancelled, nor already being queued again.

    A time limit that is near, and a preemption with time of grace, leave it running.

    Raises:
        SlurmError: Slurm does not answer.
    """
    shown = _run(["scontrol", "--oneliner", "show", "job", job])
    if shown.returncode != 0:
        raise SlurmError(f"scontrol does not answer: {_said(shown.stderr)}")
    return re.search(r"\bJobState=RUNNING\b", shown.stdout) is not None


def requeue(job: str) -> None:
    """Puts a running job, such as this process's own, back into the queue; Slurm then ends what runs of it.

    Raises:
        SlurmError: Slurm refused.
    """
    done = _run(["scontrol", "requeue", job])
    if done.returncode != 0:
        raise SlurmError(f"scontrol requeue {job} refused: {_said(done.stderr)}")


def _executor(array: Array) -> submitit.SlurmExecutor:
    ask = array.ask
    executor = submitit.SlurmExecutor(folder=array.folder)
    wanted = {
        "partition": ask.partition,
        "account": ask.account,
        "gpus_per_node": ask.gpus_per_node or None,
        "dependency": f"afterany:{':'.join(sorted(array.after))}" if array.after else None,
    }
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in code_snapshot.environment(array.code).items())
    executor.update_parameters(
        job_name=array.name,
        time=ask.timeout_min,
        nodes=ask.nodes,
        ntasks_per_node=1,
        cpus_per_task=ask.cpus_per_task,
        mem=f"{ask.memory_gb}GB",
        array_parallelism=array.max_parallel,
        signal_delay_s=_NOTICE_S,
        additional_parameters={"requeue": True},
        setup=[*site.setup_lines(array.folder), f"export {variables}"],
        # srun takes neither the cores nor, under --export=NONE, the environment of its job by itself; and where one of
        # several workers has failed the others would wait for it.
        srun_args=["--export=ALL", f"--cpus-per-task={ask.cpus_per_task}", "--kill-on-bad-exit=1"],
        **{key: value for key, value in wanted.items() if value is not None},
    )
    return executor


@contextmanager
def _environment(ask: SlurmConfig) -> Iterator[None]:
    """The environment of sbatch: with the site's settings, without those of a job this process may be part of."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("SLURM_", "SRUN_", "SUBMITIT_")) and name not in ("SLURM_CONF", "SLURM_CLUSTERS"):
            del os.environ[name]
    os.environ.update(site.exported(site.find()))
    stated = [*_STATED, *(["PARTITION"] if ask.partition else []), *(["ACCOUNT"] if ask.account else [])]
    for name in stated:
        os.environ.pop(f"SBATCH_{name}", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except FileNotFoundError:
        raise SlurmError(f"there is no {command[0]} on this machine; run this on a login node of the cluster") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} has not answered for {_ANSWER_S} s; try again when Slurm is well") from None


def _said(stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines) or "it does not say why"
