"""A snapshot of the code beside the sweep, so that jobs run the code that was submitted while the checkout changes.

A job imports the snapshot through PYTHONPATH, with PYTHONSAFEPATH so that its working directory does not come first. The name
of a snapshot is the hash of its content: submissions of equal code share one.
"""

import hashlib
import os
import shutil
from pathlib import Path

import jobs
import pianogen

_PACKAGES = (pianogen, jobs)


def take(folder: Path) -> Path:
    """Copies the packages that jobs import into a folder below `folder`, and returns the path of that folder."""
    roots = [Path(str(package.__file__)).parent for package in _PACKAGES]
    files = sorted(
        (Path(root.name) / path.relative_to(root), path)
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    snapshot = folder / f"code-{digest.hexdigest()[:12]}"
    if snapshot.is_dir():
        return snapshot
    temporary = folder / f"{snapshot.name}.tmp-{os.getpid()}"
    for name, path in files:
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, temporary / name)
    try:
        temporary.rename(snapshot)
    except OSError:  # another submission was faster
        shutil.rmtree(temporary)
    return snapshot


def variables(snapshot: Path) -> dict[str, str]:
    """The environment variables with which Python imports a snapshot before any other copy of the code."""
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{snapshot}:{before}" if before else str(snapshot), "PYTHONSAFEPATH": "1"}
