"""Metrics of a sample: its notes and keys in numbers, and its collapse."""

from dataclasses import dataclass

from pianogen.evaluation.collapse import Collapse, find_collapse
from pianogen.roll import ONSET, Roll


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """Metrics of one roll.

    Attributes:
        steps: length.
        notes: onset cells.
        onset_share: share of steps with an onset; 1 is an onset at every step.
        silent_share: share of steps at which no key sounds.
        keys: distinct keys with an onset.
        mean_sounding: mean number of keys that sound at a step.
        collapse: see `find_collapse`.
    """

    steps: int
    notes: int
    onset_share: float
    silent_share: float
    keys: int
    mean_sounding: float
    collapse: Collapse


def measure(roll: Roll) -> SampleMetrics:
    """The metrics of a roll."""
    states = roll.states
    onsets = states == ONSET
    sounding = (states > 0).sum(axis=1)
    return SampleMetrics(
        steps=len(roll),
        notes=int(onsets.sum()),
        onset_share=float(onsets.any(axis=1).mean()),
        silent_share=float((sounding == 0).mean()),
        keys=int(onsets.any(axis=0).sum()),
        mean_sounding=float(sounding.mean()),
        collapse=find_collapse(roll),
    )
