"""The devices and processes that train a run; imports no TensorFlow, so that a submission can name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of one process.

    Attributes:
        kind: "gpu" requires GPUs; "cpu" never looks for one.
        num: GPUs, or replicas that share the CPU.
        num_threads: threads of one operation on the CPU; 0 leaves the number to TensorFlow.
    """

    kind: Literal["cpu", "gpu"] = "cpu"
    num: int = 1
    num_threads: int = 0


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that train one run together, one on each node.

    Attributes:
        rank: number of this process; rank 0 writes the files of the run.
        addresses: host:port of each process, by rank; empty for a process that trains alone.
    """

    rank: int = 0
    addresses: Sequence[str] = ()

    @property
    def size(self) -> int:
        """The number of processes."""
        return max(1, len(self.addresses))
