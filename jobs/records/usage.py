"""The resources that an attempt has requested and used: measured by its own processes, and written while they run.

Each worker replaces log/usage-RANK.json every few seconds, so that the last figures of an attempt that is killed remain. The end
of the attempt, or the start of the next one, moves them to provenance.json.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from jobs.records import record_file
from jobs.records.record_file import RecordError

_FILES = "usage-*.json"


@dataclass(frozen=True, slots=True)
class Requested:
    """The resources that the configuration requests on each node; None where options in slurm.extra decide instead.

    Attributes:
        cpus: slurm.cpus_per_task.
        memory_gb: slurm.memory_gb.
        timeout_min: slurm.timeout_min.
    """

    cpus: int | None = None
    memory_gb: int | None = None
    timeout_min: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources that an attempt has used: of several workers, the largest figure of each kind; 1 GB is 2**30 bytes.

    Attributes:
        wall_s: time since the start of the attempt.
        cpu_s: CPU time of all threads, and of child processes that have ended.
        memory_gb: peak of the resident memory of the process and of its running child processes.
        gpu_memory_gb: peak of the memory that TensorFlow has used on a GPU, the largest of all GPUs; None without one.
        gpu_percent: share of the time in which the GPUs executed kernels, mean of samples; None without nvidia-smi.
        requested: the resources of the job.
    """

    wall_s: float
    cpu_s: float
    memory_gb: float
    gpu_memory_gb: float | None = None
    gpu_percent: float | None = None
    requested: Requested | None = None

    @classmethod
    def parse(cls, content: dict[str, Any]) -> Self:
        """The usage in a JSON value."""
        return cls(**content | {"requested": Requested(**content["requested"]) if content["requested"] else None})


USAGE_FIELDS = tuple(field.name for field in fields(Usage))


def file_of(log: Path, rank: int) -> Path:
    """The file of a worker.

    Args:
        log: the folder of the logs of a run.
    """
    return log / f"usage-{rank}.json"


def write(path: Path, usage: Usage) -> None:
    """Replaces the file of a worker."""
    record_file.write(path, asdict(usage))


def read(log: Path) -> Usage | None:
    """The usage that the workers of the last attempt have written; None if there is none, or if it is damaged."""
    try:
        return largest([record_file.read(path, Usage.parse) for path in sorted(log.glob(_FILES))])
    except RecordError:  # nothing depends on it; or another attempt has just begun
        return None


def clear(log: Path) -> None:
    """Removes the files of an attempt."""
    for path in log.glob(_FILES):
        path.unlink(missing_ok=True)


def largest(usages: Iterable[Usage]) -> Usage | None:
    """The largest figure of each kind; None if there are none."""
    entries = list(usages)
    if not entries:
        return None
    figures = {}
    for name in USAGE_FIELDS[:-1]:
        figures[name] = max((value for entry in entries if (value := getattr(entry, name)) is not None), default=None)
    return Usage.parse(figures | {"requested": entries[0].requested and asdict(entries[0].requested)})
