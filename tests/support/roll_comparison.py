"""The comparison of a roll with that of the reference implementation."""

from pianogen.midi.counts import Counts
from pianogen.midi.options import MidiParser
from pianogen.roll import Roll
from tests.support.reference_reader import ExpectedRoll

PARSERS: list[MidiParser] = ["smf", "music21"]


def assert_equals(result: tuple[Roll, Counts], expected: ExpectedRoll) -> None:
    """Compares every cell, tempo and count."""
    roll, counts = result
    assert cells_of(roll) == expected.cells
    assert roll.tempo_us.tolist() == expected.tempo_us
    assert roll.bar_position.tolist() == expected.bar_position
    assert roll.first_step == expected.first_step
    assert counts._asdict() == expected.counts


def cells_of(roll: Roll) -> dict[tuple[int, int], int]:
    """The states that are not silent, by (step from the start of the file, key)."""
    states = roll.states
    steps, keys = states.nonzero()
    return {(roll.first_step + s, k): int(states[s, k]) for s, k in zip(steps.tolist(), keys.tolist(), strict=True)}
