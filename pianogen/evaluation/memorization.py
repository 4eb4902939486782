"""Passages that samples have in common with the training set, as result.json records them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a sample that also occurs in a training piece, up to transposition and tempo change.

    Attributes:
        onsets: length.
        step: step of its first onset in the sample.
        bar: number of the bar of that step.
        piece: name of the training piece.
        piece_step: step of its first onset in the roll of the training piece.
        piece_bar: number of the bar of that step.
        semitones: by how much it is higher in the sample.
        stretch: the steps between two onsets in the sample divided by those in the piece, as a fraction such as "2" or "1/2".
        roll: the rows of the training piece from its first onset to the end of its last note, see `encode_roll`.
    """

    onsets: int
    step: int
    bar: int
    piece: str
    piece_step: int
    piece_bar: int
    semitones: int
    stretch: str
    roll: str


@dataclass(frozen=True, slots=True)
class Memorization:
    """The longest passage of each sample that also occurs in the train split, and of held-out excerpts of the same length.

    Attributes:
        samples: the passage of each sample; None if no two of its onsets occur in the train split.
        split: name of the split of the excerpts; None if all pieces are in the train split.
        held_out: number of onsets of the longest passage of each excerpt; 0 if no two of its onsets occur in the train split.
    """

    samples: list[Passage | None]
    split: str | None
    held_out: list[int]

    @property
    def sample_onsets(self) -> list[int]:
        """The number of onsets of the longest passage of each sample."""
        return [passage.onsets if passage else 0 for passage in self.samples]

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """The record in a JSON value.

        Raises:
            KeyError: a key is missing.
            TypeError: a passage has other keys.
        """
        samples = [None if passage is None else Passage(**passage) for passage in content["samples"]]
        return cls(samples, content["split"], content["held_out"])

    def as_json(self) -> dict[str, Any]:
        """The content of result.json."""
        return asdict(self)
