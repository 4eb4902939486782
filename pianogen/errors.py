"""What a user can cause, said as what, where, found against expected, and what to do next."""


class PianogenError(Exception):
    """Base of every error this package raises on purpose; a command prints it without a traceback."""

    exit_code = 1


class UsageError(PianogenError):
    """A wrong argument or configuration: nothing was started and nothing was written."""

    exit_code = 2


class Interrupted(PianogenError):
    """Work was asked to leave before its end; what it had done is kept, and it goes on when it is started again."""
