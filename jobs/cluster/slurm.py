"""Job arrays: their scripts, their submission through submitit, and their cancellation."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

from jobs.cluster import client, code_snapshot, environment, site
from jobs.cluster.array_executor import ArrayExecutor, UncertainError
from jobs.cluster.job_states import array_of
from jobs.configuration.run_config import SlurmConfig
from pianogen import logs
from pianogen.command import counted
from pianogen.errors import UsageError

_DEFAULT_MAX_ARRAY_SIZE = 1_001
_NOTIFY_TIMEOUT_MIN = 30
# Options for the same resource: one of them in slurm.extra replaces those that the program would send.
_ALTERNATIVES = (
    {"mem", "mem-per-cpu", "mem-per-gpu"},
    {"gpus-per-node", "gpus", "gpus-per-task", "gres"},
    {"cpus-per-task", "cpus-per-gpu"},
    {"requeue", "no-requeue"},
)
_MAIL = re.compile(r"[^\s@,]+@[^\s@,]+(,[^\s@,]+@[^\s@,]+)*")
_FIXED_OPTIONS = frozenset({"array", "job-name", "open-mode", "output", "error", "wait"})
# The environment variables of options that are not named like the option.
_VARIABLES = {
    "array": ("ARRAY_INX",),
    "mem": ("MEM_PER_NODE",),
    "switches": ("REQ_SWITCH", "WAIT4SWITCH"),
    "time": ("TIMELIMIT",),
}
_KEPT_VARIABLES = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"})  # which Slurm is used, and by whom


class SlurmRefusal(UsageError):
    """Slurm rejected jobs; nothing is queued."""


@dataclass(frozen=True, slots=True)
class Array:
    """A job array to queue.

    Attributes:
        name: the job name that squeue shows.
        function: called by each job with its arguments; must be importable.
        arguments: those of each job, in the order of the jobs.
        folder: for the script, the pickles and the output of the jobs.
        code: the snapshot of the code that the jobs run.
        resources: of each job.
        max_parallel: jobs that may run at a time.
        after: jobs that must have ended before, successfully or not.
    """

    name: str
    function: Callable[[Sequence[str]], None]
    arguments: Sequence[Sequence[str]]
    folder: Path
    code: Path
    resources: SlurmConfig
    max_parallel: int
    after: Collection[str] = ()


def script_text(array: Array) -> str:
    """The script that `submit` passes to sbatch."""
    executor = _executor(array)
    if len(array.arguments) > 1:
        executor.parameters["map_count"] = len(array.arguments)
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))  # submitit has no public function


def test(array: Array) -> None:
    """Validates an array with sbatch --test-only, without queueing it.

    Raises:
        SlurmRefusal: sbatch rejected the array.
    """
    with _sbatch_environment(_decided_options(array)):
        answer = client.run(["sbatch", "--test-only"], script_text(array))
    if answer.returncode != 0:
        raise SlurmRefusal(
            f"sbatch --test-only rejected these jobs: {client.error_text(answer.stderr)}; "
            "correct the section slurm of the sweep, or retry when the partition is up"
        )


def submit(array: Array, known: Collection[str] = ()) -> list[str]:
    """Queues an array and returns the id of each job, in the order of the arguments.

    Args:
        known: the ids of arrays that have been queued with the same folder before.

    Raises:
        SlurmRefusal: sbatch rejected the array.
    """
    executor = _executor(array, known)
    try:
        with _sbatch_environment(_decided_options(array)):
            jobs = executor.map_array(array.function, array.arguments)
    except UncertainError as error:
        raise SlurmRefusal(
            f"sbatch did not confirm an array of {counted(len(array.arguments), 'job')}: {client.error_text(str(error))}; "
            f"squeue does not show them, but Slurm may queue them later as {array.name}, and they would exit without training; "
            "submit again when Slurm responds"
        ) from None
    except FailedJobError as error:
        raise SlurmRefusal(
            f"sbatch rejected an array of {counted(len(array.arguments), 'job')}: {client.error_text(str(error))}; "
            "none of these jobs is queued: correct the section slurm of the sweep"
        ) from None
    return [job.job_id for job in jobs]


def split(array: Array) -> list[Array]:
    """The array in parts no longer than the site's MaxArraySize; only `submit_parts` limits the jobs of all parts together."""
    shown = client.run(["scontrol", "show", "config"]).stdout
    limit = re.search(r"^MaxArraySize\s*=\s*(\d+)", shown, re.MULTILINE)
    size = int(limit.group(1)) if limit else _DEFAULT_MAX_ARRAY_SIZE
    parts = [array.arguments[start : start + size] for start in range(0, len(array.arguments), size)]
    return [replace(array, arguments=part) for part in parts]


def submit_parts(parts: Sequence[Array], live: Collection[str]) -> Iterator[list[str]]:
    """Queues the parts of an array one after another, and yields the ids of the jobs of each.

    Slurm limits the jobs of one array that run at a time. Where the jobs of a part and those queued before it are more than the
    limit, the part waits until those before it have ended.

    Args:
        live: jobs of the sweep that are already in the queue.

    Raises:
        SlurmRefusal: sbatch rejected a part; the next parts are not queued.
    """
    before: set[str] = set()
    beside = set(live)
    known: set[str] = set()
    for part in parts:
        if beside and len(beside) + len(part.arguments) > part.max_parallel:
            before, beside = set(map(array_of, beside)), set()
        queued = submit(replace(part, after={*part.after, *before}), known)
        beside.update(queued)
        known.update(map(array_of, queued))
        yield queued


def notify(recipient: str, sweep: Path, jobs: Collection[str], resources: SlurmConfig, folder: Path) -> None:
    """Queues a job that sends a mail or runs a shell command when other jobs have ended.

    Args:
        recipient: mail addresses, separated by commas, or a shell command.
        sweep: the directory of the sweep, which the command finds in $PIANOGEN_SWEEP.
        folder: for the output of the job.

    Raises:
        SlurmRefusal: sbatch rejected the job.
    """
    addresses = re.sub(r"\s*,\s*", ",", recipient.strip())
    is_mail = _MAIL.fullmatch(addresses) is not None
    variables = {"PIANOGEN_SWEEP": str(sweep), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    mail = {"mail-type": "END", "mail-user": addresses} if is_mail else {}
    options = sbatch_options(resources.without_gpus(timeout_min=_NOTIFY_TIMEOUT_MIN, memory_gb=1), ()) | mail
    options |= {"job-name": f"{sweep.name}-notify", "output": folder / "notify.log", "dependency": _after(jobs)}
    lines = ["#!/bin/bash", *(_script_line(name, value) for name, value in options.items())]
    lines += [*site.setup_lines(folder), f"export {exports}", "true" if is_mail else recipient]
    with _sbatch_environment(options):
        answer = client.run(["sbatch"], "\n".join([*lines, ""]))
    if answer.returncode != 0:
        raise SlurmRefusal(f"sbatch rejected the job of slurm.notify: {client.error_text(answer.stderr)}; correct slurm.notify")


def nodes_of(partition: str | None) -> list[str]:
    """The host names of a partition's nodes; None is the default partition of the site's settings or of Slurm.

    Raises:
        SlurmError: Slurm does not respond.
    """
    partition = partition or site.exported(site.find()).get("SBATCH_PARTITION")
    command = ["sinfo", "--noheader", "--Node", "--format=%n|%P"] + ([f"--partition={partition}"] if partition else [])
    rows = [line.split("|") for line in client.checked(command).splitlines() if line.count("|") == 1]
    return sorted({node for node, name in rows if partition or name.endswith("*")} or {node for node, _ in rows})


def cancel(jobs: Collection[str]) -> None:
    """Cancels running and pending jobs.

    Raises:
        SlurmError: scancel failed.
    """
    client.checked(["scancel", *sorted(jobs)])


def sbatch_options(resources: SlurmConfig, after: Collection[str]) -> dict[str, Any]:
    """Maps options of sbatch to their values, as the configuration of a job decides them; true is an option without a value."""
    extra = resources.extra
    options = {
        "partition": resources.partition,
        "account": resources.account,
        "time": resources.timeout_min,
        "signal": f"USR2@{resources.signal_lead_s}",
        "requeue": True,
        "cpus-per-task": resources.cpus_per_task * resources.runs_per_gpu,
        "mem": f"{resources.memory_gb}GB" if resources.memory_gb else None,
        "gpus-per-node": resources.gpus_per_node or None,
        "dependency": _after(after),
    }
    for group in _ALTERNATIVES:
        if any(name in extra and _takes_the_place_of(name, extra[name]) for name in group):
            options |= dict.fromkeys(group & options.keys())
    return {name: value for name, value in (options | extra).items() if value is not None}


def _takes_the_place_of(name: str, value: object) -> bool:
    return value is not None and (name != "gres" or "gpu" in str(value))


def _after(jobs: Collection[str]) -> str | None:
    return f"afterany:{':'.join(sorted(jobs))}" if jobs else None


def _decided_options(array: Array) -> dict[str, Any]:
    """The options that the script of an array decides: those that it has, and those that slurm.extra removes."""
    return sbatch_options(array.resources, array.after) | array.resources.extra


def _script_line(name: str, value: object) -> str:
    return f"#SBATCH --{name}" if value is True else f"#SBATCH --{name}={shlex.quote(str(value))}"


def _executor(array: Array, known: Collection[str] = ()) -> submitit.SlurmExecutor:
    resources, options = array.resources, sbatch_options(array.resources, array.after)
    # srun does not inherit --cpus-per-task nor, under --export=NONE, the environment of the job; and without
    # --kill-on-bad-exit the workers of a run would wait for one that has failed.
    srun = ["--export=ALL", "--kill-on-bad-exit=1"]
    if "cpus-per-task" in options:
        srun.append(f"--cpus-per-task={options['cpus-per-task']}")
    executor = ArrayExecutor(array.folder, known)
    executor.update_parameters(
        job_name=array.name,
        time=options.get("time"),
        nodes=resources.nodes,
        ntasks_per_node=1,
        array_parallelism=array.max_parallel,
        wckey=None,  # submitit would send a job name of its own
        additional_parameters=options,
        setup=[*site.setup_lines(array.folder), f"export {_job_variables(array.code)}"],
        srun_args=srun,
    )
    return executor


def _job_variables(code: Path) -> str:
    """The variables that a job needs under `--export=NONE` too, for the shell."""
    variables = code_snapshot.variables(code)
    if verbose := os.environ.get(logs.VERBOSE):
        variables[logs.VERBOSE] = verbose
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())


@contextmanager
def _sbatch_environment(options: Mapping[str, Any]) -> Iterator[None]:
    """The environment of sbatch: with the site's settings, without variables of the user and of a job that this process runs in.

    Variables of sbatch have precedence over its script, so the site's settings of options that the script decides are left out.

    Args:
        options: the options of the script, and those that it leaves out on purpose.
    """
    decided = _FIXED_OPTIONS.union(options, *(group for group in _ALTERNATIVES if group & options.keys()))
    overriding = {f"{site.SBATCH}{name}" for option in decided for name in _variables(option)}
    prefixes = (site.SBATCH, "SLURM_", "SRUN_", "SUBMITIT_")
    removed = {name for name in os.environ if name.startswith(prefixes) or client.is_of_user(name)} - _KEPT_VARIABLES
    exported = {name: value for name, value in site.exported(site.find()).items() if name not in overriding}
    with environment.modified(exported, removed):
        yield


def _variables(option: str) -> tuple[str, ...]:
    """The environment variables of sbatch for an option, without their prefix."""
    return _VARIABLES.get(option, (option.upper().replace("-", "_"),))
