"""The display of the jobs of this machine: a table on a terminal, plain lines in a log."""

import json
import logging
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jobs.execution import job_display
from jobs.execution.job_display import JobDisplay
from pianogen import progress
from pianogen.progress import Progress, ProgressRecord, TrainingFigures
from tests.support.paths import PROGRAMS
from tests.support.processes import finished
from tests.support.terminal import ESCAPE, run_in_terminal

FIGURES = TrainingFigures(epoch=3, num_epochs=10, loss=0.5, valid_loss=0.25)
RECORD = ProgressRecord(done=30, total=100, rate=35, remaining_s=150, note=str(FIGURES), has_ended=False, figures=FIGURES)
LINES = [
    "INFO check: model 2 of 3: gru",
    "INFO 0000-[base]: started",
    "INFO 0000-[base]: epoch 3 of 10, loss 0.5, valid loss 0.25, 35 iterations/s, 2 min remaining",
    "INFO 0000-[base]: done, epoch 3 of 10, loss 0.5, valid loss 0.25",
    "INFO 0001-gru: started",
    "ERROR 0001-gru: ValueError: no space left",
]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs; the first one has a record. Brackets are markup for the library that prints the table."""
    runs = [tmp_path / "0000-[base]", tmp_path / "0001-gru"]
    for run in runs:
        (run / "log").mkdir(parents=True)
    write(runs[0], RECORD)
    return runs


def write(run: Path, record: ProgressRecord) -> None:
    (run / "log" / "progress.json").write_text(json.dumps(asdict(record)))


def command(runs: list[Path]) -> list[str]:
    return [sys.executable, str(PROGRAMS / "display_jobs.py"), *map(str, runs)]


def without_times(text: str) -> list[str]:
    return [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in text.splitlines()]


def test_terminal_shows_a_table_in_place(runs: list[Path]) -> None:
    session = run_in_terminal(command(runs))
    assert session.returncode == 0
    assert f"{ESCAPE}[2K" in session.output, "nothing is erased"
    assert "check: model 2 of 3: gru" in session.text
    assert re.search(r"train \S+ 0/2 jobs .* 1 running, 1 waiting", session.text)
    assert re.search(r"^run +epoch +loss +valid loss +iterations/s", session.text, re.MULTILINE)
    assert re.search(r"^0000-\[base\] +3 of 10 +0\.5 +0\.25 +35 +2 min remaining", session.text, re.MULTILINE)
    assert re.search(r"train \S+ 2/2 jobs .* 1 failed", session.text.rstrip().splitlines()[-1])
    assert LINES[3] in session.text
    assert LINES[5] in session.text


@pytest.mark.parametrize("terminal", ["", "dumb"], ids=["pipe", "dumb"])
def test_log_has_plain_lines(runs: list[Path], terminal: str) -> None:
    output = run_in_terminal(command(runs), terminal).output if terminal else finished(command(runs)).stderr
    assert ESCAPE not in output
    *lines, last = without_times(output)
    assert lines == LINES
    assert re.fullmatch(r"INFO train: 2 of 2 jobs, .*/s, 1 failed", last)


def test_run_whose_rate_is_not_known_is_shown_without_it(runs: list[Path]) -> None:
    write(runs[0], replace(RECORD, rate=None, remaining_s=None))
    assert "INFO 0000-[base]: epoch 3 of 10, loss 0.5, valid loss 0.25" in without_times(finished(command(runs)).stderr)
    assert re.search(r"^0000-\[base\] +3 of 10 +0\.5 +0\.25 *\r", run_in_terminal(command(runs)).text, re.MULTILINE)


def test_log_has_a_line_for_each_epoch_at_intervals(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(job_display, "REFRESH_S", 0)
    with caplog.at_level(logging.INFO), Progress("train", 2, "jobs") as jobs:
        display = JobDisplay("train", jobs)
        for interval_s, epoch in ((0, 1), (0, 1), (0, 2), (3600, 3), (0, 4)):
            monkeypatch.setattr(progress, "LINE_INTERVAL_S", interval_s)
            write(runs[0], replace(RECORD, figures=replace(FIGURES, epoch=epoch)))
            display.refresh(list(map(str, runs)), num_waiting=0)
    epochs = [re.match(r"0000-\[base\]: epoch (\d) of 10", message) for message in caplog.messages]
    assert [match[1] for match in epochs if match] == ["1", "2", "4"]


def test_progress_of_the_attempt_before_is_not_shown(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(job_display, "REFRESH_S", 0)
    with caplog.at_level(logging.INFO), Progress("train", 1, "jobs") as jobs:
        display = JobDisplay("train", jobs)
        display.start(str(runs[0]))
        display.refresh([str(runs[0])], num_waiting=0)
        assert caplog.messages == ["0000-[base]: started"]


def test_jobs_that_do_not_train_are_only_counted(runs: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("decode", 1, "jobs") as jobs:
        display = JobDisplay("decode", jobs)
        display.start(str(runs[0]))
        display.refresh([str(runs[0])], num_waiting=0)
        display.end(str(runs[0]), None, num_running=0, num_waiting=0)
    (line,) = caplog.messages
    assert line.startswith("decode: 1 of 1 jobs, ")
