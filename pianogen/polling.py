"""A polling loop for conditions without notifications, such as files of other nodes and states of jobs."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float) -> bool:
    """Polls until a condition is true or the timeout has passed; returns whether it became true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True
