"""The length of a compiled call: how many iterations it runs before the loop checks for shutdown signals and checkpoints."""

_FIRST, _LONGEST = 8, 200
_TARGET_S = 1.0


class CallLength:
    """Adapts the length of calls so that a call takes about a second.

    Attributes:
        max_iterations: limit for the next call.
    """

    def __init__(self) -> None:
        self.max_iterations = _FIRST
        self._last_iterations = 0

    def update(self, num_iterations: int, previous_call_s: float) -> None:
        """Adapts the limit after a call.

        Args:
            num_iterations: length of the call.
            previous_call_s: duration of the call before it: workers agree on the duration of a call during the next one.
        """
        if self._last_iterations:
            fitting = int(self._last_iterations * _TARGET_S / previous_call_s)
            self.max_iterations = min(_LONGEST, 2 * self.max_iterations, max(1, fitting))
        self._last_iterations = num_iterations
