"""The configuration of a run of a sweep: what decides its result, and the devices and resources it is run with."""

from typing import Any, Literal

from pydantic import Field

from pianogen import config
from pianogen.config import Config, ConfigError, Section
from pianogen.training.resources import Devices


class SlurmConfig(Section):
    """What is asked of the scheduler for each job.

    Attributes:
        partition: None takes the site's default.
        cpu_partition: of decoding, which needs no GPU; None takes the site's default.
        account: None takes the user's default.
        timeout_min: limit of one attempt.
        nodes: nodes of one run.
        gpus_per_node: 0 for `device: cpu`.
        cpus_per_task: cores of one run; also its TensorFlow threads.
        memory_gb: memory of one node.
        max_parallel: jobs of one sweep at a time.
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
    """A run of a sweep. Only the sections of `Config` change its result; the other settings say how it is run.

    Attributes:
        device: gpu or cpu; there is no default, so that no run falls back to the other one unnoticed.
        logical_devices: replicas on one CPU; more than one is for tests of distribution.
        local_copy: copy the store to the node's temporary folder first.
    """

    device: Literal["gpu", "cpu"]
    logical_devices: int = Field(default=1, ge=1)
    local_copy: bool = False
    slurm: SlurmConfig = SlurmConfig()

    @property
    def devices(self) -> Devices:
        """The devices of one node."""
        num = self.slurm.gpus_per_node if self.device == "gpu" else self.logical_devices
        return Devices(self.device, num, self.slurm.cpus_per_task)


def parse(values: dict[str, Any], where: str) -> RunConfig:
    """The configuration of a run of a sweep from a nested mapping.

    Args:
        where: the source of the values, for messages.

    Raises:
        ConfigError: a key is unknown or missing, a value has the wrong type or range, or settings contradict each other.
    """
    run = config.validate(RunConfig, values, where)
    replicas = max(run.logical_devices, run.slurm.gpus_per_node) * run.slurm.nodes
    if run.training.batch % replicas:
        raise ConfigError(f"{where}: training.batch {run.training.batch} is not divisible by {replicas} replicas")
    if run.device == "gpu" and run.logical_devices > 1:
        raise ConfigError(
            f"{where}: logical_devices {run.logical_devices} divides a CPU, but device is gpu: remove one of the two"
        )
    if (run.device == "gpu") != (run.slurm.gpus_per_node > 0):
        raise ConfigError(f"{where}: device {run.device} with slurm.gpus_per_node {run.slurm.gpus_per_node}; make them agree")
    config.check_combinations(run, where)
    if run.training.mixed_precision and run.device == "cpu":
        raise ConfigError(f"{where}: training.mixed_precision with device cpu, where it is slower and less exact; use a GPU")
    return run
