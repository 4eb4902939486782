"""Commands whose standard streams are closed, or lose their reader, do their work."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PROGRAM = """
import os, sys
from pathlib import Path
from pianogen import command, streams

def main(arguments):
    for line in range(50_000):
        print("line", line)
    print("error", file=sys.stderr)
    sys.stdin.read()
    descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    assert descriptor > 2
    os.write(descriptor, str(streams.is_output_read()).encode())
    return 0

sys.exit(command.run(main))
"""


def run(script: str, path: Path) -> "subprocess.CompletedProcess[str]":
    """The result of a shell script in which PROGRAM stands for the command."""
    command = script.replace("PROGRAM", f"'{sys.executable}' -c \"$CODE\" '{path}'")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=os.environ | {"CODE": PROGRAM}, cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >/dev/null", "<&- >&- 2>&-"])
def test_closed_streams_are_the_null_device(tmp_path: Path, redirection: str) -> None:
    done = run(f"PROGRAM {redirection}", tmp_path / "written")
    assert (done.returncode, (tmp_path / "written").read_text()) == (0, "True")
    assert done.stderr == ("" if "2>&-" in redirection else "error\n")


def test_pipe_without_a_reader_does_not_end_the_work(tmp_path: Path) -> None:
    done = run("PROGRAM </dev/null | head -n 1", tmp_path / "written")
    assert (done.returncode, done.stdout, done.stderr) == (0, "line 0\n", "error\n")
    assert (tmp_path / "written").read_text() == "False"


@pytest.mark.parametrize("arguments", ["sweep options", "sweep options training"])
def test_output_to_a_full_disk_is_an_error(arguments: str) -> None:
    """Also output that fits into the buffer, which is written at the end."""
    command = f"'{sys.executable}' -m jobs.console {arguments} > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("OSError: ")
    assert "No space left on device" in line


def test_closed_terminal_does_not_end_the_work(tmp_path: Path) -> None:
    terminal, other = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "written")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=other, stderr=other, cwd=ROOT) as process:
        os.close(other)
        os.read(terminal, 4)
        os.close(terminal)
    assert process.returncode == 0
    assert (tmp_path / "written").read_text() == "False"
