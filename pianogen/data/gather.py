"""Windows gathered from the rows of pieces in one pass: copied, transposed, with the context of each; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.data.context import PITCH_CLASSES, find_durations, find_onsets
from pianogen.data.matches import Matches
from pianogen.data.transposition import MARGIN, KeyRanges, choose_semitones, shift_keys
from pianogen.kernel_cache import kernel
from pianogen.roll import DEFAULT_TEMPO_US, NUM_KEYS, PACKED_BYTES
from pianogen.window import PROFILE_DECAYS, Context, Window


class Rows(NamedTuple):
    """The rows of some pieces, end to end.

    Attributes:
        packed: (R, 22) uint8.
        tempo_us: (R,) int32.
        bar_position: (R,) uint8.
        matches: of R rows, or empty; windows have a context if they are not empty.
        ranges: of R rows, or empty if no window is transposed.
    """

    packed: np.ndarray
    tempo_us: np.ndarray
    bar_position: np.ndarray
    matches: Matches
    ranges: KeyRanges

    @property
    def has_matches(self) -> bool:
        """Whether the rows have matches, and windows of them a context."""
        return len(self.matches.distance) > 0


class Places(NamedTuple):
    """The places of n windows in the rows, and their transpositions.

    Attributes:
        start: (n,) int64 row at which the piece of the window starts.
        stop: (n,) int64 row after the last row of the piece.
        step: (n,) int32 step of the first predicted row in the piece, at least 0. Rows before and after the piece are silence at
            120 bpm and bar position 0.
        random: (n,) int64, uniform in 0..2**32 - 1; the transposition of the window follows from it.
    """

    start: np.ndarray
    stop: np.ndarray
    step: np.ndarray
    random: np.ndarray


class _Arrays(NamedTuple):
    """The arrays of windows; those of the context have no elements if the windows have none."""

    packed: np.ndarray
    tempo_us: np.ndarray
    bar_position: np.ndarray
    context: Context


def gather_windows(rows: Rows, places: Places, length: int, max_semitones: int) -> Window:
    """The windows at some places, in NumPy arrays; they have a context if the rows have matches.

    Args:
        length: number of rows of a window, with the row before the first predicted one.
        max_semitones: largest transposition up or down, 0..11.
    """
    num = len(places.start)
    num_contexts, num_matches = (num, length - 1) if rows.has_matches else (0, 0)
    packed, tempo_us = np.empty((num, length, PACKED_BYTES), np.uint8), np.empty((num, length), np.int32)
    bar_position = np.empty((num, length), np.uint8)
    context = Context(
        step=places.step,
        bars=np.zeros(num, np.int32),
        semitones=np.zeros(num, np.int32),
        match=np.empty((num, num_matches, PACKED_BYTES), np.uint8),
        match_steps=np.empty((num, num_matches), np.int32),
        match_distance=np.empty((num, num_matches), np.int32),
        since_onset=np.empty((num_contexts, NUM_KEYS), np.uint8),
        duration=np.empty((num_contexts, NUM_KEYS), np.uint8),
        profile=np.empty((num_contexts, len(PROFILE_DECAYS), PITCH_CLASSES), np.float32),
    )
    _gather(rows, places, max_semitones, _Arrays(packed, tempo_us, bar_position, context))
    return Window(packed, tempo_us, bar_position, context if rows.has_matches else ())


@kernel
def _gather(rows: Rows, places: Places, max_semitones: int, into: _Arrays) -> None:
    packed, tempo_us, bar_position, context = into
    all_bytes, packed_bytes, match_bytes = rows.packed.reshape(-1), packed.reshape(-1), context.match.reshape(-1)
    size, match_size = packed.shape[1] * PACKED_BYTES, context.match.shape[1] * PACKED_BYTES
    buffer, match_buffer = np.zeros(size + 2 * MARGIN, np.uint8), np.zeros(match_size + 2 * MARGIN, np.uint8)
    for i in range(len(packed)):
        start, stop = places.start[i], places.stop[i]
        first = start + places.step[i] - 1
        window, match = packed_bytes[i * size : (i + 1) * size], match_bytes[i * match_size : (i + 1) * match_size]
        is_transposed = max_semitones > 0
        keys = buffer[MARGIN : MARGIN + size] if is_transposed else window
        _copy(all_bytes, first * PACKED_BYTES, start * PACKED_BYTES, stop * PACKED_BYTES, 0, keys)
        _copy(rows.tempo_us, first, start, stop, DEFAULT_TEMPO_US, tempo_us[i])
        _copy(rows.bar_position, first, start, stop, 0, bar_position[i])
        if match_size > 0:
            match_keys = match_buffer[MARGIN : MARGIN + match_size] if is_transposed else match
            into_matches = Matches(context.match_distance[i], context.match_steps[i])
            _copy_matches(all_bytes, rows.matches, first + 1, stop, match_keys, into_matches)
        semitones = 0
        if is_transposed:
            lowest, highest = _find_range(rows, first, start, stop, packed.shape[1], context.match.shape[1])
            semitones = choose_semitones(lowest, highest, places.random[i], max_semitones)
            shift_keys(buffer, semitones, window)
            shift_keys(match_buffer, semitones, match)
        if match_size > 0:
            piece = rows.packed[start:stop]
            context.semitones[i] = semitones
            context.bars[i] = _count_bar_lines(rows.bar_position[start : min(first + 1, stop)])
            find_onsets(piece, places.step[i], semitones, context.since_onset[i], context.profile[i])
            find_durations(piece, places.step[i], semitones, context.duration[i])


@kernel
def _count_bar_lines(bar_position: np.ndarray) -> int:
    count = 0
    for position in bar_position:
        count += position == 0
    return count


@kernel
def _copy(source: np.ndarray, first: int, start: int, stop: int, fill: int, into: np.ndarray) -> None:
    """Copies elements of an array, from `first` on; elements outside of start..stop - 1 are `fill`."""
    begin = min(max(start - first, 0), len(into))
    end = max(begin, min(stop - first, len(into)))
    for i in range(begin):
        into[i] = fill
    for i in range(end, len(into)):
        into[i] = fill
    if begin < end:
        copied, target = source[first + begin : first + end], into[begin:end]
        for i in range(len(target)):  # the compiler copies vectors; a copy of slices takes ten times as long
            target[i] = copied[i]


@kernel
def _copy_matches(all_bytes: np.ndarray, matches: Matches, first: int, stop: int, match: np.ndarray, into: Matches) -> None:
    """Copies the longest matches of rows `first`, `first + 1`, ... and the rows that followed; silence if there is no match."""
    match[:], into.distance[:], into.num_steps[:] = 0, 0, 0
    for i in range(min(len(into.num_steps), stop - first)):
        row = first + i
        into.distance[i], into.num_steps[i] = matches.distance[row], matches.num_steps[row]
        if into.num_steps[i] > 0:
            followed = (row - into.distance[i]) * PACKED_BYTES
            match[i * PACKED_BYTES : (i + 1) * PACKED_BYTES] = all_bytes[followed : followed + PACKED_BYTES]


@kernel
def _find_range(rows: Rows, first: int, start: int, stop: int, num_rows: int, num_matches: int) -> tuple[int, int]:
    """The lowest and the highest key of the rows of a window and of the rows of their matches."""
    begin, end = max(first, start), min(first + num_rows, stop)
    lowest, highest = NUM_KEYS, 0
    # One loop for each array, over a slice and with one type of number: the compiler then uses vectors.
    for key in rows.ranges.lowest[begin:end]:
        if key < lowest:
            lowest = key
    for key in rows.ranges.highest[begin:end]:
        if key > highest:
            highest = key
    for row in range(first + 1, min(first + 1 + num_matches, stop)):
        if rows.matches.num_steps[row] > 0:
            followed = row - rows.matches.distance[row]
            lowest, highest = min(lowest, rows.ranges.lowest[followed]), max(highest, rows.ranges.highest[followed])
    return lowest, highest
