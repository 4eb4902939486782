"""The characters that the paths of jobs may contain."""

from collections.abc import Iterable
from pathlib import Path

from pianogen.errors import UsageError

# Each of these characters makes a job fail at its start: PYTHONPATH is separated by colons, and sbatch replaces % and drops \\ in
# the names of logs. All other printable characters are quoted where necessary; the Slurm tests use each of them.
_UNUSABLE = ":%\\"


def check(paths: Iterable[Path]) -> None:
    """Refuses paths that a job script, PYTHONPATH or the name of a log cannot hold.

    Raises:
        UsageError: a path has such a character, a control character other than a tab, or bytes that are not valid UTF-8.
    """
    for path in paths:
        for character in str(path):
            is_control = ord(character) < 32 and character != "\t"
            if character in _UNUSABLE or is_control or "\udc80" <= character <= "\udcff" or character == "\x7f":
                raise UsageError(
                    f"{str(path)!r} contains {character!r}, which job scripts, PYTHONPATH and the names of logs cannot hold; "
                    "rename this folder or file"
                )
