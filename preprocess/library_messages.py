"""The warnings of libraries during the conversion of an input, in the log with the name of the input."""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

from preprocess.sources import in_one_line

_MAX_MESSAGES = 5  # of one input
_MAX_LETTERS = 300
_INSTALLATION = re.compile(r"[^\s'\"(]*/(?:site-packages|dist-packages|python3\.\d+)/")
_log = logging.getLogger(__name__)


@contextmanager
def logged(name: str) -> Iterator[None]:
    """Logs the warnings, and the lines on standard error, that a library writes in this block, each once and without its paths.

    Args:
        name: the name of the input.
    """
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught:
        try:
            with redirect_stderr(printed):
                yield
        finally:
            _log_each(in_one_line(name), [*(str(warning.message) for warning in caught), *printed.getvalue().splitlines()])


def _log_each(name: str, texts: Sequence[str]) -> None:
    messages = dict.fromkeys(" ".join(_INSTALLATION.sub("", text).split())[:_MAX_LETTERS] for text in texts)
    messages.pop("", None)
    for message in list(messages)[:_MAX_MESSAGES]:
        _log.warning("%s: %s", name, message)
    if len(messages) > _MAX_MESSAGES:
        _log.warning("%s: %s more messages of libraries", name, len(messages) - _MAX_MESSAGES)
