"""Signals with which a scheduler or a user asks a job to shut down."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

# Slurm announces a time limit with SIGUSR2 (submitit's choice), and a preemption or cancellation with SIGTERM; SIGINT is Ctrl-C,
# and SIGHUP a terminal that was closed.
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ShutdownFlag:
    """A flag that shutdown signals set while the context is entered; a call returns the flag.

    The handlers do nothing else: they run between any two instructions of the program, while a checkpoint is written for
    example. SIGHUP stays ignored if it is ignored, as under nohup.
    """

    def __init__(self) -> None:
        self._is_set = False

    def __call__(self) -> bool:
        return self._is_set

    def __enter__(self) -> Self:
        is_immune = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        numbers = [number for number in SIGNALS if number != signal.SIGHUP or not is_immune]
        self._previous: dict[int, Any] = {number: signal.signal(number, self._set) for number in numbers}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._is_set = True
