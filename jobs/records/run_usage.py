"""The resources that a run has used in all its attempts, against those that it requested."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from jobs.records import usage
from jobs.records.provenance import Attempt
from jobs.records.run_directory import Run
from jobs.records.usage import Requested, Usage

_EXCESS = 2  # a request is excessive if it is more than this multiple of the largest use
_MIN_TIMEOUT_MIN = 30  # a shorter time limit does not make a job wait longer in the queue


@dataclass(frozen=True, slots=True)
class RunUsage:
    """The usage of the attempts of a run that have recorded it, oldest first."""

    attempts: Sequence[Usage]

    @classmethod
    def of(cls, run: Run, attempts: Sequence[Attempt]) -> Self:
        """The usage of a run.

        Args:
            attempts: all of its attempts.
        """
        recorded = [attempt.usage for attempt in attempts]
        if recorded and recorded[-1] is None:  # it is running, or was killed
            recorded[-1] = usage.read(run.log)
        return cls([entry for entry in recorded if entry is not None])

    @property
    def wall_s(self) -> float | None:
        """The time of all attempts together."""
        return sum(entry.wall_s for entry in self.attempts) if self.attempts else None

    @property
    def longest_s(self) -> float | None:
        """The time of the longest attempt."""
        return max((entry.wall_s for entry in self.attempts), default=None)

    @property
    def limit_s(self) -> float | None:
        """The time limit of an attempt."""
        return None if self.requested.timeout_min is None else 60.0 * self.requested.timeout_min

    @property
    def cpu_s(self) -> float | None:
        """The CPU time of all attempts together."""
        return sum(entry.cpu_s for entry in self.attempts) if self.attempts else None

    @property
    def cpus(self) -> float | None:
        """The mean number of cores that computed at a time."""
        return self.cpu_s / self.wall_s if self.cpu_s is not None and self.wall_s else None

    @property
    def memory_gb(self) -> float | None:
        """The largest peak of the memory."""
        return max((entry.memory_gb for entry in self.attempts), default=None)

    @property
    def gpu_memory_gb(self) -> float | None:
        """The largest peak of the GPU memory."""
        return max((entry.gpu_memory_gb for entry in self.attempts if entry.gpu_memory_gb is not None), default=None)

    @property
    def gpu_percent(self) -> float | None:
        """The mean utilization of the GPUs over the time of the attempts that have it."""
        pairs = [(entry.gpu_percent, entry.wall_s) for entry in self.attempts if entry.gpu_percent is not None]
        time_s = sum(wall_s for _, wall_s in pairs)
        return sum(percent * wall_s for percent, wall_s in pairs) / time_s if time_s else None

    @property
    def requested(self) -> Requested:
        """The resources of the last attempt."""
        return (self.attempts[-1].requested if self.attempts else None) or Requested()

    def columns(self) -> dict[str, Any]:
        """The figures by column of runs.csv; None where they are not known."""
        return {
            **{name: getattr(self, name) for name in ("wall_s", "cpu_s", "memory_gb", "gpu_memory_gb", "gpu_percent")},
            "requested_cpus": self.requested.cpus,
            "requested_memory_gb": self.requested.memory_gb,
            "requested_timeout_min": self.requested.timeout_min,
        }


def advise(runs: Iterable[RunUsage]) -> list[str]:
    """Lines for the settings with excessive requests of finished runs, with the largest use of all runs with equal requests."""
    groups: dict[Requested, list[RunUsage]] = {}
    for run in runs:
        if run.attempts:
            groups.setdefault(run.requested, []).append(run)
    lines = []
    for requested, members in groups.items():
        cpus, memory_gb, longest_s = (
            max(getattr(run, name) or 0.0 for run in members) for name in ("cpus", "memory_gb", "longest_s")
        )
        lines += [
            line
            for line in (
                _excess("slurm.cpus_per_task", requested.cpus, cpus, "CPUs"),
                _excess("slurm.memory_gb", requested.memory_gb, memory_gb, "GB"),
                _excess("slurm.timeout_min", requested.timeout_min, longest_s / 60, "min", _MIN_TIMEOUT_MIN),
            )
            if line
        ]
    return lines


def _excess(setting: str, requested: int | None, used: float, unit: str, sufficient: int = 1) -> str:
    if requested is None or requested <= sufficient or requested <= _EXCESS * used:
        return ""
    return f"{setting}: {requested} {unit} requested, {max(used, 0.1):.1f} used"
