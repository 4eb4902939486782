"""Fake Slurm programs, for tests of the calls and their order."""

import os
from pathlib import Path

import pytest


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, **scripts: str) -> None:
    """Puts shell scripts named like Slurm's programs first on PATH."""
    folder.mkdir(exist_ok=True)
    for program, script in scripts.items():
        (folder / program).write_text(f"#!/bin/bash\n{script}\n")
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
