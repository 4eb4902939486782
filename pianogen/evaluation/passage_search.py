"""Search of the train split for the longest passage of each sample, and of held-out excerpts for comparison."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from pianogen.errors import Interrupted
from pianogen.evaluation.excerpts import held_out_excerpts
from pianogen.evaluation.memorization import Memorization, Passage
from pianogen.evaluation.onset_lines import Line, Match, find_longer, make_line, powers
from pianogen.roll import PACKED_BYTES, Roll, notes
from pianogen.roll_text import encode_roll
from pianogen.store import Split, Store

_BLOCK_STEPS = 1 << 16  # read at a time
_MAX_EXCERPTS = 100
_EXCERPT_SEED = 0


def measure_memorization(
    rolls: Sequence[Roll], store: Store, groups: Sequence[str], shutdown_requested: Callable[[], bool] = lambda: False
) -> Memorization:
    """Finds the longest passage of each sample that also occurs in the train split, and of up to 100 held-out excerpts.

    The excerpts are as long as the longest sample, and from the test split, or from the valid split if there is no test split.

    Args:
        groups: the groups that the model was trained on; all if empty.
        shutdown_requested: called before each block of rows; True stops the search.

    Raises:
        Interrupted: a shutdown was requested.
        StoreError: a checksum does not match.
    """
    split = next((split for split in (Split.TEST, Split.VALID) if len(store.pieces.select(split, groups))), None)
    excerpts = []
    if split is not None and rolls:
        excerpts = held_out_excerpts(store, split, _MAX_EXCERPTS, max(map(len, rolls)), _EXCERPT_SEED, groups)
    queries = [*rolls, *(excerpt.roll for excerpt in excerpts)]
    passages = find_passages(queries, store, store.pieces.select(Split.TRAIN, groups), shutdown_requested)
    held_out = [passage.onsets if passage else 0 for passage in passages[len(rolls) :]]
    return Memorization(passages[: len(rolls)], split.name.lower() if split is not None else None, held_out)


def find_passages(
    rolls: Sequence[Roll], store: Store, pieces: np.ndarray, shutdown_requested: Callable[[], bool] = lambda: False
) -> list[Passage | None]:
    """Finds the longest passage of each roll that also occurs in some pieces of a store.

    Of several equally long passages, it is the one in the first piece, and there the earliest one. The memory does not depend on
    the number of pieces.

    Args:
        pieces: (P,) ascending indices.
        shutdown_requested: called before each block of rows; True stops the search.

    Returns:
        The passages; None for a roll of which no two consecutive onsets occur in a piece.

    Raises:
        Interrupted: a shutdown was requested.
        StoreError: a checksum does not match.
    """
    queries = [_line_of(roll) for roll in rolls]
    base_powers = powers(max((len(query.step) for query in queries), default=1))
    found: list[_Place | None] = [None] * len(rolls)
    for block in _blocks(store, pieces):
        if shutdown_requested():
            raise Interrupted("received a shutdown signal during the search for memorized passages; the next attempt repeats it")
        for i, query in enumerate(queries):
            longest = found[i]
            match = find_longer(block.line, query, base_powers[: len(query.step)], longest.onsets if longest else 1)
            if match.query >= 0:
                found[i] = block.place(match)
    return [None if place is None else _describe(roll, place, store) for roll, place in zip(rolls, found, strict=True)]


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a passage.

    Attributes:
        onsets: length.
        first: index of its first onset among those of the sample.
        piece: index of the piece.
        piece_first: index of its first onset among those of the piece.
    """

    onsets: int
    first: int
    piece: int
    piece_first: int


@dataclass(frozen=True, slots=True)
class _Block:
    """The onsets of consecutive pieces: `pieces` are their indices, and `starts` their first rows."""

    line: Line
    pieces: np.ndarray
    starts: np.ndarray

    def place(self, match: Match) -> _Place:
        number = int(np.searchsorted(self.starts, self.line.step[match.line], side="right")) - 1
        first_of_piece = int(np.searchsorted(self.line.step, self.starts[number]))
        return _Place(match.onsets, match.query, int(self.pieces[number]), match.line - first_of_piece)


def _blocks(store: Store, pieces: np.ndarray) -> Iterator[_Block]:
    steps = store.pieces.steps[pieces].astype(np.int64)
    bounds = np.flatnonzero(np.diff(np.cumsum(steps) // _BLOCK_STEPS)) + 1
    for begin, end in pairwise([0, *bounds.tolist(), len(pieces)]):
        ends = np.cumsum(steps[begin:end])
        num_steps = int(steps[begin:end].sum())
        rows = Roll(np.empty((num_steps, PACKED_BYTES), np.uint8), np.empty(num_steps, np.uint32), np.empty(num_steps, np.uint8))
        store.read_pieces(pieces[begin:end], rows)
        yield _Block(make_line(rows.packed, ends), pieces[begin:end], ends - steps[begin:end])


def _describe(roll: Roll, place: _Place, store: Store) -> Passage:
    piece = store.roll(place.piece)
    line, piece_line = _line_of(roll), _line_of(piece)
    first, piece_first = place.first, place.piece_first
    last, piece_last = first + place.onsets - 1, piece_first + place.onsets - 1
    step, piece_step = int(line.step[first]), int(piece_line.step[piece_first])
    piece_steps = int(piece_line.step[piece_last]) - piece_step
    return Passage(
        onsets=place.onsets,
        step=step,
        bar=_bar_number(roll, step),
        piece=store.pieces.name[place.piece],
        piece_step=piece_step,
        piece_bar=_bar_number(piece, piece_step),
        semitones=int(line.key[first] - piece_line.key[piece_first]),
        stretch=str(Fraction(int(line.step[last]) - step, piece_steps)) if piece_steps else "1",
        roll=encode_roll(piece.rows(piece_step, _end_of_notes(piece, piece_step, piece_step + piece_steps))),
    )


def _end_of_notes(roll: Roll, first: int, last: int) -> int:
    """The step at which the last of the notes ends that have their onsets at the steps from `first` to `last`."""
    onset, end, _ = notes(roll.rows(first, None).states).T
    return first + int(end[onset <= last - first].max())


def _line_of(roll: Roll) -> Line:
    return make_line(roll.packed, np.array([len(roll)]))


def _bar_number(roll: Roll, step: int) -> int:
    """The number of the bar of a step, from 1; steps before the first bar line belong to bar 1, as in the report."""
    return max(1, int((roll.bar_position[: step + 1] == 0).sum()))
