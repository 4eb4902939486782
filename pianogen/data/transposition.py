"""Transposition of packed rows by as many semitones as the keyboard allows; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.roll import NUM_KEYS, PACKED_BYTES

MARGIN = 2  # bytes by which the bit of a key moves at most, by 11 semitones
_STATE_BYTES = PACKED_BYTES // 2  # of the onset bits of a row; as many bytes of hold bits follow


class KeyRanges(NamedTuple):
    """The keys that sound in each of R rows.

    Attributes:
        lowest: (R,) uint8; NUM_KEYS if no key sounds.
        highest: (R,) uint8; 0 if no key sounds.
    """

    lowest: np.ndarray
    highest: np.ndarray


@kernel
def find_key_ranges(packed: np.ndarray, into: KeyRanges) -> None:
    """Finds the lowest and the highest key of each of (R, 22) packed rows."""
    for row in range(len(packed)):
        lowest, highest = NUM_KEYS, 0
        for byte in range(_STATE_BYTES):
            bits = packed[row, byte] | packed[row, _STATE_BYTES + byte]
            for bit in range(8 if bits else 0):
                if bits & (0x80 >> bit):
                    highest = 8 * byte + bit
                    lowest = min(lowest, highest)
        into.lowest[row], into.highest[row] = lowest, highest


@kernel
def choose_semitones(lowest: int, highest: int, random: int, max_semitones: int) -> int:
    """A transposition, uniform among those that keep a range of keys on the keyboard.

    Args:
        lowest, highest: the range; NUM_KEYS and 0 if no key sounds.
        random: uniform in 0..2**32 - 1; the number of semitones follows from it.
        max_semitones: largest transposition up or down, 0..11.
    """
    if lowest > highest:
        return 0
    down, up = min(max_semitones, lowest), min(max_semitones, NUM_KEYS - 1 - highest)
    return (random * (down + up + 1) >> 32) - down


@kernel
def shift_keys(rows: np.ndarray, semitones: int, into: np.ndarray) -> None:
    """Moves all keys of some rows up by a number of semitones; no key may leave the keyboard.

    Args:
        rows: uint8, N packed rows end to end, with MARGIN zeros before and after them.
        semitones: -11..11.
        into: (N * 22,) uint8.
    """
    # All rows are shifted as one string of bits: no key leaves the keyboard, so no bit enters another row. Key 0 is the highest
    # bit of its byte, so a higher key is a shift to the right.
    num_bytes, num_bits = semitones >> 3, semitones & 7
    low = rows[MARGIN - num_bytes :][: len(into)]
    high = rows[MARGIN - num_bytes - 1 :][: len(into)]
    for i in range(len(into)):
        into[i] = low[i] >> num_bits | high[i] << (8 - num_bits)
