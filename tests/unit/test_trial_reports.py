"""What submit shows and reports of the process that tries the models, which a shell script stands in for."""

import logging
import sys
from pathlib import Path

import pytest

from jobs.configuration.run_config import RunConfig
from jobs.execution import preflight, trial
from pianogen.errors import UsageError

STEPS = """echo '["model", "1 of 2: base"]'
echo 'a warning' >&2
echo '["run in miniature", ""]'
"""


def try_with(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{STEPS}{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    preflight.try_runs("local", folder / "corpus.h5", None, [RunConfig(device="cpu")])


def test_steps_are_shown_as_they_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        try_with("exit 0", tmp_path, monkeypatch)
    assert caplog.messages == ["check: start of the trial process", "check: model 1 of 2: base", "check: run in miniature"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f"""echo '["{trial.ERROR}", "the batch is too large"]'; exit {trial.INVALID}""", "the batch is too large$"),
        ("echo 'ValueError: no layer' >&2; exit 1", "a trial run of one iteration and one sample failed: ValueError: no layer; "),
        ("kill -9 $$", "was killed, perhaps out of memory"),
        ("exec 2> /dev/null; kill -15 $$", "failed: a warning; "),
    ],
)
def test_reason_of_a_failed_trial_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        try_with(script, tmp_path, monkeypatch)
