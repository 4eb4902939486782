"""The configuration of a run: the settings that change its result, and the devices and resources that execute it."""

from typing import Any, Literal

from pydantic import Field

from pianogen import config
from pianogen.combinations import check_combinations
from pianogen.config import Config, ConfigError, Section
from pianogen.training.resources import Devices


class SlurmConfig(Section):
    """The resources of each job.

    Attributes:
        partition: None is the default of the site.
        cpu_partition: the partition of decoding jobs, which need no GPU; None is the default of the site.
        account: None is the default of the user.
        timeout_min: time limit of one attempt.
        nodes: nodes that train one run together.
        gpus_per_node: 0 for `device: cpu`.
        cpus_per_task: cores on each node; also the number of threads of TensorFlow.
        memory_gb: memory on each node.
        max_parallel: jobs of one sweep that may run at a time.
    """

    partition: str | None = None
    cpu_partition: str | None = None
    account: str | None = None
    timeout_min: int = Field(default=240, ge=1)
    nodes: int = Field(default=1, ge=1)
    gpus_per_node: int = Field(default=0, ge=0)
    cpus_per_task: int = Field(default=4, ge=1)
    memory_gb: int = Field(default=16, ge=1)
    max_parallel: int = Field(default=16, ge=1)


class RunConfig(Config):
    """The configuration of a run. Only the sections of `Config` change its result; the others say how the run is executed.

    Attributes:
        device: gpu or cpu; there is no default, so that no run falls back to the CPU unnoticed.
        logical_devices: replicas that share one CPU; more than one is for tests of distribution.
        local_copy: copy the store to the temporary folder of the node first.
        slurm: the resources of each job.
    """

    device: Literal["gpu", "cpu"]
    logical_devices: int = Field(default=1, ge=1)
    local_copy: bool = False
    slurm: SlurmConfig = SlurmConfig()

    @property
    def devices(self) -> Devices:
        """The devices of each node."""
        num = self.slurm.gpus_per_node if self.device == "gpu" else self.logical_devices
        return Devices(self.device, num, self.slurm.cpus_per_task)


def parse(values: dict[str, Any], where: str) -> RunConfig:
    """The configuration of a run from a nested mapping.

    Args:
        where: the source of the values, for messages.

    Raises:
        ConfigError: a key is unknown or missing, a value has the wrong type or range, or settings contradict each other.
    """
    run = config.validate(RunConfig, values, where)
    replicas = max(run.logical_devices, run.slurm.gpus_per_node) * run.slurm.nodes
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
    if (run.device == "gpu") != (run.slurm.gpus_per_node > 0):
        raise ConfigError(
            f"{where}: device {run.device} with slurm.gpus_per_node {run.slurm.gpus_per_node}; "
            "gpu needs one or more GPUs, cpu needs 0"
        )
    check_combinations(run, where)
    if run.training.mixed_precision and run.device == "cpu":
        raise ConfigError(
            f"{where}: training.mixed_precision with device cpu, which is slower and less exact; use a GPU, or set it to false"
        )
    return run
