"""Waiting for a condition that only polling can observe: files of other nodes, answers of a scheduler."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float) -> bool:
    """Whether a condition became true before the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True
