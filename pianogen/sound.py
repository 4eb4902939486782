"""What a roll sounds like, in numbers."""

from dataclasses import dataclass

from pianogen.roll import ONSET, Roll


@dataclass(frozen=True, slots=True)
class Sound:
    """A roll in numbers.

    Attributes:
        steps: length.
        notes: onset cells.
        struck_share: share of steps with an onset; 1 is perpetual sixteenths.
        silent_share: share of steps in which no key sounds.
        keys: different keys struck.
        mean_sounding: keys sounding at a step, on average.
    """

    steps: int
    notes: int
    struck_share: float
    silent_share: float
    keys: int
    mean_sounding: float


def describe(roll: Roll) -> Sound:
    """The numbers of a roll."""
    states = roll.states
    onsets = states == ONSET
    sounding = (states > 0).sum(axis=1)
    return Sound(
        steps=len(roll),
        notes=int(onsets.sum()),
        struck_share=float(onsets.any(axis=1).mean()),
        silent_share=float((sounding == 0).mean()),
        keys=int(onsets.any(axis=0).sum()),
        mean_sounding=float(sounding.mean()),
    )
