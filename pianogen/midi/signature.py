"""MinHash signatures of pieces: the similarity of two pieces without their rolls.

The similarity of two pieces is the Jaccard index of their sets of shingles (shingles.py). A signature estimates it. It is a
one-permutation hash (Li, Owen and Zhang, "One Permutation Hashing", 2012): a single 64-bit hash per shingle selects one of 128
bins, and every bin keeps its smallest hash. An empty bin takes the hash of another bin, which a fixed sequence of bins chooses,
so that the estimate has no bias (Shrivastava, "Optimal Densification for Fast and Accurate Minwise Hashing", 2017). The signature
contains one byte of every hash (Li and König, "b-Bit Minwise Hashing", 2010). The alternatives, for two million pieces:

    signature                          hashes per shingle   standard error at 0.5   memory of all signatures
    128 bins of one byte               1                    0.044                   256 MB
    128 hash functions of 32 bits      128                  0.044                   1,024 MB
    64 bins of one byte                1                    0.063                   128 MB
    256 bins of half a byte            1                    0.033                   256 MB, and too few bits for an index
"""

from typing import NamedTuple

import numpy as np

NUM_BINS = 128
_CHANCE = 1 / 256  # the probability that the bytes of two different hashes are equal


class MinHash(NamedTuple):
    """A summary of a piece's shingles.

    Attributes:
        smallest: the smallest 64-bit hash of a shingle; two pieces share it with a probability equal to their similarity.
        signature: one byte per bin.
    """

    smallest: int
    signature: bytes


def similarity_of(num_equal: np.ndarray) -> np.ndarray:
    """The estimated similarity of pieces of which this number of bytes of the signatures is equal, from 0 to 1."""
    return np.maximum(0.0, (num_equal / NUM_BINS - _CHANCE) / (1 - _CHANCE))
