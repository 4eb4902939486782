"""Excerpts of the pieces of a store, drawn with a seed, at most one per piece: real music for comparison with samples."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pianogen.roll import HOLD, SILENT, Roll, pack
from pianogen.store import Split, Store

MAX_EXCERPTS = {Split.TRAIN: 200, Split.VALID: 100, Split.TEST: 100}  # bounds memory and time, whatever the size of the corpus
_SHARE_OF_SHORTER_PIECES = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Excerpt:
    """Consecutive rows of a piece.

    Attributes:
        piece: name of the piece.
        split: of the piece.
        first_step: step of the piece, of the first row.
        roll: the rows. The holds of a note that begins before them are silent in `draw_excerpts`, and remain in
            `held_out_excerpts`.
    """

    piece: str
    split: Split
    first_step: int
    roll: Roll


def excerpt_steps(store: Store, groups: Collection[str], max_steps: int) -> int:
    """The length of excerpts: `max_steps`, or less so that a quarter of the pieces at most is too short for an excerpt.

    Args:
        groups: groups of pieces; all if empty.
    """
    steps = np.sort(store.pieces.steps[_select(store, MAX_EXCERPTS, groups)])
    return min(max_steps, int(steps[int(_SHARE_OF_SHORTER_PIECES * len(steps))])) if len(steps) else max_steps


def draw_excerpts(store: Store, split: Split, groups: Collection[str], num_steps: int, seed: int) -> list[Excerpt]:
    """One excerpt of each of up to MAX_EXCERPTS pieces of a split, in a random order.

    Args:
        groups: groups of pieces; all if empty.
        num_steps: length of an excerpt; shorter pieces have none.

    Raises:
        StoreError: a checksum does not match.
    """
    random = np.random.default_rng([seed, split])
    pieces = np.flatnonzero(_select(store, [split], groups) & (store.pieces.steps >= num_steps))
    excerpts = []
    for index in random.permutation(pieces)[: MAX_EXCERPTS[split]].tolist():
        first_step, roll = draw_rows(store.roll(index), num_steps, random)
        excerpts.append(Excerpt(store.pieces.name[index], split, first_step, roll))
    return excerpts


def held_out_excerpts(store: Store, split: Split, num: int, steps: int, seed: int, groups: Sequence[str] = ()) -> list[Excerpt]:
    """Excerpts of a split that start at a random step; pieces that are shorter than an excerpt come last, and completely.

    Args:
        num: number of excerpts; there are fewer if the split has fewer pieces.
        steps: length of an excerpt.
        groups: groups of pieces; all if empty.

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
        excerpts.append(Excerpt(store.pieces.name[piece], split, first, roll.rows(first, first + steps)))
    return excerpts


def draw_rows(roll: Roll, num_steps: int, random: np.random.Generator) -> tuple[int, Roll]:
    """The first step and the rows of an excerpt, which begins at a bar line if one is early enough, or else at the start."""
    bar_lines = np.flatnonzero(roll.bar_position[: len(roll) - num_steps + 1] == 0)
    first_step = int(random.choice(bar_lines)) if len(bar_lines) else 0
    rows = roll.rows(first_step, first_step + num_steps)
    states = rows.states
    states[np.logical_and.accumulate(states == HOLD)] = SILENT
    return first_step, replace(rows, packed=pack(states))


def _select(store: Store, splits: Collection[Split], groups: Collection[str]) -> np.ndarray:
    """(P,) bool: the pieces in some splits and groups."""
    is_selected = np.isin(store.pieces.split, [int(split) for split in splits])
    return np.asarray(is_selected & store.pieces.are_in_groups(groups))
