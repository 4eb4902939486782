"""The split of a piece by a hash of its content: 80% train, 10% valid, 10% test, and added files never move a piece."""

import hashlib

from pianogen.midi.signature import MinHash
from pianogen.roll import Roll
from pianogen.store import Split


def hash_split(roll: Roll, minhash: MinHash | None) -> Split:
    """The split of a piece, by the smallest hash of its shingles; a piece without shingles is hashed as a whole.

    A transposed copy, or one with other tempos, has the same shingles and so the split of its original. Two pieces have the same
    smallest hash, and so the same split, with a probability equal to their similarity.
    """
    if minhash is None:
        return split_of(int.from_bytes(hashlib.sha256(roll.packed.tobytes()).digest()[:8], "big"))
    return split_of(minhash.smallest)


def split_of(number: int) -> Split:
    """80/10/10 by the lower half of a 64-bit hash: the upper half of the smallest of many hashes is close to 0."""
    tenth = (number & 0xFFFF_FFFF) * 10 >> 32
    return Split.TRAIN if tenth < 8 else Split.VALID if tenth == 8 else Split.TEST
