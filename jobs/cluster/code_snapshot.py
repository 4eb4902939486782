"""A snapshot of the code beside the sweep, so that jobs run the code that was submitted while the checkout changes.

A job imports the snapshot through PYTHONPATH, with PYTHONSAFEPATH so that its working directory does not come first. The name
of a snapshot is the hash of its content: submissions of equal code share one.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import jobs
import pianogen
from pianogen import atomic
from pianogen.command import counted

_PACKAGES = (pianogen, jobs)
_log = logging.getLogger(__name__)


def take(folder: Path) -> Path:
    """Copies the packages that jobs import into a folder below `folder`, and returns the path of that folder.

    Hidden files are left out: they belong to editors and file systems (.swp, .nfs), change, and may be unreadable for this user.
    Files that an existing snapshot has lost, such as on a scratch file system, are restored: queued jobs need them too.
    """
    roots = [Path(str(package.__file__)).parent for package in _PACKAGES]
    content = {
        Path(root.name) / path.relative_to(root): path.read_bytes()
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(root).parts)
    }
    digest = hashlib.sha256()
    for name, data in sorted(content.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    snapshot = folder / f"code-{digest.hexdigest()[:12]}"
    if not snapshot.is_dir():
        _create(snapshot, content)
    elif damaged := {name: data for name, data in content.items() if not _has_content(snapshot / name, data)}:
        _log.warning("%s had lost or changed %s; they are restored", snapshot, counted(len(damaged), "file"))
        for name, data in damaged.items():
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(snapshot / name, data)  # a running job may import the file
    return snapshot


def _create(snapshot: Path, content: Mapping[Path, bytes]) -> None:
    temporary = snapshot.with_name(f"{snapshot.name}.tmp-{os.getpid()}")
    for name, data in content.items():
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).write_bytes(data)
    try:
        temporary.rename(snapshot)
    except OSError:  # another submission was faster
        shutil.rmtree(temporary)


def _has_content(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def variables(snapshot: Path) -> dict[str, str]:
    """The environment variables with which Python imports a snapshot before any other copy of the code."""
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{snapshot}:{before}" if before else str(snapshot), "PYTHONSAFEPATH": "1"}
