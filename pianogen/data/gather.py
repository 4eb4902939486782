"""Windows gathered from the rows of pieces in one pass: copied, transposed, with the context of each; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.data.context import PITCH_CLASSES, find_durations, find_onsets
from pianogen.data.matches import Matches
from pianogen.data.transposition import MARGIN, choose_semitones, find_range, shift_keys
from pianogen.kernel_cache import kernel
from pianogen.roll import DEFAULT_TEMPO_US, NUM_KEYS, PACKED_BYTES
from pianogen.window import PROFILE_DECAYS, Context, Window


class Rows(NamedTuple):
    """The rows of some pieces, end to end.

    Attributes:
        packed: (R, 22) uint8.
        tempo_us: (R,) int32.
        matches: of R rows, or empty; windows have a context if they are not empty.
    """

    packed: np.ndarray
    tempo_us: np.ndarray
    matches: Matches

    @property
    def has_matches(self) -> bool:
        """Whether the rows have matches, and windows of them a context."""
        return len(self.matches.distance) > 0


class Places(NamedTuple):
    """Where n windows lie, and how they are transposed.

    Attributes:
        start: (n,) int64 row at which the piece of the window starts.
        stop: (n,) int64 row after the last row of the piece.
        step: (n,) int32 step of the first predicted row in the piece, at least 0. Rows before and after the piece are silence at
            120 bpm.
        trimmed_steps: (n,) int32 number of steps that were trimmed from the start of the piece.
        random: (n,) int64, uniform in 0..2**32 - 1; the transposition of the window follows from it.
    """

    start: np.ndarray
    stop: np.ndarray
    step: np.ndarray
    trimmed_steps: np.ndarray
    random: np.ndarray


def gather_windows(rows: Rows, places: Places, length: int, max_semitones: int) -> Window:
    """The windows at some places, in NumPy arrays; they have a context if the rows have matches.

    Args:
        length: number of rows of a window, with the row before the first predicted one.
        max_semitones: largest transposition up or down, 0..11.
    """
    num = len(places.start)
    num_contexts, num_matches = (num, length - 1) if rows.has_matches else (0, 0)
    packed, tempo_us = np.empty((num, length, PACKED_BYTES), np.uint8), np.empty((num, length), np.int32)
    context = Context(
        step=places.step,
        first_step=places.trimmed_steps,
        semitones=np.zeros(num, np.int32),
        match=np.empty((num, num_matches, PACKED_BYTES), np.uint8),
        match_steps=np.empty((num, num_matches), np.int32),
        since_onset=np.empty((num_contexts, NUM_KEYS), np.uint8),
        duration=np.empty((num_contexts, NUM_KEYS), np.uint8),
        profile=np.empty((num_contexts, len(PROFILE_DECAYS), PITCH_CLASSES), np.float32),
    )
    _gather(rows, places, max_semitones, packed, tempo_us, context)
    return Window(packed, tempo_us, context if rows.has_matches else ())


@kernel
def _gather(rows: Rows, places: Places, max_semitones: int, packed: np.ndarray, tempo_us: np.ndarray, context: Context) -> None:
    scratch = np.empty(packed.shape[1] * PACKED_BYTES + 2 * MARGIN, np.uint8)
    for i in range(len(packed)):
        piece, step = slice(places.start[i], places.stop[i]), places.step[i]
        window, match = packed[i].reshape(-1), context.match[i].reshape(-1)
        _copy(rows.packed[piece].reshape(-1), (step - 1) * PACKED_BYTES, 0, window)
        _copy(rows.tempo_us[piece], step - 1, DEFAULT_TEMPO_US, tempo_us[i])
        _copy_matches(rows, places, i, context.match[i], context.match_steps[i])
        if max_semitones > 0:
            low, high = find_range(window, scratch)
            match_low, match_high = find_range(match, scratch)
            semitones = choose_semitones(min(low, match_low), max(high, match_high), places.random[i], max_semitones)
            shift_keys(window, semitones, scratch)
            shift_keys(match, semitones, scratch)
            context.semitones[i] = semitones
        if len(context.profile) > 0:
            find_onsets(rows.packed[piece], step, context.semitones[i], context.since_onset[i], context.profile[i])
            find_durations(rows.packed[piece], step, context.semitones[i], context.duration[i])


@kernel
def _copy(source: np.ndarray, first: int, fill: int, into: np.ndarray) -> None:
    """Copies elements of an array, from `first` on; elements before and after the array are `fill`."""
    begin = min(max(-first, 0), len(into))
    end = max(begin, min(len(source) - first, len(into)))
    into[:begin] = fill
    into[end:] = fill
    if begin < end:
        copied, target = source[first + begin : first + end], into[begin:end]
        for i in range(len(target)):  # the compiler copies vectors; a copy of slices takes ten times as long
            target[i] = copied[i]


@kernel
def _copy_matches(rows: Rows, places: Places, window: int, match: np.ndarray, match_steps: np.ndarray) -> None:
    """Copies the row that followed the longest match of each predicted row of a window, or silence."""
    for i in range(len(match)):
        row = places.start[window] + places.step[window] + i
        match[i], match_steps[i] = 0, 0
        if row < places.stop[window] and rows.matches.num_steps[row] > 0:
            match[i] = rows.packed[row - rows.matches.distance[row]]
            match_steps[i] = rows.matches.num_steps[row]
