"""The piano roll of one piece, packed in the format in which it is stored, hashed, transferred to devices and sampled.

One step is a sixteenth note, or another part of a quarter note. Its packed row is 22 bytes: `np.packbits` of 88 onset bits, then
of 88 hold bits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pianogen.command import counted

NUM_KEYS = 88
LOWEST_KEY = 21  # the MIDI note number of A0
STEPS_PER_QUARTER = 4  # a step is a sixteenth note unless preprocessing is given another number
PACKED_BYTES = 22
ROW_BYTES = PACKED_BYTES + 4 + 1  # of a row in a store or in memory, with its tempo and its bar position
MAX_BAR_POSITION = 255
MAX_TEMPO_US = 16_777_215  # the largest that fits the three bytes of a tempo event
US_PER_MINUTE = 60_000_000
DEFAULT_TEMPO_US = 500_000  # in force before the first tempo event (Standard MIDI Files 1.0)

SILENT, ONSET, HOLD = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Roll:
    """The state of each key at each step of a piece, the tempo, and the position in the bar.

    Attributes:
        packed: (T, 22) uint8.
        tempo_us: (T,) uint32, microseconds per quarter note, 1..16,777,215.
        bar_position: (T,) uint8, steps since the last bar line, which is 0; 255 is 255 steps or more.
        first_step: the number of steps of silence that were trimmed from the start of the source.
        steps_per_quarter: the number of steps of a quarter note.
    """

    packed: np.ndarray
    tempo_us: np.ndarray
    bar_position: np.ndarray
    first_step: int = 0
    steps_per_quarter: int = STEPS_PER_QUARTER

    def __len__(self) -> int:
        return len(self.packed)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Roll)
            and np.array_equal(self.packed, other.packed)
            and np.array_equal(self.tempo_us, other.tempo_us)
            and np.array_equal(self.bar_position, other.bar_position)
            and (self.first_step, self.steps_per_quarter) == (other.first_step, other.steps_per_quarter)
        )

    def __repr__(self) -> str:
        tempo = "no tempo"
        if len(self):
            slowest, fastest = (round(US_PER_MINUTE / int(us)) for us in (self.tempo_us.max(), self.tempo_us.min()))
            tempo = f"{slowest} bpm" if slowest == fastest else f"{slowest} to {fastest} bpm"
        return f"Roll({counted(len(self), 'step')}, {counted(self.num_notes, 'note')}, {tempo})"

    def _repr_png_(self) -> bytes | None:
        """The plot of the roll, which Jupyter shows."""
        from pianogen.roll_plot import plot_roll  # loads Pillow

        return plot_roll(self) if len(self) else None

    def rows(self, start: int | None, stop: int | None) -> Self:
        """A range of rows; `first_step` is 0, because the range is no longer the complete piece."""
        rows = slice(start, stop)
        return type(self)(
            self.packed[rows], self.tempo_us[rows], self.bar_position[rows], steps_per_quarter=self.steps_per_quarter
        )

    @property
    def states(self) -> np.ndarray:
        """(T, 88) uint8: SILENT, ONSET or HOLD."""
        return unpack(self.packed)

    @property
    def sha256(self) -> str:
        """Hex digest of the packed rows, without the tempo."""
        return hashlib.sha256(self.packed.tobytes()).hexdigest()

    @property
    def num_notes(self) -> int:
        """The number of onset cells."""
        return int(np.bitwise_count(self.packed[:, : PACKED_BYTES // 2]).sum(dtype=np.int64))


def join(rolls: Sequence[Roll]) -> Roll:
    """The rows of one or more rolls with equal steps per quarter note, end to end."""
    return Roll(
        np.concatenate([roll.packed for roll in rolls]),
        np.concatenate([roll.tempo_us for roll in rolls]),
        np.concatenate([roll.bar_position for roll in rolls]),
        steps_per_quarter=rolls[0].steps_per_quarter,
    )


def equal_bars(num_steps: int, bar_steps: int, first: int = 0) -> np.ndarray:
    """(T,) uint8 positions in bars of equal length.

    Args:
        first: the position of the first step.
    """
    return ((first + np.arange(num_steps)) % bar_steps).astype(np.uint8)


def sixteenths(values: np.ndarray, steps_per_quarter: int, combine: np.ufunc) -> np.ndarray:
    """(S,) the values of the steps that start in each sixteenth note, combined, for example by np.logical_or.

    Args:
        values: (T,) one for each step.
    """
    begins = np.unique(np.arange(len(values)) * STEPS_PER_QUARTER // steps_per_quarter, return_index=True)[1]
    return np.asarray(combine.reduceat(values, begins))


def pack(states: np.ndarray) -> np.ndarray:
    """(T, 22) uint8 packed rows of (T, 88) states."""
    return np.concatenate([np.packbits(states == ONSET, axis=1), np.packbits(states == HOLD, axis=1)], axis=1)


def unpack(packed: np.ndarray) -> np.ndarray:
    """(T, 88) uint8 states of (T, 22) packed rows."""
    bits = np.unpackbits(packed, axis=1)
    return bits[:, :NUM_KEYS] * np.uint8(ONSET) + bits[:, NUM_KEYS:] * np.uint8(HOLD)


def notes(states: np.ndarray) -> np.ndarray:
    """The notes of a roll; a hold that does not continue a note is silent.

    Args:
        states: (T, 88).

    Returns:
        (N, 3) int64 rows of (onset step, end step, key), ordered by onset step, then key.
    """
    # One silent row at the end of each key, so that a note never runs into the next key's column.
    columns = np.pad(states, ((0, 1), (0, 0))).T.ravel()
    breaks = np.flatnonzero(columns != HOLD)
    onsets = np.flatnonzero(columns == ONSET)
    ends = breaks[np.searchsorted(breaks, onsets, side="right")]
    key, step = np.divmod(onsets, len(states) + 1)
    rows = np.stack([step, step + ends - onsets, key], axis=1)
    return rows[np.lexsort((key, step))]
