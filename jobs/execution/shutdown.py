"""Signals with which a scheduler or a user asks a job to shut down."""

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

# Slurm announces a time limit with SIGUSR2 (submitit's choice), and a preemption or cancellation with SIGTERM; SIGINT is Ctrl-C,
# and SIGHUP a terminal that was closed.
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def handle_signals(
    numbers: Collection[signal.Signals], handler: Callable[[int, FrameType | None], None] | signal.Handlers
) -> Iterator[None]:
    """Handles signals in the context; SIGHUP stays ignored if it is ignored, as under nohup."""
    is_immune = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    handled = [number for number in numbers if number != signal.SIGHUP or not is_immune]
    previous = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, restored in previous.items():
            signal.signal(number, restored)


class ShutdownFlag:
    """A flag that a signal sets; a call returns it."""

    def __init__(self) -> None:
        self._is_set = False

    def __call__(self) -> bool:
        return self._is_set

    def set(self, number: int, frame: FrameType | None) -> None:
        """The handler. It does nothing else: it runs between any two instructions, while a checkpoint is written for example."""
        del number, frame
        self._is_set = True


@contextmanager
def flag_shutdown() -> Iterator[ShutdownFlag]:
    """A flag that shutdown signals set in the context."""
    flag = ShutdownFlag()
    with handle_signals(SIGNALS, flag.set):
        yield flag
