"""Errors that a user can cause.

A message states what failed, where, what was found and what was expected, and the next action.
"""


class PianogenError(Exception):
    """Base class of the errors of this package; a command prints their message without a traceback."""

    exit_code = 1


class UsageError(PianogenError):
    """An argument, a configuration or an input path is wrong; nothing was started and nothing was written."""

    exit_code = 2


class Interrupted(PianogenError):
    """A shutdown signal ended the work early; finished work is kept, and the next attempt resumes from it."""
