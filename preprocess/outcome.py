"""The outcome of one input: a roll, or the reason for its rejection."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pianogen.midi.counts import Counts
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import Roll
from preprocess.sources import Input


class Status(StrEnum):
    """The column `status` of the ledger."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one input.

    Attributes:
        name: the name of the input.
        status: kept or rejected; duplicates are found later, when the store is written.
        reason: None unless rejected.
        message: explains the rejection.
        sha256: hex digest of the source bytes, '' if they could not be read.
        counts: None if rejected.
        roll: None if rejected.
    """

    name: str
    status: Status
    reason: Reason | None = None
    message: str = ""
    sha256: str = ""
    counts: Counts | None = None
    roll: Roll | None = None


def convert(source: Input, options: ReadOptions, index_folder: Path) -> Outcome:
    """Reads one input and quantizes it.

    Args:
        index_folder: the folder of the archive indexes.
    """
    digest = ""
    try:
        data = source.read(index_folder)
        digest = hashlib.sha256(data).hexdigest()
        roll, counts = read_roll(data, source.name, options)
    except Rejection as rejection:
        return rejected(source, rejection.reason, str(rejection), digest)
    return Outcome(source.name, Status.KEPT, sha256=digest, counts=counts, roll=roll)


def rejected(source: Input, reason: Reason, message: str, digest: str = "") -> Outcome:
    """The outcome of a rejected input."""
    return Outcome(source.name, Status.REJECTED, reason, message, digest)
