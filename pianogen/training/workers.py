"""Who trains a run together."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that train one run together, one on each node.

    Attributes:
        rank: number of this one; 0 writes the files of the run.
        addresses: host:port of each, by rank.
    """

    rank: int = 0
    addresses: Sequence[str] = ()

    @property
    def size(self) -> int:
        return max(1, len(self.addresses))
