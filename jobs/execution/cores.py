"""The cores that this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def num_cores(root: Path = Path("/")) -> int:
    """The number of cores that this process may use: by its affinity (`taskset`) and by the CPU quotas of its cgroups.

    Containers have such quotas (`docker --cpus`, Kubernetes). A part of a core counts as a core.

    Args:
        root: the folder that contains proc and sys.
    """
    return math.ceil(min([len(os.sched_getaffinity(0)), *map(_quota, _cgroups(root))]))


def _cgroups(root: Path) -> Iterator[Path]:
    """The folders of the cgroups of this process and of their parents, which limit it too."""
    record = root / "proc" / "self" / "cgroup"
    for line in record.read_text().splitlines() if record.is_file() else ():
        _, controllers, name = line.split(":", 2)  # version 2 has no names of controllers
        if not controllers or "cpu" in controllers.split(","):
            path = PurePosixPath(name.lstrip("/"))
            top = root / "sys" / "fs" / "cgroup" / ("cpu" if controllers else "")  # in a container, perhaps its own cgroup
            yield from (top / folder for folder in (path, *path.parents))


def _quota(cgroup: Path) -> float:
    """The CPU quota of a cgroup in cores; infinite without one."""
    is_version_2 = (cgroup / "cpu.max").is_file()
    try:
        files = ["cpu.max"] if is_version_2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        quota, period = " ".join((cgroup / name).read_text() for name in files).split()
    except OSError:
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)
