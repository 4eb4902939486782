"""Errors that a user can cause.

A message states what failed, where, what was found and what was expected, and the next action.
"""

import difflib
from collections.abc import Sequence


class PianogenError(Exception):
    """Base class of the errors of this package; a command prints their message without a traceback."""

    exit_code = 1


class UsageError(PianogenError):
    """An argument, a configuration or an input path is wrong; nothing was started and nothing was written."""

    exit_code = 2


class Interrupted(PianogenError):
    """A shutdown signal ended the work early; finished work is kept, and the next attempt resumes from it."""


def suggestion(name: str, valid: Sequence[str]) -> str:
    """The end of a message about an unknown name: the nearest valid one, or all of them if none is similar."""
    similar = difflib.get_close_matches(name, valid, n=1)
    return f"did you mean {similar[0]}?" if similar else f"valid: {', '.join(valid)}"


def cause(error: Exception) -> str:
    """An error of the operating system or of a library in one line, without the number and the path of the former."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
