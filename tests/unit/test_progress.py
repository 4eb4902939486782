"""Progress as log lines and as a record that other processes read; the polling loop."""

import logging
import time
from pathlib import Path

import pytest

from pianogen import progress
from pianogen.polling import wait_until
from pianogen.progress import Progress, ProgressRecord, Stages, TrainingFigures, read_progress


@pytest.fixture(autouse=True)
def record_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "RECORD_INTERVAL_S", 0)


def test_record_reaches_the_reader_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "log" / "progress.json"
    with Progress("training", 100, "iterations", done=40, record=path) as bar:
        assert read_progress(path) is None
        bar.advance(4, "loss 0.75")
        assert read_progress(path) == ProgressRecord(44, 100, None, None, "loss 0.75", has_ended=False)
        bar.advance(6, "loss 0.5")
        record = read_progress(path)
        assert record is not None
        assert (record.done, record.total, record.note, record.has_ended) == (50, 100, "loss 0.5", False)
        assert record.rate is not None
        assert record.rate > 0
        assert record.remaining_s == pytest.approx(50 / record.rate, rel=0.5)
        bar.advance(50)
    record = read_progress(path)
    assert record is not None
    assert record == ProgressRecord(100, 100, record.rate, remaining_s=0, note="", has_ended=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["progress.json"]


def test_rate_is_measured_without_the_first_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path = tmp_path / "progress.json"
    with Progress("training", 1000, "iterations", done=200, record=path) as bar:
        now += 40  # a compilation
        bar.advance(8)
        first = read_progress(path)
        now += 2
        bar.advance(16)
        now += 2
        bar.advance(16)
    last = read_progress(path)
    assert first is not None
    assert last is not None
    assert (first.rate, first.rate_text, first.remaining) == (None, "", "")
    assert (last.rate, last.rate_text) == (32 / 4, "8")


def test_rate_of_work_that_ends_at_once_includes_the_first_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path = tmp_path / "progress.json"
    with Progress("training", 8, "iterations", record=path) as bar:
        now += 40
        bar.advance(8)
    record = read_progress(path)
    assert record is not None
    assert (record.rate, record.remaining_s, record.has_ended) == (8 / 40, 0, True)


def test_figures_of_a_training_reach_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    figures = TrainingFigures(epoch=3, num_epochs=10, loss=0.51234, valid_loss=0.25)
    with Progress("training", 100, "iterations", record=path) as bar:
        bar.advance(10, figures)
        record = read_progress(path)
    assert record is not None
    assert (record.figures, record.note) == (figures, "epoch 3 of 10, loss 0.5123, valid loss 0.25")
    assert str(TrainingFigures(1, 10, 0.5)) == "epoch 1 of 10, loss 0.5"


@pytest.mark.parametrize("content", ["[]", "{}", '{"figures": 3}', '{"done": 1, "figures": {"epoch": 1}}'])
def test_record_of_another_format_is_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "progress.json"
    path.write_text(content)
    assert read_progress(path) is None


@pytest.mark.parametrize(
    ("remaining_s", "text"),
    [(0.4, "0 s remaining"), (119.4, "119 s remaining"), (120, "2 min remaining"), (86_400, "1,440 min remaining")],
)
def test_remaining_time_is_in_seconds_or_minutes(remaining_s: float, text: str) -> None:
    assert ProgressRecord(1, 2, 1.0, remaining_s, "", has_ended=False).remaining == text


@pytest.mark.parametrize("name", ["progress.json", "progress.json.tmp"])
def test_record_that_cannot_be_written_does_not_stop_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (tmp_path / name / "in the way").mkdir(parents=True)
    with Progress("training", 2, "iterations", record=tmp_path / "progress.json") as bar:
        bar.advance(1)
        bar.advance(1)
    assert caplog.text.count("progress.json was not written") == 1
    assert read_progress(tmp_path / "progress.json") is None


def test_record_of_failed_work_has_not_ended(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"

    def fail() -> None:
        with Progress("training", 2, "iterations", record=path) as bar:
            bar.advance(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    record = read_progress(path)
    assert record is not None
    assert not record.has_ended


def test_lines_show_counts_rate_and_note(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0)
    with caplog.at_level(logging.INFO), Progress("training", 2000, "iterations") as bar:
        bar.advance(500, "loss 0.75")
        bar.advance(1000, "loss 0.5")
        bar.advance(500)
    first, second, last = caplog.messages
    assert first == "training: 500 of 2,000 iterations, loss 0.75", "the rate is not known yet"
    assert second.startswith("training: 1,500 of 2,000 iterations, ")
    assert second.endswith(" s remaining, loss 0.5")
    assert last.startswith("training: 2,000 of 2,000 iterations, ")
    assert "remaining" not in last


def test_last_line_shows_the_end_whatever_the_interval(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("decoding", 2, "samples") as bar:
        bar.advance(1)
        bar.advance(1)
    (line,) = caplog.messages
    assert line.startswith("decoding: 2 of 2 samples, ")


def test_log_has_a_line_for_each_step_and_for_its_details_at_intervals(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), Stages("check") as stages:
        stages.show("store")
        stages.show("model", "1 of 3: base")
        stages.show("model", "2 of 3: gru")
        monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0)
        stages.show("model", "3 of 3: rnn")
    assert caplog.messages == ["check: store", "check: model 1 of 3: base", "check: model 3 of 3: rnn"]


def test_polling_returns_true_as_soon_as_the_condition_holds() -> None:
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), timeout_s=60, interval_s=0)
    assert list(answers) == []


def test_polling_returns_false_after_the_timeout() -> None:
    num_polls = 0

    def never() -> bool:
        nonlocal num_polls
        num_polls += 1
        return False

    began_s = time.monotonic()
    assert not wait_until(never, timeout_s=0.05, interval_s=0.01)
    assert time.monotonic() - began_s >= 0.05
    assert num_polls >= 2


def test_polling_with_a_timeout_of_zero_polls_once() -> None:
    assert wait_until(lambda: True, timeout_s=0, interval_s=60)
