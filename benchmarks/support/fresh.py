"""Work in a fresh process, which answers in JSON: what it has imported and used is its own, memory above all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pianogen.errors import PianogenError


def answer_of(module: str, *arguments: object) -> dict[str, Any]:
    """The JSON object in the last line that `python -m module arguments...` prints.

    Raises:
        PianogenError: it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise PianogenError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def memory_mb(field: str) -> float:
    """Resident memory of this process: VmRSS is now, VmHWM the most since it was started."""
    # Not getrusage, whose peak begins with that of the process this one was forked from.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise PianogenError(f"/proc/self/status has no {field}; this benchmark needs Linux")


def forget_cached(path: Path) -> None:
    """Takes a file out of the page cache, so that its next reader reads the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)  # what is not on disk yet cannot be dropped
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
