"""Rolls without their zeros, as shards hold them: most keys are silent at most steps, and few tempos differ from the last.

Rows and tempo changes are seen as 16-bit words. What is kept is a bit per word, whether it is other than zero, and the words
that are: a quarter of the bytes, found in less time than it takes to hash all of them.
"""

import numpy as np

from pianogen.roll import PACKED_BYTES, Roll

_WORD, _TEMPO = np.dtype("<u2"), np.dtype("<u4")


def squeeze(roll: Roll) -> tuple[bytes, bytes]:
    """The packed rows and the tempo of a roll; equal ones give equal bytes, others never do."""
    changes = roll.tempo_us.astype(_TEMPO)
    changes[1:] -= roll.tempo_us[:-1]
    return _without_zeros(roll.packed.reshape(-1).view(_WORD)), _without_zeros(changes.view(_WORD))


def expand(squeezed: bytes, num_steps: int, first_step: int) -> Roll:
    """The roll whose rows and tempo `squeeze` gave, joined."""
    rows, rest = _with_zeros(np.frombuffer(squeezed, np.uint8), num_steps * PACKED_BYTES // _WORD.itemsize)
    changes, _ = _with_zeros(rest, num_steps * _TEMPO.itemsize // _WORD.itemsize)
    packed = rows.view(np.uint8).reshape(num_steps, PACKED_BYTES)
    return Roll(packed, np.cumsum(changes.view(_TEMPO), dtype=_TEMPO), first_step)


def _without_zeros(words: np.ndarray) -> bytes:
    is_kept = words != 0
    return np.packbits(is_kept, bitorder="little").tobytes() + words[np.flatnonzero(is_kept)].tobytes()


def _with_zeros(squeezed: np.ndarray, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """(W,) words, and the bytes that lie behind them."""
    num_mask = (num_words + 7) // 8
    kept = np.flatnonzero(np.unpackbits(squeezed[:num_mask], count=num_words, bitorder="little"))
    end = num_mask + len(kept) * _WORD.itemsize
    words = np.zeros(num_words, _WORD)
    words[kept] = squeezed[num_mask:end].view(_WORD)
    return words, squeezed[end:]
