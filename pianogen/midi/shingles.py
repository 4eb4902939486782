"""The shingles of a roll, and their MinHash signature, which compares two pieces without their rolls; compiled with numba.

A shingle is a sequence of 8 consecutive onsets, sorted by step and key, as 7 pairs of a step difference and a key difference. A
step difference over 16 quarter notes counts as 16 quarter notes. So the shingles of a piece do not depend on its key, its
tempos, or the length of its notes or of its long rests; other note values give other shingles. The similarity of two pieces is
the Jaccard index of their sets of shingles.

signature.py explains the signature.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from pianogen.kernel_cache import kernel
from pianogen.midi.signature import NUM_BINS, MinHash
from pianogen.roll import NUM_KEYS, PACKED_BYTES, Roll

SHINGLE_ONSETS = 8
MAX_GAP_QUARTERS = 16
_NUM_PAIRS = SHINGLE_ONSETS - 1
_ONSET_BYTES = PACKED_BYTES // 2
_KEY_DIFFERENCES = 256  # more than the differences of 88 keys, from -87 to 87
_BLOCK_STEPS = 64
_BLOCK_CELLS = _BLOCK_STEPS * NUM_KEYS
# The onsets of a step are read as two words: bytes of the low keys, and of the others.
_LOW_BYTES = 8
_UNUSED_BITS = np.uint64(64 - 8 * (_ONSET_BYTES - _LOW_BYTES))
_FIRST_BIT = np.uint64(1 << 63)
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
        max_gap: the largest step difference; a larger one counts as this one.
    """
    pairs = _hash_pairs(_find_onsets(packed), max_gap)
    minima = np.full(NUM_BINS, _EMPTY, np.uint64)
    polynomial = np.uint64(0)
    for i in range(len(pairs)):
        polynomial = polynomial * _BASE + pairs[i]
        if i >= _NUM_PAIRS:
            polynomial -= pairs[i - _NUM_PAIRS] * _BASE_TO_7
            shingle = _mix(polynomial)
            selected = shingle >> _BIN_SHIFT
            minima[selected] = min(minima[selected], shingle & _BIN_REMAINDER)
    return minima


@kernel
def _find_onsets(packed: np.ndarray) -> np.ndarray:
    """(N, 2) int32: step and key of each onset, sorted."""
    onsets = np.empty((4 * len(packed) + _BLOCK_CELLS, 2), np.int32)
    num_onsets = 0
    for first_step in range(0, len(packed), _BLOCK_STEPS):
        if num_onsets + _BLOCK_CELLS > len(onsets):
            onsets = np.concatenate((onsets, np.empty_like(onsets)))
        num_onsets += _find_in_block(packed[first_step : first_step + _BLOCK_STEPS], first_step, onsets[num_onsets:])
    return onsets[:num_onsets]


@kernel
def _find_in_block(packed: np.ndarray, first_step: int, onsets: np.ndarray) -> int:
    """Fills in the onsets of some steps, and returns their number."""
    num_onsets = 0
    for i in range(len(packed)):
        low, high = np.uint64(0), np.uint64(0)  # one bit per key, the lowest key first
        for byte in range(_LOW_BYTES):
            low = low << np.uint64(8) | np.uint64(packed[i, byte])
        for byte in range(_LOW_BYTES, _ONSET_BYTES):
            high = high << np.uint64(8) | np.uint64(packed[i, byte])
        for first_key, word in ((0, low), (8 * _LOW_BYTES, high << _UNUSED_BITS)):
            while word:
                position = _leading_zeros(word)
                word ^= _FIRST_BIT >> position
                onsets[num_onsets, 0], onsets[num_onsets, 1] = first_step + i, first_key + np.int64(position)
                num_onsets += 1
    return num_onsets


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _leading_zeros(_context: Any, word: Any) -> Any:
    """The number of zero bits above the highest set bit of a word that is not 0, which is an instruction of the processor."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


@kernel
def _hash_pairs(onsets: np.ndarray, max_gap: int) -> np.ndarray:
    """(N,) uint64: for each onset, the hash of its differences from the onset before it; the first belongs to no shingle."""
    hashes = np.empty(len(onsets), np.uint64)
    last_step = last_key = np.int32(0)
    for i in range(len(onsets)):
        step, key = onsets[i, 0], onsets[i, 1]
        pair = min(step - last_step, max_gap) * _KEY_DIFFERENCES + key - last_key + _KEY_DIFFERENCES // 2
        hashes[i] = _mix(np.uint64(pair))
        last_step, last_key = step, key
    return hashes


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
