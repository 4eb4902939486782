"""Slurm's client programs, such as squeue and scontrol, and their errors."""

import subprocess
from collections.abc import Sequence

from pianogen.errors import PianogenError

_TIMEOUT_S = 60


class SlurmError(PianogenError):
    """Slurm does not respond."""


def run(command: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a client program to its end.

    Raises:
        SlurmError: the program is not installed, or the controller does not respond in time.
    """
    try:
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise SlurmError(
            f"{command[0]} is not installed on this machine; run this command on a login node of the cluster"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not respond within {_TIMEOUT_S} s; retry when Slurm responds") from None


def checked(command: Sequence[str]) -> str:
    """The standard output of a client program.

    Raises:
        SlurmError: the program failed, or as `run`.
    """
    done = run(command)
    if done.returncode != 0:
        raise SlurmError(f"{' '.join(command)[:200]} failed: {error_text(done.stderr)}; retry when Slurm responds")
    return done.stdout


def error_text(stderr: str) -> str:
    """The error messages of a client program on one line."""
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines) or "no error message"
