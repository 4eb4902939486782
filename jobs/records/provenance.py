"""Where a run comes from: the code, the versions and the store it was submitted with."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pianogen
from pianogen.store import Store

_PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "h5py", "music21", "submitit")


def describe(store: Store) -> dict[str, Any]:
    """What provenance.json says of a run before its first attempt."""
    return {
        "store": {"path": str(store.path.resolve()), "fingerprint": store.fingerprint},
        "command": sys.argv,
        "git": _git(),
        "versions": {"pianogen": pianogen.__version__, "python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return found


def _git() -> dict[str, str] | None:
    """Commit and uncommitted changes of the code, None where it is not run from a checkout."""
    folder = Path(pianogen.__file__).parent
    try:
        commit, diff = (
            subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True, errors="replace", check=True).stdout
            for command in (["rev-parse", "HEAD"], ["diff", "HEAD"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.strip(), "diff": diff}
