"""Job arrays: their scripts, their submission through submitit, and their cancellation."""

import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError

from jobs.cluster import client, code_snapshot, environment, site
from jobs.cluster.array_executor import ArrayExecutor, UncertainError
from jobs.configuration.run_config import SlurmConfig
from pianogen import logs
from pianogen.errors import UsageError

SIGNAL_DELAY_S = 90  # from the signal that announces the time limit to the limit
_DEFAULT_MAX_ARRAY_SIZE = 1_001
# Options that the script sets; environment variables of sbatch have precedence over the script.
_SCRIPT_OPTIONS = (
    *("WAIT", "TIMELIMIT", "ARRAY_INX", "JOB_NAME", "OPEN_MODE", "REQUEUE", "NO_REQUEUE"),
    *("SIGNAL", "MEM_PER_NODE", "GPUS_PER_NODE"),
)
# Variables of sbatch that fill in what the sweep leaves open. All others of the user, which have precedence over the script, are
# removed, so that jobs get the resources of the sweep.
_DEFAULTS = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION")


class SlurmRefusal(UsageError):
    """Slurm rejected jobs; nothing is queued."""


@dataclass(frozen=True, slots=True)
class Array:
    """A job array to queue.

    Attributes:
        name: the job name that squeue shows.
        function: called by each job; must be importable.
        arguments: one per job.
        folder: for the script, the pickles and the output of the jobs.
        code: the snapshot of the code that the jobs run.
        resources: of each job.
        max_parallel: jobs that may run at a time.
        after: jobs that must have ended before, successfully or not.
    """

    name: str
    function: Callable[[str], None]
    arguments: Sequence[str]
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
    """Has sbatch validate an array without queueing it.

    Raises:
        SlurmRefusal: sbatch rejected the array.
    """
    with _sbatch_environment(array.resources):
        answer = client.run(["sbatch", "--test-only"], script_text(array))
    if answer.returncode != 0:
        raise SlurmRefusal(
            f"sbatch --test-only rejected these jobs: {client.error_text(answer.stderr)}; "
            "correct the section slurm of the sweep, or retry when the partition is up"
        )


def submit(array: Array) -> list[str]:
    """Queues an array and returns the id of each job, in the order of the arguments.

    Raises:
        SlurmRefusal: sbatch rejected the array.
    """
    executor = _executor(array)
    try:
        with _sbatch_environment(array.resources):
            jobs = executor.map_array(array.function, array.arguments)
    except UncertainError as error:
        raise SlurmRefusal(
            f"sbatch did not confirm an array of {len(array.arguments)} jobs: {client.error_text(str(error))}; squeue does not "
            f"show them, but Slurm may queue them later as {array.name}, and they would exit without training; submit again when "
            "Slurm responds"
        ) from None
    except FailedJobError as error:
        raise SlurmRefusal(
            f"sbatch rejected an array of {len(array.arguments)} jobs: {client.error_text(str(error))}; "
            "none of these jobs is queued: correct the section slurm of the sweep"
        ) from None
    return [job.job_id for job in jobs]


def split(array: Array) -> list[Array]:
    """The array in parts no longer than the site's MaxArraySize; the parts share its limit on jobs that run at a time."""
    shown = client.run(["scontrol", "show", "config"]).stdout
    limit = re.search(r"^MaxArraySize\s*=\s*(\d+)", shown, re.MULTILINE)
    size = int(limit.group(1)) if limit else _DEFAULT_MAX_ARRAY_SIZE
    parts = [array.arguments[start : start + size] for start in range(0, len(array.arguments), size)]
    return [replace(array, arguments=part, max_parallel=max(1, array.max_parallel // len(parts))) for part in parts]


def nodes_of(partition: str | None) -> list[str]:
    """The host names of a partition's nodes; None is the default partition of the site's settings or of Slurm.

    Raises:
        SlurmError: Slurm does not respond.
    """
    partition = partition or os.environ.get("SBATCH_PARTITION") or site.exported(site.find()).get("SBATCH_PARTITION")
    command = ["sinfo", "--noheader", "--Node", "--format=%n|%P"] + ([f"--partition={partition}"] if partition else [])
    rows = [line.split("|") for line in client.checked(command).split()]
    return sorted({node for node, name in rows if partition or name.endswith("*")} or {node for node, _ in rows})


def cancel(jobs: Collection[str]) -> None:
    """Cancels running and pending jobs.

    Raises:
        SlurmError: scancel failed.
    """
    client.checked(["scancel", *sorted(jobs)])


def _executor(array: Array) -> submitit.SlurmExecutor:
    resources = array.resources
    optional = {
        "partition": resources.partition,
        "account": resources.account,
        "gpus_per_node": resources.gpus_per_node or None,
        "dependency": f"afterany:{':'.join(sorted(array.after))}" if array.after else None,
    }
    executor = ArrayExecutor(folder=array.folder)
    executor.update_parameters(
        job_name=array.name,
        time=resources.timeout_min,
        nodes=resources.nodes,
        ntasks_per_node=1,
        cpus_per_task=resources.cpus_per_task,
        mem=f"{resources.memory_gb}GB",
        array_parallelism=array.max_parallel,
        signal_delay_s=SIGNAL_DELAY_S,
        additional_parameters={"requeue": True},
        setup=[*site.setup_lines(array.folder), f"export {_job_variables(array.code)}"],
        # srun does not inherit --cpus-per-task nor, under --export=NONE, the environment of the job; and without
        # --kill-on-bad-exit the workers of a run would wait for one that has failed.
        srun_args=["--export=ALL", f"--cpus-per-task={resources.cpus_per_task}", "--kill-on-bad-exit=1"],
        **{key: value for key, value in optional.items() if value is not None},
    )
    return executor


def _job_variables(code: Path) -> str:
    """The variables that a job needs under `--export=NONE` too, for the shell."""
    variables = code_snapshot.variables(code)
    if verbose := os.environ.get(logs.VERBOSE):
        variables[logs.VERBOSE] = verbose
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())


@contextmanager
def _sbatch_environment(resources: SlurmConfig) -> Iterator[None]:
    """The environment of sbatch: with the site's settings, without the variables of a job that this process may run in."""
    stated = {"SBATCH_PARTITION": resources.partition, "SBATCH_ACCOUNT": resources.account}
    kept = {name for name in _DEFAULTS if stated.get(name) is None} | {"SLURM_CONF", "SLURM_CLUSTERS"}
    prefixes = ("SBATCH_", "SLURM_", "SRUN_", "SUBMITIT_")
    removed = {name for name in os.environ if (name.startswith(prefixes) or client.is_of_user(name)) and name not in kept}
    with environment.modified({}, removed):
        overriding = {*(f"SBATCH_{option}" for option in _SCRIPT_OPTIONS), *(name for name, value in stated.items() if value)}
        exported = {name: value for name, value in site.exported(site.find()).items() if name not in overriding}
        with environment.modified(exported):
            yield
