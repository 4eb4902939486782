"""What a roll sounds like, in numbers, and in a word where it has collapsed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pianogen.roll import ONSET, SILENT, Roll, notes

Collapse = Literal["", "silence", "holds for ever", "strikes every step", "repeats"]

# Beside each the most, over the second halves of 337 pieces from piano-midi.de.
_SILENT_SHARE = 0.95  # 0.39
_HELD_SHARE = 0.75  # 0.17
_STRUCK_SHARE = 0.95  # 1.0: a perpetuum mobile is no collapse by itself, so it takes one of the next two as well
_FEW_KEYS = 8
_FEW_KEYS_SHARE = 0.9  # 0.76
_MANY_NOTES = 6.0  # 4.2
_REPEATED_SHARE = 0.9  # 0.67
_PATTERN_STEPS = 32
_PATTERN_TIMES = 4
_SHORTEST_STEPS = 64  # in less than two bars anything may be held or come back


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
        collapse: as `find_collapse`.
    """

    steps: int
    notes: int
    struck_share: float
    silent_share: float
    keys: int
    mean_sounding: float
    collapse: Collapse


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
        collapse=find_collapse(roll),
    )


def find_collapse(roll: Roll) -> Collapse:
    """How a roll has collapsed, "" if it has not; the first of these that is true of its second half.

    The second half, because a sample that collapses rarely does so at once, and never recovers. A half of fewer than 64 steps is
    not judged.

        silence: no key sounds at 95 % of the steps.
        holds for ever: one note lasts for 75 % of them.
        strikes every step: there are onsets at 95 % of them, and either 90 % of all onsets are on 8 keys or there are 6 a step.
        repeats: 90 % of them are as the step up to 32 steps before, and that pattern comes 4 times.
    """
    middle = len(roll) // 2
    packed, states = roll.packed[middle:], roll.states[middle:]
    num_steps = len(states)
    if num_steps < _SHORTEST_STEPS:
        return ""
    if (states == SILENT).all(axis=1).mean() >= _SILENT_SHARE:
        return "silence"
    onset_step, end_step, _ = notes(roll.states).T
    if (end_step - np.maximum(onset_step, middle)).max(initial=0) >= _HELD_SHARE * num_steps:
        return "holds for ever"
    onsets = states == ONSET
    num_notes = onsets.sum()
    on_few_keys = np.sort(onsets.sum(axis=0))[-_FEW_KEYS:].sum()
    is_narrow = on_few_keys >= _FEW_KEYS_SHARE * num_notes
    if onsets.any(axis=1).mean() >= _STRUCK_SHARE and (is_narrow or num_notes >= _MANY_NOTES * num_steps):
        return "strikes every step"
    longest = min(_PATTERN_STEPS, num_steps // _PATTERN_TIMES)
    if any((packed[steps:] == packed[:-steps]).all(axis=1).mean() >= _REPEATED_SHARE for steps in range(1, longest + 1)):
        return "repeats"
    return ""
