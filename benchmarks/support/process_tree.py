"""The processes below another one, from /proc; the tests use these functions too."""

from collections import defaultdict
from pathlib import Path


def state_and_parent(pid: int) -> tuple[str, int]:
    """The state letter and the parent of a process (proc_pid_stat(5)); X and 0 if there is no such process."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except OSError:
        return "X", 0
    return state, int(parent)


def descendants(pid: int) -> list[int]:
    """The live processes below a process, nearest first."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*"):
        state, parent = state_and_parent(int(path.name))
        if state not in "ZX":
            children[parent].append(int(path.name))
    pids = [pid]
    for current in pids:  # the list grows while it is iterated over
        pids += children[current]
    return pids[1:]


def mpi_rank(pid: int) -> int | None:
    """The rank that MPICH's launcher gave to a process or to the process it was forked from, None for other processes."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((int(variable.removeprefix(b"PMI_RANK=")) for variable in variables if variable.startswith(b"PMI_RANK=")), None)
