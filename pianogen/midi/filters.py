"""Limits that a roll must keep to become a piece of a store."""

from dataclasses import dataclass

import numpy as np

from pianogen.command import counted
from pianogen.midi.rejection import Reason, Rejection
from pianogen.roll import ONSET, Roll


@dataclass(frozen=True, slots=True)
class Filters:
    """The limits; None disables a limit.

    Attributes:
        min_steps, max_steps: length of the roll.
        min_onsets_per_bar: onset cells, divided by the number of bars, the incomplete ones included.
        max_polyphony: keys that sound at one step.
        min_keys: distinct keys with an onset.
    """

    min_steps: int | None = None
    max_steps: int | None = None
    min_onsets_per_bar: float | None = None
    max_polyphony: int | None = None
    min_keys: int | None = None


NO_FILTERS = Filters()


def check_filters(roll: Roll, filters: Filters) -> None:
    """Checks the limits.

    Raises:
        Rejection: the roll exceeds one.
    """
    if filters == NO_FILTERS:
        return
    states = roll.states
    num_bars = int((roll.bar_position == 0).sum()) + int(roll.bar_position[0] != 0)
    polyphony = int((states > 0).sum(axis=1).max())
    num_keys = int(np.any(states == ONSET, axis=0).sum())
    onsets_per_bar = roll.num_notes / num_bars
    problems = [
        (_is_below(len(roll), filters.min_steps), f"{counted(len(roll), 'step')}, --min-steps {filters.min_steps}"),
        (_is_above(len(roll), filters.max_steps), f"{counted(len(roll), 'step')}, --max-steps {filters.max_steps}"),
        (
            _is_below(onsets_per_bar, filters.min_onsets_per_bar),
            f"{onsets_per_bar:.2f} onsets per bar, --min-onsets-per-bar {filters.min_onsets_per_bar}",
        ),
        (
            _is_above(polyphony, filters.max_polyphony),
            f"{counted(polyphony, 'key')} at once, --max-polyphony {filters.max_polyphony}",
        ),
        (_is_below(num_keys, filters.min_keys), f"{counted(num_keys, 'key')} with an onset, --min-keys {filters.min_keys}"),
    ]
    if messages := [message for is_wrong, message in problems if is_wrong]:
        raise Rejection(Reason.FILTERED, "; ".join(messages))


def _is_below(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


def _is_above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit
