"""Statistics of a split: the tempos, states and transitions that sampling and the trivial predictors use.

One pass over the rolls, one piece at a time. All statistics are integer counts, so they do not depend on the order of additions.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pianogen.config import DataConfig
from pianogen.data.windows import Windows, find_windows
from pianogen.roll import HOLD, NUM_KEYS, ONSET, Roll
from pianogen.store import Split, Store

NUM_STATES = 3
_NUM_COUNTS = NUM_KEYS + 1  # possible numbers of keys at a step: 0 to 88


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """The statistics of a split, over all its steps except where noted.

    Attributes:
        steps_per_quarter: steps of a quarter note.
        median_tempo_us: median over the steps, rounded down.
        hold_counts: (89, 89) int64; [n, m] is the number of steps with m holds whose previous step has n sounding keys.
        onset_counts: (89, 89) int64; [n, m] is the number of steps with n holds and m onsets.
        state_counts: (88, 3) int64 number of steps at which a key is SILENT, ONSET, HOLD.
        transition_counts: (88, 3, 3) int64 number of transitions of a key from one state to the next in its piece.
        predicted_state_counts: (88, 3) int64, like state_counts, over the steps that windows predict: the last one of each window
            or, if every row is predicted, all steps of the pieces that have a window.
        predicted_tempo_counts: number of these steps by tempo_us.
    """

    steps_per_quarter: int
    median_tempo_us: int
    hold_counts: np.ndarray
    onset_counts: np.ndarray
    state_counts: np.ndarray
    transition_counts: np.ndarray
    predicted_state_counts: np.ndarray
    predicted_tempo_counts: Counter[int]

    @property
    def keys(self) -> range:
        """The keys from the lowest to the highest one with an onset."""
        used = np.flatnonzero(self.state_counts[:, ONSET])
        return range(int(used[0]), int(used[-1]) + 1) if len(used) else range(0)

    @property
    def hold_cdf(self) -> np.ndarray:
        """(89, 89) float32 cumulative distributions of the number of holds; row n is conditional on n sounding keys before."""
        return _cumulative(self.hold_counts)

    @property
    def onset_cdf(self) -> np.ndarray:
        """(89, 89) float32 cumulative distributions of the number of onsets; row n is conditional on n holds."""
        return _cumulative(self.onset_counts)


def _cumulative(counts: np.ndarray) -> np.ndarray:
    """Cumulative distributions along rows; a row without counts gets the distribution over all rows."""
    cumulative = np.cumsum(np.where(counts.any(axis=1, keepdims=True), counts, counts.sum(axis=0)), axis=1)
    return np.asarray(cumulative / cumulative[:, -1:], np.float32)


def train_statistics(store: Store, config: DataConfig, every_row: bool = False) -> Statistics:
    """The statistics of the configured pieces of the train split.

    Args:
        every_row: whether every row of a window is predicted, or only the last one.

    Raises:
        StoreError: a checksum does not match.
        WindowError: a group does not exist.
    """
    return compute_statistics(find_windows(store, Split.TRAIN, config, every_row))


def compute_statistics(windows: Windows) -> Statistics:
    """Computes the statistics of the pieces of `windows`, which must contain at least one window.

    Raises:
        StoreError: a checksum does not match.
    """
    tempo_counts, predicted_tempo_counts = Counter[int](), Counter[int]()
    hold_counts, onset_counts = np.zeros((2, _NUM_COUNTS**2), np.int64)
    state_counts, predicted_state_counts = np.zeros((2, NUM_KEYS, NUM_STATES), np.int64)
    transition_counts = np.zeros((NUM_KEYS, NUM_STATES, NUM_STATES), np.int64)
    for roll, predicted in iterate_pieces(windows):
        states = roll.states
        state_counts += _count_per_key(states, NUM_STATES)
        predicted_state_counts += _count_per_key(states[predicted], NUM_STATES)
        transition_counts += count_transitions(states[:-1], states[1:])
        num_holds, num_onsets = ((states == state).sum(axis=1) for state in (HOLD, ONSET))
        hold_counts += np.bincount(_NUM_COUNTS * (num_holds + num_onsets)[:-1] + num_holds[1:], minlength=_NUM_COUNTS**2)
        onset_counts += np.bincount(_NUM_COUNTS * num_holds + num_onsets, minlength=_NUM_COUNTS**2)
        _count_tempos(tempo_counts, roll.tempo_us)
        _count_tempos(predicted_tempo_counts, roll.tempo_us[predicted])
    return Statistics(
        steps_per_quarter=windows.store.steps_per_quarter,
        median_tempo_us=_median(tempo_counts),
        hold_counts=hold_counts.reshape(_NUM_COUNTS, _NUM_COUNTS),
        onset_counts=onset_counts.reshape(_NUM_COUNTS, _NUM_COUNTS),
        state_counts=state_counts,
        transition_counts=transition_counts,
        predicted_state_counts=predicted_state_counts,
        predicted_tempo_counts=predicted_tempo_counts,
    )


def iterate_pieces(windows: Windows) -> Iterator[tuple[Roll, np.ndarray]]:
    """The roll of each piece of windows, and (N,) int64 steps that its windows predict.

    Raises:
        StoreError: a checksum does not match.
    """
    for block, first_row in windows.blocks():
        for start, stop in pairwise([*first_row.tolist(), len(block)]):
            if windows.every_row:
                predicted = np.arange(stop - start if stop - start >= windows.min_steps else 0)
            else:
                predicted = np.arange(windows.window_steps, stop - start, windows.stride)
            yield block.rows(start, stop), predicted


def count_transitions(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(88, 3, 3) int64 number of transitions of each key from one state to another.

    Args:
        before: (T, 88) states.
        after: (T, 88) states one step later.
    """
    return _count_per_key(NUM_STATES * before + after, NUM_STATES**2).reshape(NUM_KEYS, NUM_STATES, NUM_STATES)


def _count_per_key(values: np.ndarray, num_values: int) -> np.ndarray:
    """(88, num_values) int64 number of occurrences of each value in each column of (T, 88)."""
    value_of_key = values + num_values * np.arange(NUM_KEYS)
    return np.bincount(value_of_key.ravel(), minlength=NUM_KEYS * num_values).reshape(NUM_KEYS, num_values)


def _count_tempos(counter: Counter[int], tempo_us: np.ndarray) -> None:
    values, counts = np.unique(tempo_us, return_counts=True)
    counter.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _median(counter: Counter[int]) -> int:
    """The median, rounded down."""
    values = sorted(counter)
    ends = np.cumsum([counter[value] for value in values])
    lower, upper = np.searchsorted(ends, [(ends[-1] - 1) // 2, ends[-1] // 2], side="right")
    return int((values[lower] + values[upper]) // 2)
