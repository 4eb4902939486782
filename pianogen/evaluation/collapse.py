"""Detection of collapsed samples: silence, a stuck note, onsets at every step, or a repeated pattern."""

from enum import StrEnum

import numpy as np

from pianogen.roll import ONSET, SILENT, STEPS_PER_QUARTER, Roll, notes, sixteenths


class Collapse(StrEnum):
    """The kinds of collapse; see `find_collapse`."""

    NONE = ""
    SILENCE = "silence"
    STUCK_NOTE = "stuck_note"
    EVERY_STEP = "every_step"
    REPETITION = "repetition"


# The conditions for the second half of a sample. A step is a sixteenth note, as in METRICS.
DEFINITIONS = {
    Collapse.SILENCE: "no key sounds at 95 % of the steps or more",
    Collapse.STUCK_NOTE: "one note lasts for 75 % of the steps or more",
    Collapse.EVERY_STEP: "at least 95 % of the steps have onsets, and at least 90 % of all onsets are on 8 keys or there are at "
    "least 6 onsets per step",
    Collapse.REPETITION: "at least 90 % of the steps equal the step one period earlier; the period is at most 32 steps, and at "
    "most a quarter of the half",
}
# The comment of each limit is the largest value over the second halves of 337 pieces from piano-midi.de.
_SILENT_SHARE = 0.95  # 0.39
_HELD_SHARE = 0.75  # 0.17
_ONSET_SHARE = 0.95  # 1.0, a perpetuum mobile: so one of the next two limits must be exceeded as well
_FEW_KEYS = 8
_FEW_KEYS_SHARE = 0.9  # 0.76
_MANY_NOTES = 6.0  # 4.2
_REPEATED_SHARE = 0.9  # 0.67
_PATTERN_STEPS = 32
_PATTERN_TIMES = 4
_SHORTEST_STEPS = 64  # four bars in 4/4; in fewer, music may hold one note or repeat one pattern


def find_collapse(roll: Roll) -> Collapse:
    """The collapse of the second half of a roll: the first kind in DEFINITIONS whose condition holds.

    Only the second half is examined, because samples rarely collapse at the start and never recover. A second half of fewer than
    64 sixteenth notes has no collapse.
    """
    middle = len(roll) // 2
    packed, states = roll.packed[middle:], roll.states[middle:]
    num_steps = len(states)
    if num_steps * STEPS_PER_QUARTER < _SHORTEST_STEPS * roll.steps_per_quarter:
        return Collapse.NONE
    if (states == SILENT).all(axis=1).mean() >= _SILENT_SHARE:
        return Collapse.SILENCE
    onset_step, end_step, _ = notes(roll.states).T
    if (end_step - np.maximum(onset_step, middle)).max(initial=0) >= _HELD_SHARE * num_steps:
        return Collapse.STUCK_NOTE
    onsets = states == ONSET
    num_notes = onsets.sum()
    on_few_keys = np.sort(onsets.sum(axis=0))[-_FEW_KEYS:].sum()
    is_narrow = on_few_keys >= _FEW_KEYS_SHARE * num_notes
    has_onset = sixteenths(onsets.any(axis=1), roll.steps_per_quarter, np.logical_or)
    if has_onset.mean() >= _ONSET_SHARE and (is_narrow or num_notes >= _MANY_NOTES * len(has_onset)):
        return Collapse.EVERY_STEP
    longest = min(_PATTERN_STEPS, len(has_onset) // _PATTERN_TIMES)
    periods = [period * roll.steps_per_quarter / STEPS_PER_QUARTER for period in range(1, longest + 1)]
    for steps in (int(period) for period in periods if period.is_integer()):
        is_repeated = (packed[steps:] == packed[:-steps]).all(axis=1)
        if sixteenths(is_repeated, roll.steps_per_quarter, np.logical_and).mean() >= _REPEATED_SHARE:
            return Collapse.REPETITION
    return Collapse.NONE
