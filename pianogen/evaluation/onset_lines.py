"""The onsets of rolls as a line of intervals, and the longest passage that two lines share; compiled with numba.

A passage is a sequence of consecutive onsets, sorted by step and key. Two passages are equal up to transposition and tempo change
if they have equal intervals (differences of successive keys), and if the gaps of one (differences of successive steps) are those
of the other times one rational factor. So a gap counts as its ratio to the last gap before it that is not 0: onsets at the same
step have gap 0, and the first other gap of a passage is free.

The search slides a window over a line and looks its hash up among the windows of the query. The hash of any window follows from
two prefix hashes: a polynomial over its intervals and ratios, in which the first ratio is replaced. Equal hashes are verified.
"""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.roll import NUM_KEYS, PACKED_BYTES

_BASE = np.uint64(0x9E37_79B9_7F4A_7C15)  # of the polynomial: odd, as 2**64 over the golden ratio
_INTERVAL, _MULTIPLIER = np.uint64(0xBF58_476D_1CE4_E5B9), np.uint64(0x94D0_49BB_1331_11EB)  # of SplitMix64 (Steele et al. 2014)
_ONE, _SHIFT, _BITS = np.uint64(1), np.uint64(29), np.uint64(64)
_RATIO_SCALE = 1 << 20  # of a ratio as an integer; ratios that differ by less have equal hashes
_FREE = np.int64(-1)  # as a ratio


class Line(NamedTuple):
    """The N onsets of rolls end to end, sorted by step and key.

    Attributes:
        step: (N,) int64 row of each onset.
        key: (N,) int64.
        stop: (N,) int64 index after the last onset of the same roll.
        next_gap: (N,) int64 index of the first later onset with a gap other than 0; N if there is none.
        prefix: (N,) uint64 hash of the onsets up to this one.
        free: (N,) uint64 what to add to the hash of an onset if its ratio is free.
    """

    step: np.ndarray
    key: np.ndarray
    stop: np.ndarray
    next_gap: np.ndarray
    prefix: np.ndarray
    free: np.ndarray


class Match(NamedTuple):
    """A passage that a query shares with a line.

    Attributes:
        onsets: length.
        query: index of its first onset in the query.
        line: index of its first onset in the line.
    """

    onsets: int
    query: int
    line: int


def make_line(packed: np.ndarray, ends: np.ndarray) -> Line:
    """The onsets of rolls.

    Args:
        packed: (T, 22) uint8 rows of the rolls end to end.
        ends: (P,) row after each roll.
    """
    onset_bits = np.unpackbits(packed[:, : PACKED_BYTES // 2], axis=1)
    step, key = np.divmod(np.flatnonzero(onset_bits), NUM_KEYS)
    first_of_next = np.searchsorted(step, ends)
    stop = np.repeat(first_of_next, np.diff(first_of_next, prepend=0))
    return Line(step, key, stop, *_hash_onsets(step, key))


@kernel
def _hash_onsets(step: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`next_gap`, `prefix` and `free` of a line."""
    num_onsets = len(step)
    next_gap = np.empty(num_onsets, np.int64)
    prefix, free = np.zeros(num_onsets, np.uint64), np.zeros(num_onsets, np.uint64)
    last_gap = 1
    for i in range(1, num_onsets):
        gap, interval = step[i] - step[i - 1], key[i] - key[i - 1]
        # Quotients of floats are correctly rounded, so equal ratios give equal numbers.
        hashed = _hash(interval, np.int64(gap / last_gap * _RATIO_SCALE))
        prefix[i] = prefix[i - 1] * _BASE + hashed
        if gap > 0:
            free[i] = _hash(interval, _FREE) - hashed
            last_gap = gap
    following = num_onsets
    for i in range(num_onsets - 1, -1, -1):
        next_gap[i] = following
        if i > 0 and step[i] > step[i - 1]:
            following = i
    return next_gap, prefix, free


@kernel
def _hash(interval: np.int64, ratio: np.int64) -> np.uint64:
    value = np.uint64(interval) * _INTERVAL + np.uint64(ratio)
    value = (value ^ (value >> _SHIFT)) * _MULTIPLIER
    return value ^ (value >> _SHIFT)


def powers(count: int) -> np.ndarray:
    """(count,) uint64 powers of the base of the hashes, modulo 2**64."""
    return np.power(_BASE, np.arange(count, dtype=np.uint64))


@kernel
def find_longer(line: Line, query: Line, powers: np.ndarray, longest: int) -> Match:
    """Finds the longest passage that a query shares with a line, if it has more onsets than `longest`.

    Of several equally long passages, it is the one with the earliest onset in the line, then in the query. The time is
    proportional to the length of the line, and to that of the line and the query for each match that is longer than all earlier
    ones.

    Args:
        query: the line of one roll.
        powers: (Q,) powers of the base, one for each onset of the query.
        longest: 1 or more.

    Returns:
        The passage; without one, its number of onsets is `longest`.
    """
    match = Match(longest, -1, -1)
    windows, table = _hash_windows(line, powers, longest + 1), _make_table(query, powers, longest + 1)
    i = 0
    while i < len(windows):
        start = table.first[np.int64(windows[i] >> table.shift)]
        if start >= 0:
            start = _look_up(table, windows[i], line, i, query, match.onsets + 1)
        if start < 0:
            i += 1
            continue
        match = Match(_count_equal(line, i, query, start, len(query.step)), start, i)
        windows, table = _hash_windows(line, powers, match.onsets + 1), _make_table(query, powers, match.onsets + 1)
    return match


class _Table(NamedTuple):
    """A hash table of the windows of a query, with open addressing.

    Attributes:
        first: (C,) int32 index of the first onset of the window in each slot, -1 for an empty slot. Equal windows have one slot.
        shift: the number of low bits that a hash loses to become a slot.
        windows: the hash of each window.
    """

    first: np.ndarray
    shift: np.uint64
    windows: np.ndarray


@kernel
def _make_table(query: Line, powers: np.ndarray, length: int) -> _Table:
    num_bits = np.uint64(4)
    while (1 << num_bits) < 16 * len(query.step):
        num_bits += _ONE
    table = _Table(np.full(1 << num_bits, -1, np.int32), _BITS - num_bits, _hash_windows(query, powers, length))
    for i in range(len(table.windows)):
        if _look_up(table, table.windows[i], query, i, query, length) < 0:
            slot = np.int64(table.windows[i] >> table.shift)
            while table.first[slot] >= 0:
                slot = (slot + 1) & (len(table.first) - 1)
            table.first[slot] = i
    return table


@kernel
def _look_up(table: _Table, hashed: np.uint64, line: Line, i: int, query: Line, length: int) -> int:
    """The first window of the query that equals the window of a line from onset `i` on; -1 if there is none."""
    slot = np.int64(hashed >> table.shift)
    while table.first[slot] >= 0:
        start: int = table.first[slot]
        if table.windows[start] == hashed and _count_equal(line, i, query, start, length) == length:
            return start
        slot = (slot + 1) & (len(table.first) - 1)
    return -1


@kernel
def _hash_windows(line: Line, powers: np.ndarray, length: int) -> np.ndarray:
    """(N - length + 1,) uint64 hashes of the passages of `length` onsets, 2 or more; those across two rolls have no meaning."""
    num_windows = max(len(line.step) - length + 1, 0) if length <= len(powers) else 0
    windows = np.empty(num_windows, np.uint64)
    for i in range(num_windows):
        last, first_gap = i + length - 1, line.next_gap[i]
        hashed = line.prefix[last] - line.prefix[i] * powers[length - 1]
        if first_gap <= last:
            hashed += line.free[first_gap] * powers[last - first_gap]
        windows[i] = hashed * _MULTIPLIER  # the table uses the highest bits
    return windows


@kernel
def _count_equal(line: Line, i: int, other: Line, j: int, limit: int) -> int:
    """The number of onsets of the longest equal passages that begin with these onsets, at most `limit`."""
    count, scale, other_scale = 1, 0, 0
    while count < limit and i + count < line.stop[i] and j + count < other.stop[j]:
        at, other_at = i + count, j + count
        if line.key[at] - line.key[at - 1] != other.key[other_at] - other.key[other_at - 1]:
            break
        gap, other_gap = line.step[at] - line.step[at - 1], other.step[other_at] - other.step[other_at - 1]
        if scale == 0 and gap > 0 and other_gap > 0:
            scale, other_scale = gap, other_gap
        if gap * other_scale != other_gap * scale or (gap > 0) != (other_gap > 0):
            break
        count += 1
    return count
