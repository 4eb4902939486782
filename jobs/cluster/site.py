"""The site's settings for jobs of a sweep: the same file that slurm/preprocess.sh reads."""

import os
import shlex
import subprocess
from pathlib import Path

from pianogen import atomic
from pianogen.errors import UsageError

_STANDARD, _COPY = Path("slurm/site.sh"), "site.sh"
_MODULES = (
    "[[ -z ${PIANOGEN_MODULES:-} ]] || type module &>/dev/null || source /etc/profile\n"
    "[[ -z ${PIANOGEN_MODULES:-} ]] || module load $PIANOGEN_MODULES || exit 1"
)


def find() -> Path | None:
    """The file of site settings: $PIANOGEN_SITE, or slurm/site.sh below the folder the command runs in.

    Raises:
        UsageError: $PIANOGEN_SITE names a file that does not exist.
    """
    named = os.environ.get("PIANOGEN_SITE")
    path = Path(named) if named else _STANDARD
    if path.is_file():
        return path.resolve()
    if named:
        raise UsageError(f"PIANOGEN_SITE names {named}, and there is no such file; name the file of site settings, or unset it")
    return None


def exported(site: Path | None) -> dict[str, str]:
    """The variables that the file exports and this process does not have, such as SBATCH_ACCOUNT.

    Raises:
        UsageError: bash cannot read it.
    """
    if site is None:
        return {}
    read = subprocess.run(
        ["bash", "-c", 'source "$1" >&2 && exec env -0', "bash", site], capture_output=True, timeout=60, check=False
    )
    if read.returncode != 0:
        message = read.stderr.decode(errors="replace").strip()
        raise UsageError(f"{site} cannot be read by bash: {message or f'exit code {read.returncode}'}; correct it")
    found = dict(entry.partition("=")[::2] for entry in read.stdout.decode(errors="surrogateescape").split("\0") if entry)
    return {name: value for name, value in found.items() if name not in os.environ and name != "_"}


def copy_to(folder: Path) -> None:
    """Keeps the file as it is now for the jobs of a submission."""
    if site := find():
        atomic.write_bytes(folder / _COPY, site.read_bytes())


def setup_lines(folder: Path) -> list[str]:
    """What the shell of a job does before Python starts: it reads the copy in the folder of its submission."""
    return [f"source {shlex.quote(str(folder / _COPY))} || exit 1", *_MODULES.splitlines()] if find() else []
