"""The code a job runs is the code that was submitted: a copy of the packages beside the sweep, named by its content.

A job finds the copy through PYTHONPATH, with PYTHONSAFEPATH so that no folder it happens to start in comes before it; the
checkout may change while the sweep waits. Attempts of one submission share its copy, and equal code is copied once.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jobs
import pianogen

_PACKAGES = (pianogen, jobs)


def take(folder: Path) -> Path:
    """Copies the packages that jobs import to a folder below `folder`; its path."""
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
    target = folder / f"code-{digest.hexdigest()[:12]}"
    if target.is_dir():
        return target
    temporary = folder / f"{target.name}.tmp-{os.getpid()}"
    for name, path in files:
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, temporary / name)
    try:
        temporary.rename(target)
    except OSError:  # another submission has made it meanwhile
        shutil.rmtree(temporary)
    return target


def environment(code: Path) -> dict[str, str]:
    """The variables under which a Python finds this copy before any other."""
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{code}:{before}" if before else str(code), "PYTHONSAFEPATH": "1"}


@contextmanager
def used_by_children(code: Path) -> Iterator[None]:
    """Processes started inside find this copy."""
    before = dict(os.environ)
    os.environ.update(environment(code))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
