"""The configuration of a run: the settings that change its result, and the devices and resources that execute it."""

import itertools
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator

from jobs.configuration.settings import Settings, by_key, nest
from pianogen.combinations import check_combinations
from pianogen.config import Config
from pianogen.training.resources import Devices
from pianogen.validation import ConfigError, Count, Section, matching, validate

_TIMEOUT = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
# Options of sbatch that slurm.extra may not change, because the jobs would not be found or not work.
_RESERVED_OPTIONS = {
    "array": "set slurm.max_parallel",
    "job-name": "jobs are found by their names",
    "output": "status reads this file",
    "error": "status reads this file",
    "nodes": "set slurm.nodes",
    "ntasks": "set slurm.nodes; each node has one task",
    "ntasks-per-node": "each node has one task",
    "dependency": "set slurm.max_parallel; submit after the other jobs have ended",
    "wait": "use status --watch",
    "wrap": "the script is fixed",
    "parsable": "the output of sbatch is parsed",
    "quiet": "the output of sbatch is parsed",
    "clusters": "export SLURM_CLUSTERS, which status and cancel read too",
    "test-only": "use --dry-run",
    "chdir": "paths are absolute",
    "open-mode": "requeued jobs append to their output",
    "signal": "set slurm.signal_lead_s",
}

OptionName = Annotated[str, matching(r"[a-z][a-z0-9]+(-[a-z0-9]+)*", "a long option of sbatch without its dashes, such as qos")]
OneLine = Annotated[str, matching(r"[^\r\n]+", "text in one line")]
GpuType = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_.-]*:[1-9][0-9]*", "type and number, such as a100:2")]
OptionValue = bool | int | OneLine | None


def _parse_timeout(value: object) -> object:
    """Minutes, from a text in a format of sbatch: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S; rounded up, as Slurm does."""
    if not isinstance(value, str):
        return value
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise ValueError('minutes, or a time limit of sbatch such as "8:00:00" or "1-12"')
    days, *fields = match.groups()
    numbers = [int(field) for field in fields if field is not None]
    if days is None and len(numbers) < 3:
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return 24 * 60 * int(days or 0) + 60 * hours + minutes + (seconds > 0)


class SlurmConfig(Section):
    """The resources of each job.

    Attributes:
        partition: None is the default of the site.
        cpu_partition: the partition of decoding jobs, which need no GPU; None is the default of the site.
        account: None is the default of the user.
        timeout_min: time limit of one attempt in minutes, or as text in a format of sbatch, such as "8:00:00" or "1-12"; also
            spelled `timeout`. On Slurm, it is more than 10 minutes and more than twice `signal_lead_s`.
        signal_lead_s: time from the signal that announces the time limit to the limit, in which an attempt writes a checkpoint;
            from 30 to 3,600.
        nodes: nodes that train one run together.
        gpus_per_node: 0 for `device: cpu`; a number, or type and number, such as "a100:2".
        cpus_per_task: cores on each node; also the number of threads of TensorFlow.
        memory_gb: memory on each node; None is the default of the site.
        runs_per_job: runs that one job trains, in processes of their own; None is `runs_per_gpu`.
        runs_per_gpu: runs that one job trains at a time, on one GPU, or with `device: cpu` on its cores. Each of them has
            `cpus_per_task` cores; they share the time limit, the memory and the GPU of the job.
        max_parallel: jobs of one sweep that may run at a time.
        extra: other options of sbatch, passed unchanged; true is an option without a value, None removes an option.
        notify: a mail address, several separated by commas, or a shell command, for the end of the last job of a submission.
    """

    partition: OneLine | None = None
    cpu_partition: OneLine | None = None
    account: OneLine | None = None
    timeout_min: Annotated[Count, BeforeValidator(_parse_timeout)] = 240
    signal_lead_s: int = Field(default=90, ge=30, le=3_600)
    nodes: Count = 1
    gpus_per_node: Annotated[int, Field(ge=0, le=10**9)] | GpuType = 0
    cpus_per_task: Count = 4
    memory_gb: Count | None = 16
    runs_per_job: Count | None = None
    runs_per_gpu: Count = 1
    max_parallel: Count = 16
    extra: dict[OptionName, OptionValue] = Field(default={})
    notify: OneLine | None = None

    @property
    def num_gpus(self) -> int:
        """The number of GPUs on each node."""
        return int(str(self.gpus_per_node).rpartition(":")[2])

    @property
    def one_gpu(self) -> int | str:
        """One GPU of the configured type; 0 without GPUs."""
        kind, colon, _ = str(self.gpus_per_node).rpartition(":")
        return f"{kind}:1" if colon else min(1, self.num_gpus)

    @property
    def pack_size(self) -> int:
        """The number of runs that one job trains."""
        return self.runs_per_job or self.runs_per_gpu

    def unpacked(self, **changes: Any) -> Self:
        """The resources of a job that has no other runs beside it, with changes."""
        return self.model_copy(update={"runs_per_job": None, "runs_per_gpu": 1} | changes)

    @property
    def limit_min(self) -> int | None:
        """The time limit of a job in minutes; None if it has none, or if the site decides it."""
        limit = self.extra.get("time", self.timeout_min)
        try:
            minutes = _parse_timeout(limit)
        except ValueError:  # a word of sbatch, such as infinite
            return None
        return minutes or None if isinstance(minutes, int) else None

    @property
    def is_requeued(self) -> bool:
        """Whether jobs may be requeued; some sites forbid it."""
        return "no-requeue" not in self.extra and self.extra.get("requeue", True) is not None

    def without_gpus(self, **changes: Any) -> Self:
        """The resources of a job that needs no GPU, on the partition for such jobs, with changes."""
        of_gpus = {"constraint", "exclusive", "nodelist"} | ({"partition"} if self.cpu_partition else set())
        extra = {name: value for name, value in self.extra.items() if "gpu" not in f"{name}{value}" and name not in of_gpus}
        if self.memory_gb is None:
            changes["memory_gb"] = None
        common = {"partition": self.cpu_partition, "nodes": 1, "gpus_per_node": 0, "cpus_per_task": 1, "extra": extra}
        return self.unpacked(**common | changes)

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, object]) -> dict[str, object]:
        for name, (option, reason) in itertools.product(extra, _RESERVED_OPTIONS.items()):
            if option.startswith(name):  # sbatch accepts abbreviations
                raise ValueError(f"options other than {option} ({reason})")
        for name in [name for name, value in extra.items() if value is False]:
            raise ValueError(f"{name} to be null, which removes the option, or true")
        return extra


class RunConfig(Config):
    """The configuration of a run. Only the sections of `Config` change its result; the others determine how the run is executed.

    Attributes:
        device: gpu or cpu; there is no default, so that no run falls back to the CPU unnoticed.
        logical_devices: replicas that share one CPU; more than one is for tests of distribution.
        local_copy: copy the store to the temporary folder of the node first.
        slurm: the resources of each job.
    """

    device: Literal["gpu", "cpu"]
    logical_devices: Count = 1
    local_copy: bool = False
    slurm: SlurmConfig = SlurmConfig()

    @property
    def devices(self) -> Devices:
        """The devices of each node."""
        num = self.slurm.num_gpus if self.device == "gpu" else self.logical_devices
        return Devices(self.device, num, self.slurm.cpus_per_task)


def check_alone(settings: Settings, where: str) -> None:
    """Checks the keys and values of some settings, without the others of a run.

    Args:
        where: the source of the settings, for messages.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or range.
    """
    validate(RunConfig, nest({"device": "cpu"} | settings, where), where)


def parse(values: dict[str, Any], where: str) -> RunConfig:
    """The configuration of a run from a nested mapping.

    Args:
        where: the source of the values, for messages.

    Raises:
        ConfigError: a key is unknown or missing, a value has the wrong type or range, or settings contradict each other.
    """
    run = validate(RunConfig, nest(by_key(values, where), where), where)
    replicas = max(run.logical_devices, run.slurm.num_gpus) * run.slurm.nodes
    if run.model.ensemble and replicas > 1:
        raise ConfigError(f"{where}: model.ensemble with {replicas} replicas; an ensemble uses one device of one node: set 1")
    if run.training.batch % replicas:
        raise ConfigError(
            f"{where}: training.batch {run.training.batch} is not divisible by {replicas} replicas; change one of them"
        )
    if run.device == "gpu" and run.logical_devices > 1:
        raise ConfigError(
            f"{where}: logical_devices {run.logical_devices} with device gpu, but logical devices share a CPU; "
            "remove one of the two"
        )
    if (run.device == "gpu") != (run.slurm.num_gpus > 0):
        raise ConfigError(
            f"{where}: device {run.device} with slurm.gpus_per_node {run.slurm.gpus_per_node}; "
            "gpu needs one or more GPUs, cpu needs 0"
        )
    _check_packing(run.slurm, where)
    check_combinations(run, where)
    if run.training.mixed_precision and run.device == "cpu":
        raise ConfigError(
            f"{where}: training.mixed_precision with device cpu, which is slower and less exact; use a GPU, or set it to false"
        )
    return run


def _check_packing(slurm: SlurmConfig, where: str) -> None:
    """Refuses resources with which the runs of a job cannot share it."""
    if slurm.pack_size > 1 and slurm.nodes > 1:
        raise ConfigError(
            f"{where}: slurm.nodes {slurm.nodes} for jobs of {slurm.pack_size} runs, which share one node; set slurm.nodes to 1, "
            "or remove slurm.runs_per_job and slurm.runs_per_gpu"
        )
    if slurm.runs_per_gpu > 1 and slurm.num_gpus > 1:
        raise ConfigError(
            f"{where}: slurm.gpus_per_node {slurm.gpus_per_node} with slurm.runs_per_gpu {slurm.runs_per_gpu}, but runs that "
            "share a GPU use no other; set slurm.gpus_per_node to 1, and slurm.max_parallel to the number of GPUs"
        )
    if slurm.runs_per_gpu > slurm.pack_size:
        raise ConfigError(
            f"{where}: slurm.runs_per_gpu {slurm.runs_per_gpu} with slurm.runs_per_job {slurm.runs_per_job}, but a job cannot "
            "train more runs at a time than it has; raise slurm.runs_per_job, or lower slurm.runs_per_gpu"
        )
