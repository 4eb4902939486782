"""Rolls without their zeros, as shards hold them: most keys are silent at most steps, and few tempos differ from the last.

Rows and tempo changes are seen as 16-bit words. What is kept is a bit per word, whether it is other than zero, and the words
that are: a quarter of the bytes, found in half the time it would take to hash all of them.
"""

import numpy as np

from pianogen.kernel import kernel
from pianogen.roll import PACKED_BYTES, Roll

_WORD, _TEMPO = np.dtype("<u2"), np.dtype("<u4")


def squeeze(roll: Roll) -> tuple[bytes, bytes]:
    """The packed rows and the tempo of a roll; equal ones give equal bytes, others never do."""
    changes = roll.tempo_us.astype(_TEMPO)
    changes[1:] -= roll.tempo_us[:-1]
    return _without_zeros(roll.packed.reshape(-1).view(_WORD)).tobytes(), _without_zeros(changes.view(_WORD)).tobytes()


def expand(squeezed: np.ndarray, num_steps: int) -> Roll:
    """The roll that `squeeze` was given.

    Args:
        squeezed: (N,) uint8, rows and tempo joined.
    """
    rows, num_bytes = _with_zeros(squeezed, num_steps * PACKED_BYTES // _WORD.itemsize)
    changes, _ = _with_zeros(squeezed[num_bytes:], num_steps * _TEMPO.itemsize // _WORD.itemsize)
    return Roll(rows.view(np.uint8).reshape(num_steps, PACKED_BYTES), np.cumsum(changes.view(_TEMPO), dtype=_TEMPO))


@kernel
def _without_zeros(words):  # type: ignore[no-untyped-def]
    """(N,) uint8 of (W,) words: W bits, then the words that are not zero."""
    num_words, num_bits = len(words), (len(words) + 7) // 8
    found = np.empty(num_words, np.uint16)
    bits = np.zeros(num_bits, np.uint8)
    num_found = 0
    for i in range(num_words):
        # Written for every word and kept if it is not zero: cheaper than a branch that is mispredicted.
        found[num_found] = words[i]
        is_kept = words[i] != 0
        num_found += is_kept
        bits[i >> 3] |= np.uint8(is_kept) << (i & 7)
    return np.concatenate((bits, found[:num_found].view(np.uint8)))


@kernel
def _with_zeros(squeezed, num_words):  # type: ignore[no-untyped-def]
    """(W,) uint16 words, and how many bytes they were in."""
    words = np.zeros(num_words, np.uint16)
    at = (num_words + 7) // 8
    for i in range(num_words):
        if squeezed[i >> 3] >> (i & 7) & 1:
            words[i] = squeezed[at] | squeezed[at + 1] << 8
            at += 2
    return words, at
