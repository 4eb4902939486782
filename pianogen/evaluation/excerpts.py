"""Excerpts of held-out pieces: real music to compare samples with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pianogen.roll import Roll
from pianogen.store import Split, Store


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Consecutive steps of a piece.

    Attributes:
        piece: name of the piece.
        first_step: the step of the piece's roll at which the excerpt starts.
        roll: its rows.
    """

    piece: str
    first_step: int
    roll: Roll


def held_out_excerpts(store: Store, split: Split, num: int, steps: int, seed: int, groups: Sequence[str] = ()) -> list[Excerpt]:
    """Draws excerpts of a split, at most one of each piece and each from a random step on.

    Pieces that are shorter than an excerpt are drawn last, and completely.

    Args:
        num: number of excerpts; there are fewer if the split has fewer pieces.
        steps: length of an excerpt.
        groups: groups of the pieces; all if empty.

    Raises:
        StoreError: a checksum does not match.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(store.pieces.select(split, groups))
    is_short = store.pieces.steps[order] < steps
    excerpts = []
    for piece in np.concatenate([order[~is_short], order[is_short]])[:num].tolist():
        roll = store.roll(piece)
        first = int(random.integers(max(len(roll) - steps, 0) + 1))
        excerpts.append(Excerpt(store.pieces.name[piece], first, roll.rows(first, first + steps)))
    return excerpts
