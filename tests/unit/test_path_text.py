"""Paths that jobs cannot use are refused; test_slurm_sweep.py runs a sweep below a path with all other characters."""

import string
from pathlib import Path

import pytest

from jobs.cluster import path_text
from pianogen.errors import UsageError

USABLE = "".join(sorted(set(string.printable) - set(string.whitespace) - set("/:%\\"))) + " \té音"


def test_usable_characters_are_accepted() -> None:
    path_text.check([Path("/data") / USABLE])


@pytest.mark.parametrize("character", [":", "%", "\\", "\n", "\r", "\x1b", "\x7f", "\udcff"])
def test_other_characters_are_refused(character: str) -> None:
    with pytest.raises(UsageError, match="rename this folder or file"):
        path_text.check([Path("/data/runs"), Path(f"/data/a{character}b/runs")])
