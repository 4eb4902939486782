"""Log lines carry the time and the level, go to standard error, and child processes inherit --verbose."""

import logging
import os
import re
from collections.abc import Iterator

import pytest

from pianogen import logs

PACKAGES = ("pianogen", "preprocess", "jobs")


@pytest.fixture(autouse=True)
def restored_state() -> Iterator[None]:
    """Undoes what `configure` changes in this process."""
    environment = dict(os.environ)
    os.environ.pop(logs.VERBOSE, None)
    yield
    os.environ.clear()
    os.environ.update(environment)
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("name", ["pianogen.training.loop", "preprocess", "jobs.sweep"])
def test_line_has_time_level_and_message(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger(name).warning("2 of 3 nodes are down")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING 2 of 3 nodes are down\n", err)


def test_second_configuration_does_not_repeat_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.configure()
    logging.getLogger("jobs").info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_debug_lines_are_logged_only_with_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("jobs").debug("hidden")
    logs.configure(verbose=True)
    logging.getLogger("jobs").debug("shown")
    assert re.fullmatch(r"\S+ \S+ DEBUG shown\n", capsys.readouterr().err)


def test_verbose_is_passed_on_to_child_processes() -> None:
    logs.configure(verbose=True)
    assert os.environ[logs.VERBOSE] == "1"


@pytest.mark.parametrize(("value", "level"), [("1", logging.DEBUG), ("0", logging.INFO), ("", logging.INFO)])
def test_variable_sets_the_level(monkeypatch: pytest.MonkeyPatch, value: str, level: int) -> None:
    monkeypatch.setenv(logs.VERBOSE, value)
    logs.configure()
    assert logging.getLogger("pianogen").level == level


def test_lines_of_other_libraries_are_left_to_them(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("matplotlib").info("not ours")
    assert capsys.readouterr().err == ""
