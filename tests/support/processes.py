"""Real processes for the tests: commands of this package with and without MPI, and the state of processes."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# From the benchmarks, which measure the same processes and must not import the tests.
from benchmarks.support.process_tree import descendants as descendants
from benchmarks.support.process_tree import mpi_rank as mpi_rank
from benchmarks.support.process_tree import state_and_parent
from tests.support.paths import ROOT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "mpiexec"
NO_SMALL_DISK = "this user cannot mount a small disk; that requires root outside of a container"
POLL_S = 0.25  # for conditions that start a program
_TIMEOUT_S = 120


def mpi_command(ranks: int, *arguments: object) -> list[str]:
    """The command line of a Python program under MPI; 0 ranks is one process without mpiexec."""
    launcher = [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py"] if ranks else [sys.executable]
    return [*launcher, *(os.fsdecode(argument if isinstance(argument, bytes) else str(argument)) for argument in arguments)]


def preprocess_command(ranks: int, *arguments: object) -> list[str]:
    """The command line of preprocessing; 0 ranks is one process without mpiexec."""
    return mpi_command(ranks, "-m", "preprocess", *arguments)


def finished(
    command: Sequence[str], folder: Path | None = None, timeout_s: float = _TIMEOUT_S, /, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """The result of a command after it has ended."""
    return subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=timeout_s,
    )


def started(command: Sequence[str]) -> "subprocess.Popen[str]":
    """A running command in its own process group."""
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_restore_signals,
    )


def _restore_signals() -> None:
    """Signals that the process of the tests ignores, such as SIGHUP under nohup, must reach the command."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def may_mount() -> bool:
    """Whether this user may mount a small disk in a mount namespace."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


def on_small_disk(folder: Path, size: str, script: str) -> list[str]:
    """The command line of a shell script for which a small disk is mounted at a folder."""
    return ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size={size} none {shlex.quote(str(folder))} && {script}"]


def wait_until(condition: Callable[[], bool], description: str, timeout_s: float = _TIMEOUT_S, interval_s: float = 0.02) -> None:
    """Waits until a condition holds; fails after a time that no working program needs.

    Args:
        interval_s: between two evaluations; longer for a condition that starts a program, so that waiting leaves the processors
            to the other tests.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {timeout_s:.0f} s: {description}"
        time.sleep(interval_s)


def has_ended(pid: int) -> bool:
    """Whether a process has ended; its parent may not have waited for it yet."""
    return state_and_parent(pid)[0] in "ZX"
