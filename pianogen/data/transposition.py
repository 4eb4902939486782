"""Transposition of windows by as many semitones as the keyboard allows."""

import numpy as np

from pianogen.roll import PACKED_BYTES

_STATE_BYTES = PACKED_BYTES // 2  # of the onset bits of a row; as many bytes of hold bits follow
_MAX_BYTE_SHIFT = 2  # of a bit that moves by 11 semitones


def transpose(packed: np.ndarray, random: np.ndarray, max_semitones: int) -> np.ndarray:
    """Transposes each window by a random number of semitones, uniform among those that keep its keys on the keyboard.

    Args:
        packed: (B, T, 22) uint8.
        random: (B,) int64, uniform in 0..2**32 - 1; the number of semitones of a window follows from it.
        max_semitones: largest transposition up or down, 1..11.

    Returns:
        (B, T, 22) uint8.
    """
    bits = np.bitwise_or.reduce(packed, axis=1)
    sounds = np.unpackbits(bits[:, :_STATE_BYTES] | bits[:, _STATE_BYTES:], axis=1)
    down = np.minimum(max_semitones, sounds.argmax(axis=1))
    up = np.minimum(max_semitones, sounds[:, ::-1].argmax(axis=1))
    semitones = (random * (down + up + 1) >> 32) - down
    transposed = np.empty_like(packed)
    for shift in np.unique(semitones):
        is_chosen = semitones == shift
        transposed[is_chosen] = _shift_keys(packed[is_chosen], int(shift))
    return transposed


def _shift_keys(packed: np.ndarray, semitones: int) -> np.ndarray:
    """Moves all keys up by a number of semitones; no key may leave the keyboard."""
    # All rows are shifted as one string of bits: no key leaves the keyboard, so no bit enters another row. Key 0 is the highest
    # bit of its byte, so a higher key is a shift to the right.
    num_bytes, num_bits = divmod(semitones, 8)
    padded = np.pad(packed.reshape(-1), _MAX_BYTE_SHIFT)
    low = padded[_MAX_BYTE_SHIFT - num_bytes :][: packed.size]
    high = padded[_MAX_BYTE_SHIFT - num_bytes - 1 :][: packed.size]
    return (low >> num_bits | high << (8 - num_bits)).reshape(packed.shape)
