"""What a scheduler says to a job before it ends it."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While it is entered, the signals of a time limit, a preemption or an end only set a flag; calling it reads the flag.

    Nothing else happens in the handlers: they run between any two instructions of the program, a checkpoint's among them.
    """

    def __init__(self) -> None:
        self._is_set = False

    def __call__(self) -> bool:
        return self._is_set

    def __enter__(self) -> Self:
        self._before: list[Any] = [signal.signal(each, self._set) for each in _SIGNALS]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for each, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(each, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._is_set = True
