"""Measures what a process of an attempt uses, from the process itself; no accounting of Slurm is needed."""

import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobs.cluster import slurm
from jobs.configuration.run_config import SlurmConfig
from jobs.records import usage
from jobs.records.run_directory import Run
from jobs.records.usage import Requested, Usage

_INTERVAL_S = 15.0
_NVIDIA_SMI_TIMEOUT_S = 10
_GIB, _KIB = 2**30, 2**10


@contextmanager
def metered(run: Run, rank: int, shutdown_requested: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Measures this process until the end of the context, and writes the usage to the directory of the run.

    Yields:
        A function that returns `shutdown_requested()`. It measures and writes when it is called, at most every few seconds.
    """
    config = run.read_config()
    meter = _Meter(usage.file_of(run.log, rank), find_requested(config.slurm), config.slurm.num_gpus)

    def poll() -> bool:
        meter.update_if_due()
        return shutdown_requested()

    try:
        yield poll
    finally:
        meter.write()


def find_requested(resources: SlurmConfig) -> Requested:
    """The resources that the section `slurm` of a configuration requests for a run.

    Resources that `slurm.extra` changes, and those that the run shares with other runs of its job, are None.
    """
    decided = slurm.sbatch_options(resources, ()).keys() - resources.extra.keys()
    is_alone = resources.pack_size == 1
    return Requested(
        cpus=resources.cpus_per_task if "cpus-per-task" in decided else None,
        memory_gb=resources.memory_gb if is_alone and "mem" in decided else None,
        timeout_min=resources.timeout_min if is_alone and "time" in decided else None,
    )


class _Meter:
    """Counts from its construction on, and writes the usage at once: an attempt may be killed before the first update."""

    def __init__(self, path: Path, requested: Requested, num_gpus: int) -> None:
        self._path, self._requested, self._num_gpus = path, requested, num_gpus
        self._begin_s, self._cpu_begin_s = time.monotonic(), _cpu_s()
        self._memory_gb = 0.0
        self._gpu_memory_gb: float | None = None
        self._gpu_percents: list[float] = []
        self._has_devices = False
        self._last_s = self._begin_s
        with suppress(OSError):  # a container may forbid it; only a process that makes several attempts needs it
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak of the resident memory
        self.write()

    def update_if_due(self) -> None:
        """Writes the usage if the last time was some seconds ago; called while TensorFlow computes."""
        self._has_devices = self._num_gpus > 0  # a query before would initialize them, with other settings than the training
        if time.monotonic() - self._last_s >= _INTERVAL_S:
            self._last_s = time.monotonic()
            if self._has_devices and (percent := sample_gpu_percent()) is not None:
                self._gpu_percents.append(percent)
            self.write()

    def write(self) -> None:
        """Writes the usage."""
        self._memory_gb = max(self._memory_gb, _memory_gb())
        if self._has_devices:
            self._gpu_memory_gb = _gpu_memory_gb(self._num_gpus)
        measured = Usage(
            wall_s=round(time.monotonic() - self._begin_s, 3),
            cpu_s=round(_cpu_s() - self._cpu_begin_s, 3),
            memory_gb=round(self._memory_gb, 3),
            gpu_memory_gb=self._gpu_memory_gb,
            gpu_percent=round(statistics.fmean(self._gpu_percents), 3) if self._gpu_percents else None,
            requested=self._requested,
        )
        with suppress(OSError):  # it only informs; a full disk is reported by the files that the run needs
            usage.write(self._path, measured)


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _memory_gb() -> float:
    """The peak of the resident memory of this process, plus those of its running descendants."""
    parents = {}
    for entry in os.scandir("/proc"):
        with suppress(OSError):  # the process has ended
            if entry.name.isdecimal() and entry.stat().st_uid == os.getuid():  # a node may have thousands of other processes
                # PID (NAME) STATE PARENT …; the name may contain spaces and parentheses
                text = Path(entry.path, "stat").read_text(errors="replace")
                parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    family = {os.getpid()}
    while added := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= added
    return sum(map(_peak_kib, family)) * _KIB / _GIB


def _peak_kib(pid: int) -> int:
    with suppress(OSError):  # the process has ended
        if match := re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(errors="replace"), re.MULTILINE):
            return int(match[1])
    return 0


def _gpu_memory_gb(num_gpus: int) -> float | None:
    import tensorflow as tf

    try:
        peaks = [tf.config.experimental.get_memory_info(f"GPU:{index}")["peak"] for index in range(num_gpus)]
    except (ValueError, RuntimeError, tf.errors.OpError):  # an allocator without statistics must not end a training
        return None
    return round(float(max(peaks)) / _GIB, 3) or None  # one whose statistics are off reports 0


def sample_gpu_percent() -> float | None:
    """The present mean utilization of the GPUs that this process may use; None where nvidia-smi does not report it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no memory for another process, or a driver that does not respond
        return None
    percents = [float(line) for line in done.stdout.splitlines() if line.strip().isdecimal()]  # [N/A] for a part of a GPU
    return statistics.fmean(percents) if done.returncode == 0 and percents else None
