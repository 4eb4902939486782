"""Real processes for the tests: commands of this package, with and without MPI, and who is still alive."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.paths import ROOT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "mpiexec"
NO_SMALL_DISK = "a small disk cannot be mounted here; it takes root outside a container"
_DEADLINE_S = 120


def preprocess_command(ranks: int, *arguments: object) -> list[str]:
    """The command line of preprocessing; 0 ranks is one process without mpiexec."""
    launcher = [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py"] if ranks else [sys.executable]
    return [*launcher, "-m", "preprocess", *map(os.fsdecode, map(_as_path, arguments))]


def finished(command: Sequence[str], folder: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command, run to its end."""
    return subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=_DEADLINE_S,
    )


def started(command: Sequence[str]) -> "subprocess.Popen[str]":
    """A command in a process group of its own, going on."""
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def may_mount() -> bool:
    """Whether this user may mount a small disk of their own."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


def on_small_disk(folder: Path, size: str, script: str) -> list[str]:
    """The command line of a shell script that sees a small disk at a folder."""
    return ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size={size} none {shlex.quote(str(folder))} && {script}"]


def wait_until(condition: Callable[[], bool], description: str, timeout_s: float = _DEADLINE_S) -> None:
    """Waits until a condition holds; fails after a time that no working program needs."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {timeout_s:.0f} s: {description}"
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or dead and waiting for its parent to take note."""
    return _state_and_parent(pid)[0] in "ZX"


def descendants(pid: int) -> list[int]:
    """Living processes below this one, nearest first."""
    parents = {int(path.name): _state_and_parent(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found, at = [pid], 0
    while at < len(found):
        found += [child for child, (state, parent) in parents.items() if parent == found[at] and state not in "ZX"]
        at += 1
    return found[1:]


def mpi_rank(pid: int) -> int | None:
    """The rank that the launcher gave to a process or to the process it was forked from."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((int(each.removeprefix(b"PMI_RANK=")) for each in variables if each.startswith(b"PMI_RANK=")), None)


def _state_and_parent(pid: int) -> tuple[str, int]:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except OSError:
        return "X", 0
    return state, int(parent)


def _as_path(argument: object) -> str | bytes:
    return argument if isinstance(argument, str | bytes) else str(argument)
