"""What all commands share: exit codes, and counted nouns."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs import sweep
from pianogen import command
from pianogen.command import counted
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.paths import ROOT

# A hook that hides TensorFlow, as in an environment without the extra.
_HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.parametrize(
    ("number", "code", "action"),
    [
        (errno.ENOENT, 2, "correct the path"),
        (errno.ENOTDIR, 2, "correct the path"),
        (errno.EISDIR, 2, "correct the path"),
        (errno.EACCES, 2, "choose another path, or change its permissions"),
        (errno.EROFS, 2, "choose another path, or change its permissions"),
        (errno.ENOSPC, 1, "free disk space, and run the same command again to resume"),
        (errno.EDQUOT, 1, "free disk space, and run the same command again to resume"),
        (errno.EIO, 1, "run the same command again to resume when the cause is removed"),
    ],
)
def test_errors_of_paths_are_invalid_arguments_and_a_full_disk_is_failed_work(
    number: int, code: int, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(arguments: Sequence[str]) -> int:
        raise OSError(number, os.strerror(number), arguments[0])

    assert command.run(main, ["runs/quick"]) == code
    assert capsys.readouterr().err.endswith(f": {os.strerror(number)}: runs/quick; {action}\n")


def test_removed_working_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "removed").mkdir()
    monkeypatch.chdir(tmp_path / "removed")
    (tmp_path / "removed").rmdir()
    assert command.run(lambda arguments: int(bool(Path(arguments[0]).absolute())), ["runs/quick"]) == 2
    assert "the working directory was removed: change to another folder" in capsys.readouterr().err


def test_link_to_itself_is_an_invalid_path(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert command.run(sweep.main, ["status", str(tmp_path / "loop")]) == 2


def test_counted_nouns() -> None:
    assert [counted(1, "run"), counted(2, "run"), counted(0, "process"), counted(1_000, "suffix")] == [
        "1 run",
        "2 runs",
        "0 processes",
        "1,000 suffixes",
    ]
    assert [counted(1, "input", "were"), counted(2, "job", "are")] == ["1 input was", "2 jobs are"]


@pytest.mark.parametrize("smoke_test", [[], ["--no-check-models"]], ids=["with_smoke_test", "without_smoke_test"])
def test_submission_without_tensorflow_is_one_message_that_names_the_extra(tmp_path: Path, smoke_test: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(_HIDDEN)
    (tmp_path / "small.yaml").write_text("device: cpu\ngrid: {model.name: [base, gru]}\n")
    made_store(tmp_path / "corpus.h5", [Split.TRAIN])
    options = ["--store", "corpus.h5", "--out", "runs", "--cluster", "local", *smoke_test]
    command_line = [sys.executable, "-m", "jobs.sweep", "submit", "small.yaml", *options]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(command_line, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if " INFO " not in line)
    assert line.startswith("UsageError: training and sampling need tensorflow, which is not installed; ")
    assert "pip install '.[cpu]'" in line
    assert not (tmp_path / "runs").exists()
