"""The site's settings for the jobs of a sweep: the file that slurm/preprocess.sh reads too."""

import logging
import os
import shlex
import subprocess
from pathlib import Path

import jobs
from pianogen import atomic
from pianogen.errors import UsageError

_DEFAULT = Path(jobs.__file__).parents[1] / "slurm" / "site.sh"
_COPY = "site.sh"
SBATCH = "SBATCH_"  # the beginning of the variables that replace options of sbatch
_TIMEOUT_S = 60
_log = logging.getLogger(__name__)
_LOAD_MODULES = (
    "[[ -z ${PIANOGEN_MODULES:-} ]] || type module &>/dev/null || source /etc/profile\n"
    "[[ -z ${PIANOGEN_MODULES:-} ]] || module load $PIANOGEN_MODULES || exit 1"
)


def find() -> Path | None:
    """The file of site settings: $PIANOGEN_SITE, or slurm/site.sh of the checkout of this code; None if there is none.

    Raises:
        UsageError: $PIANOGEN_SITE names a file that does not exist.
    """
    configured = os.environ.get("PIANOGEN_SITE")
    path = Path(configured) if configured else _DEFAULT
    if path.is_file():
        return path.resolve()
    if configured:
        raise UsageError(f"PIANOGEN_SITE is {configured}, which does not exist; set it to the file of site settings, or unset it")
    return None


def exported(path: Path | None) -> dict[str, str]:
    """The variables that a file of site settings exports and that this process does not have, such as SBATCH_ACCOUNT.

    SBATCH_* variables of this process are ignored: they would change what a sweep requests from one shell to the next.

    Raises:
        UsageError: bash cannot read the file, or its lines end as on Windows.
    """
    if path is None:
        return {}
    if b"\r\n" in path.read_bytes():  # bash would take the carriage returns for parts of the values
        raise UsageError(f"the site settings {path} have line ends of Windows; convert the file, such as with dos2unix")
    script = 'source "$1" >&2 && exec env -0'
    own = {name: value for name, value in os.environ.items() if not name.startswith(SBATCH)}
    command = ["bash", "-c", script, "bash", str(path)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False, env=own)
    except subprocess.TimeoutExpired:
        raise UsageError(f"bash did not end reading the site settings {path} within {_TIMEOUT_S} s; correct the file") from None
    if done.returncode != 0 or not done.stdout:
        message = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise UsageError(f"bash cannot read the site settings {path}: {message}; correct the file")
    entries = done.stdout.decode(errors="surrogateescape").split("\0")
    variables = dict(entry.partition("=")[::2] for entry in entries if entry)
    return {name: value for name, value in variables.items() if name not in own and name != "_"}


def warn_of_ignored_variables() -> None:
    """Logs a warning that names the SBATCH_* variables of the user; sweeps ignore them.

    Raises:
        UsageError: bash cannot read the site settings.
    """
    of_site = exported(find())
    ignored = sorted(name for name, value in os.environ.items() if name.startswith(SBATCH) and of_site.get(name) != value)
    if ignored:
        _log.warning(
            "%s of the environment is ignored: only the sweep and the site settings state what jobs request; set slurm.account, "
            "slurm.partition or slurm.extra in the sweep, or export the variable in slurm/site.sh",
            ", ".join(ignored),
        )


def copy_to(folder: Path) -> None:
    """Copies the file into the folder of a submission, so that its jobs use the settings of the time of submission."""
    path = find()
    _log.info("site settings: %s", path or "none; this code is not in a checkout, and PIANOGEN_SITE is not set")
    if path:
        atomic.write_bytes(folder / _COPY, path.read_bytes())


def setup_lines(folder: Path) -> list[str]:
    """The shell commands with which a job reads the copy in the folder of its submission, before Python starts."""
    return [f"source {shlex.quote(str(folder / _COPY))} || exit 1", *_LOAD_MODULES.splitlines()] if find() else []
