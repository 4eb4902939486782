"""What a split is like on average: all that sampling and the predictors a network must beat know of the corpus.

One pass over the rolls, one piece at a time; everything is counted in whole numbers before anything is divided.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pianogen.data.windows import Windows
from pianogen.roll import HOLD, NUM_KEYS, ONSET, Roll

NUM_STATES = 3
_NUM_COUNTS = NUM_KEYS + 1  # of keys at a step: 0 to 88


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """The statistics of a split; all its steps count, except where it says otherwise.

    Attributes:
        median_tempo_us: of the steps; halves are cut off.
        hold_counts: (89, 89) int64, how often, of so many keys that sound, so many are held at the next step.
        onset_counts: (89, 89) int64, how often, beside so many held keys, so many are struck.
        state_counts: (88, 3) int64, steps at which a key is SILENT, ONSET, HOLD.
        transition_counts: (88, 3, 3) int64, how often a key goes from one state to the other at the next step of its piece.
        predicted_state_counts: (88, 3) int64, as state_counts, over the steps that windows predict.
        predicted_tempo_counts: number of predicted steps by tempo_us.
    """

    median_tempo_us: int
    hold_counts: np.ndarray
    onset_counts: np.ndarray
    state_counts: np.ndarray
    transition_counts: np.ndarray
    predicted_state_counts: np.ndarray
    predicted_tempo_counts: Counter[int]

    @property
    def hold_cdf(self) -> np.ndarray:
        """(89, 89) float32: `hold_counts` as cumulative distributions along rows; see `_cumulative`."""
        return _cumulative(self.hold_counts)

    @property
    def onset_cdf(self) -> np.ndarray:
        """(89, 89) float32: `onset_counts` as cumulative distributions along rows; see `_cumulative`."""
        return _cumulative(self.onset_counts)


def _cumulative(counts: np.ndarray) -> np.ndarray:
    """Cumulative distributions along rows; a row that never occurs in the corpus is what is usual over all."""
    cumulative = np.cumsum(np.where(counts.any(axis=1, keepdims=True), counts, counts.sum(axis=0)), axis=1)
    return np.asarray(cumulative / cumulative[:, -1:], np.float32)


def gather_statistics(windows: Windows) -> Statistics:
    """The statistics of the pieces of `windows`, which has one window at least."""
    tempos, predicted_tempos = Counter[int](), Counter[int]()
    hold_counts, onset_counts = np.zeros((2, _NUM_COUNTS**2), np.int64)
    state_counts, predicted_counts = np.zeros((2, NUM_KEYS, NUM_STATES), np.int64)
    transition_counts = np.zeros((NUM_KEYS, NUM_STATES, NUM_STATES), np.int64)
    for piece, predicted in each_piece(windows):
        states = piece.states
        state_counts += _count_per_key(states, NUM_STATES)
        predicted_counts += _count_per_key(states[predicted], NUM_STATES)
        transition_counts += count_transitions(states[:-1], states[1:])
        held, struck = ((states == state).sum(axis=1) for state in (HOLD, ONSET))
        hold_counts += np.bincount(_NUM_COUNTS * (held + struck)[:-1] + held[1:], minlength=_NUM_COUNTS**2)
        onset_counts += np.bincount(_NUM_COUNTS * held + struck, minlength=_NUM_COUNTS**2)
        _count_tempos(tempos, piece.tempo_us)
        _count_tempos(predicted_tempos, piece.tempo_us[predicted])
    return Statistics(
        median_tempo_us=_median(tempos),
        hold_counts=hold_counts.reshape(_NUM_COUNTS, _NUM_COUNTS),
        onset_counts=onset_counts.reshape(_NUM_COUNTS, _NUM_COUNTS),
        state_counts=state_counts,
        transition_counts=transition_counts,
        predicted_state_counts=predicted_counts,
        predicted_tempo_counts=predicted_tempos,
    )


def each_piece(windows: Windows) -> Iterator[tuple[Roll, np.ndarray]]:
    """The pieces of windows, each with those of its rows that a window predicts: (N,) int64."""
    for block, first_row in windows.blocks():
        for start, stop in pairwise([*first_row.tolist(), len(block)]):
            predicted = np.arange(windows.window_steps, stop - start, windows.stride)
            yield Roll(block.packed[start:stop], block.tempo_us[start:stop]), predicted


def count_transitions(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(88, 3, 3) int64: how often each key goes from one state to another.

    Args:
        before: (T, 88) states.
        after: (T, 88), each a step later.
    """
    return _count_per_key(NUM_STATES * before + after, NUM_STATES**2).reshape(NUM_KEYS, NUM_STATES, NUM_STATES)


def _count_per_key(values: np.ndarray, num_values: int) -> np.ndarray:
    """(88, num_values) int64: how often each value occurs in each column of (T, 88)."""
    numbered = values + num_values * np.arange(NUM_KEYS)
    return np.bincount(numbered.ravel(), minlength=NUM_KEYS * num_values).reshape(NUM_KEYS, num_values)


def _count_tempos(counter: Counter[int], tempo_us: np.ndarray) -> None:
    values, counts = np.unique(tempo_us, return_counts=True)
    counter.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _median(counter: Counter[int]) -> int:
    """The middle value, or the mean of the two that are, without its half."""
    values = sorted(counter)
    ends = np.cumsum([counter[value] for value in values])
    lower, upper = np.searchsorted(ends, [(ends[-1] - 1) // 2, ends[-1] // 2], side="right")
    return int((values[lower] + values[upper]) // 2)
