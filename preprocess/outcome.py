"""The outcome of one piece of an input: a roll, or the reason for its rejection."""

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pianogen.midi.counts import Counts
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import Piece, read_pieces
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.signature import MinHash
from pianogen.roll import Roll
from preprocess.inputs import Input

_MAX_FIRST_STEP = (1 << 32) - 1  # of the column in the store


class Status(StrEnum):
    """The column `status` of the ledger."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one piece.

    Attributes:
        sha256: hex digest of the source bytes of the input, '' if they could not be read.
        reason: None unless rejected.
        message: explains the rejection.
        counts: None if rejected.
        roll: None if rejected.
        minhash: None if rejected, or if the piece has no shingles.
        repairs: what was repaired to read the input, one word each.
    """

    sha256: str = ""
    reason: Reason | None = None
    message: str = ""
    counts: Counts | None = None
    roll: Roll | None = None
    minhash: MinHash | None = None
    repairs: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The message of a rejected piece, the repairs of another one."""
        return self.message or " ".join(self.repairs)


def convert(source: Input, options: ReadOptions, index_folder: Path) -> list[Outcome]:
    """Reads one input and quantizes its pieces: one, or one for each tune of a score that contains several.

    Args:
        index_folder: the folder of the archive indexes.
    """
    digest = ""
    try:
        data = source.read(index_folder)
        digest = hashlib.sha256(data).hexdigest()
        pieces = read_pieces(data, source.name, options)
    except Rejection as rejection:
        return [rejected(rejection.reason, str(rejection), digest)]
    return [_outcome_of(piece, digest) for piece in pieces]


def _outcome_of(piece: Piece | Rejection, digest: str) -> Outcome:
    if isinstance(piece, Rejection):
        return rejected(piece.reason, str(piece), digest)
    # Imported here, because rank 0 uses this module too and must not load numba.
    from pianogen.midi.shingles import minhash

    first_step = piece.roll.first_step
    if first_step > _MAX_FIRST_STEP:
        message = f"the first note is at step {first_step:,}; at most {_MAX_FIRST_STEP:,} is supported"
        return rejected(Reason.TOO_LONG, message, digest)
    return Outcome(digest, counts=piece.counts, roll=piece.roll, minhash=minhash(piece.roll), repairs=piece.repairs)


def rejected(reason: Reason, message: str, digest: str = "") -> Outcome:
    """The outcome of an input or piece that is rejected; the message becomes one line, with invalid bytes of paths as \\xNN."""
    return Outcome(digest, reason, os.fsencode(" ".join(message.split())).decode("utf-8", "backslashreplace"))
