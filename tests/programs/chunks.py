"""What processes of the tests do with a chunk; they import this alone."""

import os
import signal

from pianogen.errors import PianogenError


def doubled(number: int) -> int:
    return 2 * number


def killed_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refused_at_three(number: int) -> int:
    if number == 3:
        raise PianogenError("three is refused")
    return number
