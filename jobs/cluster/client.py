"""Slurm's client programs, such as squeue and scontrol, and their errors.

Some sites have these programs print more lines than those of the answer, such as a greeting, and some versions print the name of
the cluster that SLURM_CLUSTERS selects. Parsers ignore lines that do not have the form of the answer.
"""

import os
import re
import subprocess
from collections.abc import Sequence

from pianogen.errors import PianogenError

_TIMEOUT_S = 60
# Variables with which a user changes the filters, the columns and the order of the answers.
_USER_PREFIXES = ("SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_")
_USER_VARIABLES = ("SLURM_BITSTR_LEN", "SLURM_TIME_FORMAT")


class SlurmError(PianogenError):
    """Slurm does not respond."""


def run(command: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a client program to its end; variables of the user do not change its answer.

    Raises:
        SlurmError: the program is not installed, or the controller does not respond in time.
    """
    environment = {name: value for name, value in os.environ.items() if not is_of_user(name)}
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        raise SlurmError(
            f"{command[0]} is not installed on this machine; run this command on a login node of the cluster"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not respond within {_TIMEOUT_S} s; retry when Slurm responds") from None


def is_of_user(variable: str) -> bool:
    """Whether a variable of the environment changes the answers of squeue, sacct, sinfo or scontrol."""
    return variable.startswith(_USER_PREFIXES) or variable in _USER_VARIABLES


def cluster_name() -> str:
    """The name of the cluster that the client programs use.

    Raises:
        SlurmError: Slurm does not respond.
    """
    shown = re.search(r"^ClusterName\s*=\s*(\S+)", checked(["scontrol", "show", "config"]), re.MULTILINE)
    return shown.group(1) if shown else ""


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
