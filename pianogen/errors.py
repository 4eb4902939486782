"""Errors that a user can cause.

A message states what failed, where, what was found and what was expected, and the next action.
"""

import difflib
from collections.abc import Sequence

_MAX_SUGGESTIONS = 3


class PianogenError(Exception):
    """Base class of the errors of this package; a command prints their message without a traceback."""

    exit_code = 1


class UsageError(PianogenError):
    """An argument, a configuration or an input path is wrong; nothing was started and nothing was written."""

    exit_code = 2


class Interrupted(PianogenError):
    """A shutdown signal ended the work early; finished work is kept, and the next attempt resumes from it."""


def suggestion(name: str, valid: Sequence[str]) -> str:
    """The end of a message about an unknown name: the nearest valid ones, or all of them if none is similar.

    Near are keys of the same name in a section, names that begin with the unknown one, and else the name with the most similar
    letters. The dashes before an option do not count.
    """
    bare = {entry.lstrip("-"): entry for entry in valid}
    unknown = name.lstrip("-")
    last = unknown.rpartition(".")[2]
    near = (
        [entry for entry in bare if entry.rpartition(".")[2] == last]
        or [entry for entry in bare if unknown and entry.startswith(unknown)]
        or difflib.get_close_matches(unknown, bare, n=1)
    )
    if not near:
        return f"valid: {', '.join(valid)}"
    return f"did you mean {' or '.join(bare[entry] for entry in near[:_MAX_SUGGESTIONS])}?"


def cause(error: Exception) -> str:
    """An error of the operating system or of a library in one line, without the number and the path of the former."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
