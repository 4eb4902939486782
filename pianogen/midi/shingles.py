"""The shingles of a roll, and their MinHash signature, which compares two pieces without their rolls; compiled with numba.

A shingle is a sequence of 8 consecutive onsets, sorted by step and key, as 7 pairs of a step difference and a key difference. A
step difference over 16 quarter notes counts as 16 quarter notes. So the shingles of a piece do not depend on its key, its
tempos, or the length of its notes or of its long rests; other note values give other shingles. The similarity of two pieces is
the Jaccard index of their sets of shingles.

signature.py explains the signature.
"""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.signature import NUM_BINS, MinHash
from pianogen.roll import PACKED_BYTES, Roll

SHINGLE_ONSETS = 8
MAX_GAP_QUARTERS = 16
_NUM_PAIRS = SHINGLE_ONSETS - 1
_ONSET_BYTES = PACKED_BYTES // 2
_KEY_DIFFERENCES = 256  # more than the differences of 88 keys, from -87 to 87
_FIRST_BIT = np.array([8 - value.bit_length() for value in range(256)], np.uint8)  # the position of the highest bit, 0 to 7
_BIN_SHIFT = np.uint64(64 - NUM_BINS.bit_length() + 1)
_BIN_REMAINDER = np.uint64((1 << int(_BIN_SHIFT)) - 1)
_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  # larger than every remainder
_BASE = np.uint64(0x9E37_79B9_7F4A_7C15)  # of the polynomial hash: odd, as 2**64 over the golden ratio
_BASE_TO_7 = np.uint64(pow(int(_BASE), _NUM_PAIRS, 1 << 64))


def minhash(roll: Roll) -> MinHash | None:
    """The summary of a roll's shingles, None for a roll of fewer than 8 onsets, which has none."""
    summary = _summarize(roll.packed, MAX_GAP_QUARTERS * roll.steps_per_quarter)
    return MinHash(int(summary.smallest), summary.signature.tobytes()) if summary.has_shingles else None


class _Summary(NamedTuple):
    """The fields of a MinHash, which are undefined for a roll without shingles."""

    has_shingles: bool
    smallest: np.uint64
    signature: np.ndarray


@kernel
def _summarize(packed: np.ndarray, max_gap: int) -> _Summary:
    minima = _hash_shingles(packed, max_gap)
    for selected in range(NUM_BINS):
        if minima[selected] != _EMPTY:
            return _Summary(True, np.uint64(selected) << _BIN_SHIFT | minima[selected], _fill_bins(minima))
    return _Summary(False, _EMPTY, np.empty(0, np.uint8))


@kernel
def _mix(value: np.uint64) -> np.uint64:
    """A hash whose bits depend on all bits of the value: the output function of SplitMix64 (Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _hash_shingles(packed: np.ndarray, max_gap: int) -> np.ndarray:
    """(NUM_BINS,) uint64: the smallest hash in each bin without the bits that select the bin, _EMPTY if there is none.

    Args:
        packed: (T, 22) uint8 rows of the roll.
        max_gap: the largest step difference that is told apart.
    """
    minima = np.full(NUM_BINS, _EMPTY, np.uint64)
    pairs = np.zeros(_NUM_PAIRS, np.uint64)  # hashes of the latest pairs
    polynomial = np.uint64(0)
    num_onsets = oldest = last_step = 0
    last_key = np.int64(0)
    for step in range(len(packed)):
        for byte in range(_ONSET_BYTES):
            bits = packed[step, byte]
            while bits:
                position = _FIRST_BIT[bits]
                bits ^= np.uint8(0x80) >> position
                key = 8 * byte + np.int64(position)
                pair = min(step - last_step, max_gap) * _KEY_DIFFERENCES + key - last_key + _KEY_DIFFERENCES // 2
                mixed = _mix(np.uint64(pair))
                polynomial = polynomial * _BASE + mixed - pairs[oldest] * _BASE_TO_7
                pairs[oldest] = mixed
                oldest = oldest + 1 if oldest < _NUM_PAIRS - 1 else 0
                num_onsets += 1
                last_step, last_key = step, key
                if num_onsets >= SHINGLE_ONSETS:
                    shingle = _mix(polynomial)
                    selected = shingle >> _BIN_SHIFT
                    minima[selected] = min(minima[selected], shingle & _BIN_REMAINDER)
    return minima


@kernel
def _fill_bins(minima: np.ndarray) -> np.ndarray:
    """(NUM_BINS,) uint8: the last byte of each bin's hash, or of the first bin in its fixed sequence that is not empty."""
    signature = np.empty(NUM_BINS, np.uint8)
    for i in range(NUM_BINS):
        source, attempt = np.int64(i), i
        while minima[source] == _EMPTY:
            attempt += NUM_BINS
            source = np.int64(_mix(np.uint64(attempt)) % np.uint64(NUM_BINS))
        signature[i] = minima[source] & np.uint64(0xFF)
    return signature
