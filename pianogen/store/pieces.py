"""The table of the pieces in a store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from pianogen.errors import PianogenError
from pianogen.names import comparable

Kind = Literal["corpus", "samples"]


class StoreError(PianogenError):
    """A store cannot be written or read, or it is damaged."""


class InvalidStoreError(StoreError):
    """A file is not a complete and readable store of this version."""

    exit_code = 2


class Split(IntEnum):
    """The part of the corpus that a piece belongs to."""

    TRAIN = 0
    VALID = 1
    TEST = 2
    NONE = 255


@dataclass(frozen=True, slots=True)
class Pieces:
    """One column per attribute, one row per piece, in the order of the rolls.

    Attributes:
        name: P names.
        group: P names of the groups: those of the metadata, or the first folder below the corpus root; '' for none.
        steps: (P,) uint32, lengths of the rolls.
        first_step: (P,) uint32, steps of silence that were trimmed from the start.
        notes: (P,) uint32, onset cells.
        split: (P,) uint8, values of Split.
        sha256: P hex digests of the source bytes.
        sample: P JSON texts with the parameters of each sample; None in a corpus.
    """

    name: Sequence[str]
    group: Sequence[str]
    steps: np.ndarray
    first_step: np.ndarray
    notes: np.ndarray
    split: np.ndarray
    sha256: Sequence[str]
    sample: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.name)

    def select(self, split: Split, groups: Sequence[str] = ()) -> np.ndarray:
        """(N,) int64 ascending indices of the pieces of a split, in some groups; in all groups if `groups` is empty."""
        return np.flatnonzero((self.split == split) & self.are_in_groups(groups))

    def are_in_groups(self, groups: Collection[str]) -> np.ndarray:
        """(P,) bool: the pieces in some groups, whose names are compared in Unicode NFC; all pieces if `groups` is empty."""
        if not groups:
            return np.ones(len(self), bool)
        forms = set(map(comparable, groups))
        return np.fromiter((comparable(group) in forms for group in self.group), bool, len(self))

    @property
    def offset(self) -> np.ndarray:
        """(P,) uint64 index of the first row of each roll."""
        return np.asarray(np.cumsum(self.steps, dtype=np.uint64) - self.steps)

    @property
    def num_steps(self) -> int:
        """The length of all rolls together."""
        return int(self.steps.sum(dtype=np.int64))
