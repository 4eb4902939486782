"""Measurements in a new process, whose imports and memory are its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pianogen.errors import PianogenError


def json_output_of(module: str, *arguments: object) -> dict[str, Any]:
    """The JSON object in the last line that `python -m module arguments...` prints.

    Raises:
        PianogenError: the program failed.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise PianogenError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def memory_mb(field: str) -> float:
    """Resident memory of this process in MB.

    Args:
        field: VmRSS is the current memory, VmHWM the peak since the start of the process.
    """
    # Not getrusage: its peak includes the memory of the process from which this one was forked.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise PianogenError(f"/proc/self/status has no {field}; this benchmark needs Linux")


def forget_cached(path: Path) -> None:
    """Removes a file from the page cache, so that the next read comes from the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)  # pages that are not on the disk yet cannot be removed from the cache
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
