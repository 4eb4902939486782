"""Messages of libraries reach the log with the name of the input and without installation paths."""

import logging
import sys
import warnings

import pytest

from preprocess.library_messages import logged


@pytest.fixture(autouse=True)
def package_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("preprocess"), "propagate", True)  # another test may have configured logging


@pytest.mark.filterwarnings("default")
def test_warnings_and_printed_lines_are_logged_once_per_input(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.mid", "two\nlines.mid"):
        with logged(name):
            for _ in range(3):
                warnings.warn("tempo 0 was found,\n  skipping", stacklevel=1)
            print("/opt/x/lib/python3.12/site-packages/music21/abc.py: bad token", file=sys.stderr)
    assert caplog.messages == [
        "a.mid: tempo 0 was found, skipping",
        "a.mid: music21/abc.py: bad token",
        "two\\nlines.mid: tempo 0 was found, skipping",
        "two\\nlines.mid: music21/abc.py: bad token",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_messages_of_a_failed_conversion_are_logged_and_their_number_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    def convert() -> None:
        for number in range(100):
            print(f"message {number}", file=sys.stderr)
        raise MemoryError

    with pytest.raises(MemoryError), logged("a.mid"):
        convert()
    assert caplog.messages == [*(f"a.mid: message {number}" for number in range(5)), "a.mid: 95 more messages of libraries"]
