"""A page of commands and what they print, as documentation that a test executes.

A command is a line of an indented block that starts with `$ `. The lines below it are its output, and the last one is its exit
code if that is not 0:

    $ pianogen store info missing.h5
    InvalidStoreError: missing.h5 does not exist; give the path of a store …
    [exit code 2]
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import console

_INDENT = "    "
_PROMPT = f"{_INDENT}$ "
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def commands(page: Path) -> list[str]:
    """The command lines of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(_PROMPT) for line in lines if line.startswith(_PROMPT)]


def expected_output(page: Path, command: str) -> str:
    """The lines below a command."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"{_PROMPT}{command}\n")
    return "".join(f"{line.removeprefix(_INDENT)}\n" for line in _block(rest)).rstrip() + "\n"


def _block(text: str) -> Iterator[str]:
    """The lines up to the next command, or to the end of the indented block."""
    for line in text.splitlines():
        if line.startswith(_PROMPT) or (line and not line.startswith(_INDENT)):
            return
        yield line


def update(page: Path, outputs: dict[str, str]) -> None:
    """Replaces the outputs of a page; text and commands stay as they are."""
    text = page.read_text(encoding="utf-8")
    for command, output in outputs.items():
        head, _, rest = text.partition(f"{_PROMPT}{command}\n")
        old = "".join(f"{line}\n" for line in _block(rest))
        blank_lines = old[len(old.rstrip("\n")) + 1 :] if old.strip() else old
        lines = "".join(f"{_INDENT}{line}".rstrip() + "\n" for line in output.splitlines())
        text = f"{head}{_PROMPT}{command}\n{lines}{blank_lines}{rest[len(old) :]}"
    page.write_text(text, encoding="utf-8")


def run(line: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a command `pianogen` in this process.

    Returns:
        Its output, standard error below standard output, with the working directory as /data and times as TIME; and its exit
        code if that is not 0.
    """
    monkeypatch.setattr("sys.argv", shlex.split(line))
    capfd.readouterr()
    try:
        code = console.main()
    except SystemExit as exit_:  # --help
        code = int(exit_.code or 0)
    output = "".join(capfd.readouterr()).replace(str(Path.cwd()), "/data")
    end = f"[exit code {code}]\n" if code else ""
    return _TIME.sub("TIME", "".join(f"{line.rstrip()}\n" for line in output.splitlines())) + end
