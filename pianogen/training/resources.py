"""The devices and processes that train a run. This module must not import TensorFlow, because submitting a run uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of one process.

    Attributes:
        kind: "gpu" requires GPUs; "cpu" never looks for one.
        num: number of GPUs, or of replicas that share the CPU.
        num_threads: number of CPU threads of one operation; 0 is the default of TensorFlow.
    """

    kind: Literal["cpu", "gpu"] = "cpu"
    num: int = 1
    num_threads: int = 0


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that train a run together, one on each node.

    Attributes:
        rank: rank of this process; rank 0 writes the files of the run.
        addresses: host:port of each process, by rank; empty if this process trains alone.
    """

    rank: int = 0
    addresses: Sequence[str] = ()

    @property
    def size(self) -> int:
        """The number of processes."""
        return max(1, len(self.addresses))
