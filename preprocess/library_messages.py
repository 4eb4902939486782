"""The warnings of libraries during the conversion of inputs, in the log with the name of the input."""

import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO

from preprocess.sources import in_one_line

_MAX_MESSAGES = 5  # of one input
_MAX_LETTERS = 300
_INSTALLATION = re.compile(r"[^\s'\"(]*/(?:site-packages|dist-packages|python3\.\d+)/")
_NOT_ABOUT_INPUTS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
_log = logging.getLogger(__name__)


class LibraryMessages:
    """Warnings, and lines on standard error, since the last call of `log`.

    Args:
        warned: the list that `warnings.catch_warnings` fills.
        stderr: standard error, for the log.

    Attributes:
        printed: receives what libraries write on standard error.
    """

    def __init__(self, warned: list[warnings.WarningMessage], stderr: TextIO) -> None:
        self._warned, self._stderr = warned, stderr
        self.printed = io.StringIO()

    def log(self, name: str) -> None:
        """Logs each message once and without the paths of the installation.

        Args:
            name: the name of the input that was converted.
        """
        if not self._warned and not self.printed.tell():
            return
        texts = [*(str(warning.message) for warning in self._warned), *self.printed.getvalue().splitlines()]
        self._warned.clear()
        self.printed.seek(0)
        self.printed.truncate()
        messages = dict.fromkeys(" ".join(_INSTALLATION.sub("", text).split())[:_MAX_LETTERS] for text in texts)
        messages.pop("", None)
        with redirect_stderr(self._stderr):
            for message in list(messages)[:_MAX_MESSAGES]:
                _log.warning("%s: %s", in_one_line(name), message)
            if len(messages) > _MAX_MESSAGES:
                _log.warning("%s: %s more messages of libraries", in_one_line(name), len(messages) - _MAX_MESSAGES)


@contextmanager
def collected() -> Iterator[LibraryMessages]:
    """Collects the messages of libraries in this block; it is entered once for many inputs, because it takes 10 µs."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")  # a warning of one input is repeated for the next
        for category in _NOT_ABOUT_INPUTS:
            warnings.simplefilter("ignore", category)
        messages = LibraryMessages(warned, sys.stderr)
        with redirect_stderr(messages.printed):
            yield messages
