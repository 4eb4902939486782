"""A slow reference implementation of the search for passages in common."""

from collections.abc import Sequence
from fractions import Fraction

Onset = tuple[int, int]


def longest_passage(sample: Sequence[Onset], pieces: Sequence[Sequence[Onset]]) -> tuple[int, int, int, int]:
    """The longest passage of a sample that also occurs in a piece: (onsets, first in the sample, piece, first in the piece).

    Of several, that in the first piece, then the earliest one in the piece and in the sample. Onsets are sorted (step, key).
    """
    best = (1, -1, -1, -1)
    for number, piece in enumerate(pieces):
        for piece_first in range(len(piece)):
            for first in range(len(sample)):
                count = best[0] + 1
                while are_equal(sample[first : first + count], piece[piece_first : piece_first + count], count):
                    best = (count, first, number, piece_first)
                    count += 1
    return best


def are_equal(one: Sequence[Onset], other: Sequence[Onset], count: int) -> bool:
    """Whether two passages have this number of onsets, and one is the other transposed and played at another tempo."""
    return len(one) == len(other) == count and _normalized(one) == _normalized(other)


def _normalized(passage: Sequence[Onset]) -> list[tuple[Fraction, int]]:
    """The passage from step 0 to step 1, and from key 0 on."""
    first, key = passage[0]
    length = max(passage[-1][0] - first, 1)
    return [(Fraction(step - first, length), other - key) for step, other in passage]
