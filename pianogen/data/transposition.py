"""Windows moved up or down by semitones, as far as they stay on the keyboard."""

import numpy as np

from pianogen.roll import PACKED_BYTES

_STATE_BYTES = PACKED_BYTES // 2  # the onset bits of a row, and as many hold bits
_MOST_BYTES = 3  # that a bit can come from, 11 semitones away


def transposed(packed: np.ndarray, draws: np.ndarray, most: int) -> np.ndarray:
    """Each window moved by a number of semitones, uniform among those that keep all its sounding keys on the keyboard.

    Args:
        packed: (B, T, 22) uint8.
        draws: (B,) int64, uniform in 0..2**32 - 1; they decide.
        most: semitones up or down, 1..11.

    Returns:
        (B, T, 22) uint8.
    """
    united = np.bitwise_or.reduce(packed, axis=1)
    sounds = np.unpackbits(united[:, :_STATE_BYTES] | united[:, _STATE_BYTES:], axis=1)
    down = np.minimum(most, sounds.argmax(axis=1))
    up = np.minimum(most, sounds[:, ::-1].argmax(axis=1))
    semitones = (draws * (down + up + 1) >> 32) - down
    moved = np.empty_like(packed)
    for shift in np.unique(semitones):
        is_chosen = semitones == shift
        moved[is_chosen] = _moved(packed[is_chosen], int(shift))
    return moved


def _moved(packed: np.ndarray, semitones: int) -> np.ndarray:
    """Rows whose keys all lie that much higher, none of which may leave the keyboard."""
    # As one long string of bits: what stays on the keyboard stays in its row. Key 0 is the highest bit of a byte, so up is right.
    whole, bits = divmod(semitones, 8)
    around = np.pad(packed.reshape(-1), _MOST_BYTES)
    here = around[_MOST_BYTES - whole :][: packed.size]
    before = around[_MOST_BYTES - whole - 1 :][: packed.size]
    return (here >> bits | before << (8 - bits)).reshape(packed.shape)
