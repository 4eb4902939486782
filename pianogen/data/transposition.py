"""Transposition of packed rows by as many semitones as the keyboard allows; compiled with numba."""

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.roll import NUM_KEYS, PACKED_BYTES

MARGIN = 2  # bytes by which the bit of a key moves at most, by 11 semitones
_STATE_BYTES = PACKED_BYTES // 2  # of the onset bits of a row; as many bytes of hold bits follow


@kernel
def choose_semitones(low: int, high: int, random: int, max_semitones: int) -> int:
    """A transposition, uniform among those that keep keys on the keyboard.

    Args:
        low: lowest key that sounds; NUM_KEYS if none does.
        high: highest key that sounds; -1 if none does.
        random: uniform in 0..2**32 - 1; the number of semitones follows from it.
        max_semitones: largest transposition up or down, 0..11.
    """
    if low > high:
        return 0
    down, up = min(max_semitones, low), min(max_semitones, NUM_KEYS - 1 - high)
    return (random * (down + up + 1) >> 32) - down


@kernel
def find_range(rows: np.ndarray, scratch: np.ndarray) -> tuple[int, int]:
    """The lowest and the highest key that sounds in some rows; NUM_KEYS and -1 if none does.

    Args:
        rows: (N * 22,) uint8 packed rows.
        scratch: uint8, not shorter; it is overwritten.
    """
    num_rows = len(rows) // PACKED_BYTES
    if num_rows == 0:
        return NUM_KEYS, -1
    # The second half of the rows is combined with the first one until one row remains; the row in the middle belongs to both.
    while True:
        half = (num_rows + 1) // 2
        skipped = (num_rows - half) * PACKED_BYTES
        first, second, combined = rows[: half * PACKED_BYTES], rows[skipped:], scratch[: half * PACKED_BYTES]
        for i in range(len(combined)):
            combined[i] = first[i] | second[i]
        if half == 1:
            break
        rows, num_rows = combined, half
    low, high = NUM_KEYS, -1
    for key in range(NUM_KEYS):
        if (scratch[key >> 3] | scratch[_STATE_BYTES + (key >> 3)]) & (0x80 >> (key & 7)):
            low, high = min(low, key), key
    return low, high


@kernel
def shift_keys(rows: np.ndarray, semitones: int, scratch: np.ndarray) -> None:
    """Moves all keys of some rows up by a number of semitones, in place; no key may leave the keyboard.

    Args:
        rows: (N * 22,) uint8 packed rows.
        semitones: -11..11.
        scratch: uint8, longer by 2 * MARGIN at least; it is overwritten.
    """
    # All rows are shifted as one string of bits: no key leaves the keyboard, so no bit enters another row. Key 0 is the highest
    # bit of its byte, so a higher key is a shift to the right.
    num_bytes, num_bits = semitones >> 3, semitones & 7
    scratch[:MARGIN] = 0
    scratch[MARGIN + len(rows) :] = 0
    copy = scratch[MARGIN:][: len(rows)]
    for i in range(len(rows)):
        copy[i] = rows[i]
    low = scratch[MARGIN - num_bytes :][: len(rows)]
    high = scratch[MARGIN - num_bytes - 1 :][: len(rows)]
    # Shifts by a number that is known to be less than 8, so that the compiler computes with vectors of bytes.
    right, left = np.uint8(num_bits & 7), np.uint8((7 - num_bits) & 7)
    for i in range(len(rows)):
        rows[i] = np.uint8(low[i] >> right) | np.uint8(np.uint8(high[i] << np.uint8(1)) << left)
