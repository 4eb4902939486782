"""Rolls without their zeros, as shards hold them: most keys are silent at most steps, and few tempos differ from the last.

Rows and tempo changes are seen as 32-bit words. What is kept is a bit per word, whether it is other than zero, and the words
that are: a third of the bytes, found in less time than it takes to hash all of them. The number of steps follows; without
it, a roll with silence at its end could be taken for a shorter one.
"""

from collections.abc import Sequence

import numpy as np

from pianogen.roll import PACKED_BYTES, Roll

_WORD = np.dtype("<u4")


def squeeze(roll: Roll) -> tuple[bytes, bytes]:
    """The packed rows of a roll, and its tempo and length; joined, they are equal for equal rows and tempos alone."""
    changes = roll.tempo_us.astype(_WORD)
    changes[1:] -= roll.tempo_us[:-1]
    tempo = _without_zeros(changes.view(np.uint8))
    return _without_zeros(roll.packed.reshape(-1)), tempo + len(roll).to_bytes(_WORD.itemsize, "little")


def expand(squeezed: Sequence[bytes]) -> Roll:
    """The rows and tempos of rolls, end to end; all at once, because NumPy's calls take longer than their work on one.

    Args:
        squeezed: for each, what `squeeze` gave, joined; of one step or more.
    """
    num_steps = np.frombuffer(b"".join([each[-_WORD.itemsize :] for each in squeezed]), _WORD).astype(np.int64)
    rows, ends = _with_zeros(squeezed, np.zeros_like(num_steps), num_steps * PACKED_BYTES)
    changes, _ = _with_zeros(squeezed, ends, num_steps * _WORD.itemsize)
    tempo_us = np.cumsum(changes.view(_WORD), dtype=_WORD)
    # The sum runs on from roll to roll, and over the end of a word: what the rolls before have added is taken off again.
    before = np.append(_WORD.type(0), tempo_us[np.cumsum(num_steps)[:-1] - 1])
    return Roll(rows.reshape(-1, PACKED_BYTES), tempo_us - np.repeat(before, num_steps))


def _without_zeros(data: np.ndarray) -> bytes:
    """A bit per word of (N,) uint8, the words that are not zero, and the bytes behind the last whole word."""
    end = len(data) // _WORD.itemsize * _WORD.itemsize
    words = data[:end].view(_WORD)
    is_kept = words != 0
    parts = (np.packbits(is_kept, bitorder="little"), words[is_kept.nonzero()], data[end:])
    return b"".join(part.tobytes() for part in parts)


def _with_zeros(squeezed: Sequence[bytes], begins: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `_without_zeros` was given for each roll, end to end.

    Args:
        begins: (N,) int64, the byte in each at which its result begins.
        sizes: (N,) int64, bytes of what it was given.

    Returns:
        (sum of sizes,) uint8, and (N,) int64, the byte in each at which its result ended.
    """
    num_words, num_last = np.divmod(sizes, _WORD.itemsize)
    mask_sizes = -(-num_words // 8)
    words_at = begins + mask_sizes
    mask = _cut(squeezed, begins, words_at)
    mask_at = np.cumsum(mask_sizes) - mask_sizes
    last_at = words_at + np.add.reduceat(np.bitwise_count(mask), mask_at, dtype=np.int64) * _WORD.itemsize
    ends = last_at + num_last
    # Each roll has a word for every bit of its mask, also for those that fill up the last byte; joining leaves these out.
    words = np.zeros(8 * len(mask), _WORD)
    np.place(words, np.unpackbits(mask, bitorder="little").view(bool), _cut(squeezed, words_at, last_at).view(_WORD))
    view = words.data
    parts = [
        part
        for each, at, count, last, end in zip(
            squeezed, (8 * mask_at).tolist(), num_words.tolist(), last_at.tolist(), ends.tolist(), strict=True
        )
        for part in (view[at : at + count], each[last:end])
    ]
    return np.frombuffer(b"".join(parts), np.uint8), ends


def _cut(squeezed: Sequence[bytes], begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(sum of ends - begins,) uint8: these bytes of each, joined."""
    spans = zip(squeezed, begins.tolist(), ends.tolist(), strict=True)
    return np.frombuffer(b"".join([each[begin:end] for each, begin, end in spans]), np.uint8)
