"""Windows moved up or down by semitones, as far as they stay on the keyboard."""

import numpy as np

from pianogen.roll import PACKED_BYTES

_STATE_BYTES = PACKED_BYTES // 2  # the onset bits of a row, and as many hold bits


def transposed(packed: np.ndarray, draws: np.ndarray, most: int) -> np.ndarray:
    """Each window moved by a number of semitones, uniform among those that keep all its sounding keys on the keyboard.

    Args:
        packed: (B, T, 22) uint8.
        draws: (B,) int64, uniform in 0..2**32 - 1; they decide.
        most: semitones up or down, 1..11.

    Returns:
        (B, T, 22) uint8.
    """
    struck_or_held = np.bitwise_or.reduce(packed, axis=1)
    sounds = np.unpackbits(struck_or_held[:, :_STATE_BYTES] | struck_or_held[:, _STATE_BYTES:], axis=1)
    down = np.minimum(most, sounds.argmax(axis=1))
    up = np.minimum(most, sounds[:, ::-1].argmax(axis=1))
    semitones = (draws * (down + up + 1) >> 32) - down
    moved = np.empty_like(packed)
    for shift in np.unique(semitones):
        is_chosen = semitones == shift
        moved[is_chosen] = _moved(packed[is_chosen], int(shift))
    return moved


def _moved(packed: np.ndarray, semitones: int) -> np.ndarray:
    """Rows whose keys all lie that much higher; those beyond an end are lost."""
    states = packed.reshape(-1, 2, _STATE_BYTES)
    whole, bits = divmod(semitones, 8)
    # Key 0 is the highest bit of the first byte, so that up is towards the end, across bytes.
    around = np.zeros((len(states), 2, 3 * _STATE_BYTES + 1), np.uint8)
    first = _STATE_BYTES + 1
    around[..., first : first + _STATE_BYTES] = states
    here = around[..., first - whole : first - whole + _STATE_BYTES]
    before = around[..., first - whole - 1 : first - whole - 1 + _STATE_BYTES]
    return (here >> bits | before << (8 - bits)).reshape(packed.shape)
