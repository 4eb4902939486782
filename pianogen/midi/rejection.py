"""The reasons why an input cannot become a roll."""

from enum import StrEnum

from pianogen.errors import PianogenError


class Reason(StrEnum):
    """The codes of the ledger's column `reason` for rejected inputs."""

    NOT_MIDI = "not_midi"
    TRUNCATED = "truncated"
    MISSING_TRACKS = "missing_tracks"
    UNSUPPORTED_TYPE = "unsupported_type"
    SMPTE_DIVISION = "smpte_division"
    ZERO_DIVISION = "zero_division"
    RUNNING_STATUS = "running_status"
    BAD_STATUS = "bad_status"
    DATA_BYTE = "data_byte"
    BAD_LENGTH = "bad_length"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    NO_NOTES = "no_notes"
    FILTERED = "filtered"
    UNREADABLE = "unreadable"
    BAD_SCORE = "bad_score"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASHED = "crashed"


class Rejection(PianogenError):
    """An input cannot become a roll; the ledger records the reason and the message, and the other inputs are not affected."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[Reason, str]]:
        return type(self), (self.reason, str(self))  # pickled between processes; the default would lose the reason
