"""What submit shows and reports of the smoke test, here a shell script."""

import logging
import sys
from pathlib import Path

import pytest

from jobs.configuration.run_config import RunConfig
from jobs.execution import preflight, smoke_test
from pianogen.errors import UsageError

STEPS = """echo 'a greeting of the start of Python'
exec 5> /dev/fd/$6
echo '["model", "1 of 2: base"]' >&5
echo 'a warning' >&2
echo '["one iteration and one sample", ""]' >&5
"""


def run_smoke_test(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{STEPS}{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    preflight.smoke_test_runs("local", folder / "corpus.h5", None, [RunConfig(device="cpu")])


def test_steps_are_shown_as_they_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_smoke_test("exit 0", tmp_path, monkeypatch)
    assert caplog.messages == [
        "check: start of the smoke test",
        "check: model 1 of 2: base",
        "check: one iteration and one sample",
    ]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f"""echo '["{smoke_test.ERROR}", "the batch is large"]' >&5; exit {smoke_test.INVALID}""", "the batch is large$"),
        (
            "echo 'ValueError: no layer' >&2; exit 1",
            "the smoke test of one iteration and one sample failed: ValueError: no layer; ",
        ),
        ("kill -9 $$", "was killed, perhaps out of memory"),
        ("kill -XCPU $$", r"by a limit of CPU time \(ulimit -t\)"),
        ("exec 2> /dev/null; kill -15 $$", "failed: a warning; "),
    ],
)
def test_reason_of_a_failed_smoke_test_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_smoke_test(script, tmp_path, monkeypatch)
