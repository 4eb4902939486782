"""The error of all readers of scores."""

from typing import Literal

from pianogen.errors import PianogenError


class ScoreError(PianogenError):
    """A score cannot be read, or its notes, times or the order of its bars are in doubt.

    Attributes:
        reason: "bad_score", or the limit that the score exceeds.
    """

    def __init__(self, message: str, reason: Literal["bad_score", "too_long", "too_large"] = "bad_score") -> None:
        super().__init__(message)
        self.reason = reason
