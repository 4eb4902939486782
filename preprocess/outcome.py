"""What became of one input: a roll or a reason, and the numbers its ledger row shows."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pianogen.midi.counts import Counts
from pianogen.midi.reader import MidiParser, read_roll
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import Roll
from preprocess.sources import Input

Status = Literal["kept", "duplicate", "rejected"]


@dataclass(frozen=True, slots=True)
class Options:
    """What changes the content of a store, apart from the corpus itself."""

    parser: MidiParser = "smf"
    keep_rests: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One input, done.

    Attributes:
        name: of the input.
        status: rejected, or kept until merging finds an equal piece before it.
        reason: a reason code if rejected, else ''.
        message: what was found, for a person.
        sha256: of the source bytes; '' where they could not be read.
        counts: None if rejected.
        roll: None if rejected.
    """

    name: str
    status: Status
    reason: str = ""
    message: str = ""
    sha256: str = ""
    counts: Counts | None = None
    roll: Roll | None = None


def convert(source: Input, options: Options, folder: Path) -> Outcome:
    """Reads one input and quantizes it; what is wrong with it becomes part of the outcome.

    Args:
        folder: where the indexes of archives are.
    """
    digest = ""
    try:
        data = source.read(folder)
        digest = hashlib.sha256(data).hexdigest()
        roll, counts = read_roll(data, source.name, options.parser, options.keep_rests)
    except Rejection as rejection:
        return rejected(source, rejection.reason, str(rejection), digest)
    return Outcome(source.name, "kept", sha256=digest, counts=counts, roll=roll)


def rejected(source: Input, reason: Reason, message: str, digest: str = "") -> Outcome:
    """The outcome of an input that is refused."""
    return Outcome(source.name, "rejected", reason, message, digest)
