"""Functions that processes of a pool call in the tests; a module of its own, because spawned processes import it."""

import os
import signal

from pianogen.errors import PianogenError


def double(number: int) -> int:
    return 2 * number


def kill_process_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def raise_at_three(number: int) -> int:
    if number == 3:
        raise PianogenError("3 is not allowed")
    return number
