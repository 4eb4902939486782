"""Messages of libraries reach the log with the name of the input and without installation paths."""

import logging
import sys
import warnings

import pytest

from preprocess.library_messages import collected


@pytest.fixture(autouse=True)
def package_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("preprocess"), "propagate", True)  # another test may have configured logging


def test_warnings_and_printed_lines_are_logged_once_per_input(caplog: pytest.LogCaptureFixture) -> None:
    with collected() as messages:
        for name in ("a.mid", "two\nlines.mid"):
            for _ in range(3):
                warnings.warn("tempo 0 was found,\n  skipping", stacklevel=1)
                warnings.warn("an old function", DeprecationWarning, stacklevel=1)
            print("/opt/x/lib/python3.12/site-packages/music21/abc.py: bad token", file=sys.stderr)
            messages.log(name)
        messages.log("without messages.mid")
    assert caplog.messages == [
        "a.mid: tempo 0 was found, skipping",
        "a.mid: music21/abc.py: bad token",
        "two\\nlines.mid: tempo 0 was found, skipping",
        "two\\nlines.mid: music21/abc.py: bad token",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_number_of_messages_of_an_input_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    with collected() as messages:
        for number in range(100):
            print(f"message {number}", file=sys.stderr)
        messages.log("a.mid")
    assert caplog.messages == [*(f"a.mid: message {number}" for number in range(5)), "a.mid: 95 more messages of libraries"]


def test_error_that_ends_the_process_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        with collected():
            raise RuntimeError("a bug in the package")
    except RuntimeError as error:
        print(error, file=sys.stderr)
    assert capsys.readouterr().err == "a bug in the package\n"
