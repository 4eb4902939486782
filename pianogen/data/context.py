"""The context of a window from the earlier rows of its piece, see `pianogen.window.Context`; compiled with numba.

Both kernels read the piece backward from the window. Keys are moved by the transposition of the window.
"""

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.roll import NUM_KEYS, PACKED_BYTES
from pianogen.window import PROFILE_DECAYS

PITCH_CLASSES = 12
_LONGEST = 255  # steps; longer times are not distinguished
_HOLD_BYTE = PACKED_BYTES // 2  # the first byte of the hold bits of a row
_NUM_PROFILES = len(PROFILE_DECAYS)
_FACTORS = np.exp(-1 / np.array(PROFILE_DECAYS))  # by which each profile decays in a step


@kernel
def find_onsets(piece: np.ndarray, step: int, semitones: int, since_onset: np.ndarray, profile: np.ndarray) -> None:
    """Finds the last onset of each key before a step, and sums the onsets of each pitch class.

    The time is proportional to the step: about 7 µs for 1,000 rows of piano-midi.de.

    Args:
        piece: (T, 22) uint8 rows of the piece; rows after it are silent.
        since_onset: (88,) uint8, is overwritten; 255 for keys that a transposition moves in from outside of the keyboard.
        profile: (D, 12) float32, is overwritten.
    """
    since_onset[:] = _LONGEST
    sums, weights = np.zeros((_NUM_PROFILES, PITCH_CLASSES)), np.ones(_NUM_PROFILES)
    for age in range(1, step + 1):
        row = step - age
        if row < len(piece):
            for byte in range(_HOLD_BYTE):
                bits = piece[row, byte]
                if bits == 0:
                    continue
                for bit in range(8):
                    if bits & (0x80 >> bit):
                        key = 8 * byte + bit + semitones
                        for i in range(_NUM_PROFILES):
                            sums[i, key % PITCH_CLASSES] += weights[i]
                        if 0 <= key < NUM_KEYS and since_onset[key] > age:
                            since_onset[key] = age
        weights *= _FACTORS
    profile[:] = sums


@kernel
def find_durations(piece: np.ndarray, step: int, semitones: int, duration: np.ndarray) -> None:
    """Counts the steps for which each key has sounded before a step.

    Args:
        piece: (T, 22) uint8 rows of the piece; rows after it are silent.
        duration: (88,) uint8, is overwritten; 0 for keys that a transposition moves in from outside of the keyboard.
    """
    duration[:] = 0
    if step > len(piece):
        return
    for key in range(max(0, -semitones), min(NUM_KEYS, NUM_KEYS - semitones)):
        byte, mask = key >> 3, 0x80 >> (key & 7)
        row, earliest = step - 1, max(step - _LONGEST, 0)
        while row >= earliest and piece[row, _HOLD_BYTE + byte] & mask:
            row -= 1
        if row >= earliest and piece[row, byte] & mask:
            row -= 1
        duration[key + semitones] = step - 1 - row
