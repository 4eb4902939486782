"""What a scheduler says to a job before it ends it."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

_COME_BACK = (signal.SIGUSR1, signal.SIGUSR2)  # a time limit or a preemption is near: there is more time elsewhere
_SIGNALS = (*_COME_BACK, signal.SIGTERM)


class Interruption:
    """While it is entered, the signals of a time limit, a preemption or an end only set flags; calling it reads the first.

    Nothing else happens in the handlers: they run between any two instructions of the program, a checkpoint's among them.

    Attributes:
        is_to_return: whether it was told to leave for now. After SIGTERM alone it is not: whoever cancels a job wants no
            other, and a scheduler that preempts it so queues it again by itself.
    """

    def __init__(self) -> None:
        self._is_set = self.is_to_return = False

    def __call__(self) -> bool:
        return self._is_set

    def __enter__(self) -> Self:
        self._before: list[Any] = [signal.signal(each, self._set) for each in _SIGNALS]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for each, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(each, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._is_set = True
        self.is_to_return = self.is_to_return or number in _COME_BACK
