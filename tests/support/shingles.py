"""A slow reference implementation of shingles."""

from itertools import pairwise

from pianogen.roll import ONSET, Roll

Shingle = tuple[tuple[int, int], ...]


def shingles_of(roll: Roll) -> set[Shingle]:
    """The sequences of 8 consecutive onsets, as 7 pairs of a step difference, at most 16 quarter notes, and a key difference."""
    states = roll.states
    onsets = [(step, key) for step in range(len(states)) for key in range(88) if states[step, key] == ONSET]
    longest = 16 * roll.steps_per_quarter
    pairs = [(min(step - last_step, longest), key - last_key) for (last_step, last_key), (step, key) in pairwise(onsets)]
    return {tuple(pairs[begin : begin + 7]) for begin in range(len(pairs) - 6)}


def jaccard(one: Roll, other: Roll) -> float:
    """The similarity of two rolls that have shingles."""
    first, second = shingles_of(one), shingles_of(other)
    return len(first & second) / len(first | second)
