"""Rolls without their zeros, as shards hold them: most keys are silent at most steps, and few tempos differ from the last.

Rows and tempo changes are seen as 32-bit words. What is kept is a bit per word, whether it is other than zero, and the words
that are: a third of the bytes, found in less time than it takes to hash all of them. The number of steps follows; without
it, a roll with silence at its end could be taken for a shorter one.
"""

import numpy as np

from pianogen.roll import PACKED_BYTES, Roll

_WORD = np.dtype("<u4")


def squeeze(roll: Roll) -> tuple[bytes, bytes]:
    """The packed rows of a roll, and its tempo and length; joined, they are equal for equal rows and tempos alone."""
    changes = roll.tempo_us.astype(_WORD)
    changes[1:] -= roll.tempo_us[:-1]
    tempo = _without_zeros(changes.view(np.uint8))
    return _without_zeros(roll.packed.reshape(-1)), tempo + len(roll).to_bytes(_WORD.itemsize, "little")


def expand(squeezed: bytes, first_step: int) -> Roll:
    """The roll whose rows, tempo and length `squeeze` gave, joined."""
    num_steps = int.from_bytes(squeezed[-_WORD.itemsize :], "little")
    rows, rest = _with_zeros(np.frombuffer(squeezed, np.uint8), num_steps * PACKED_BYTES)
    changes, _ = _with_zeros(rest, num_steps * _WORD.itemsize)
    return Roll(rows.reshape(num_steps, PACKED_BYTES), np.cumsum(changes.view(_WORD), dtype=_WORD), first_step)


def _without_zeros(data: np.ndarray) -> bytes:
    """A bit per word of (N,) uint8, the words that are not zero, and the bytes behind the last whole word."""
    end = len(data) // _WORD.itemsize * _WORD.itemsize
    words = data[:end].view(_WORD)
    is_kept = words != 0
    parts = (np.packbits(is_kept, bitorder="little"), words[is_kept.nonzero()], data[end:])
    return b"".join(part.tobytes() for part in parts)


def _with_zeros(squeezed: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(size,) uint8, and what lies behind it."""
    num_words, num_last = divmod(size, _WORD.itemsize)
    begin = -(-num_words // 8)
    (kept,) = np.unpackbits(squeezed[:begin], count=num_words, bitorder="little").nonzero()
    end = begin + len(kept) * _WORD.itemsize
    data = np.zeros(size, np.uint8)
    data[: size - num_last].view(_WORD)[kept] = squeezed[begin:end].view(_WORD)
    data[size - num_last :] = squeezed[end : end + num_last]
    return data, squeezed[end + num_last :]
