"""The search for near-duplicates among pieces, by banded locality-sensitive hashing of their MinHash signatures.

A band is a set of four bytes of the signature. Pieces whose four bytes are equal share a bucket of this band, and are compared.
Two pieces of similarity 0.5 share a bucket of one of the 128 bands with a probability of 0.9999; of similarity 0.1, with 0.012.
In a large bucket a piece is compared with the first piece and the four pieces before it alone, so that time and memory are
linear in the number of pieces, whatever they contain.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pianogen.midi.signature import NUM_BINS, similarity_of

REPORTED_SIMILARITY = 0.5
DROPPED_SIMILARITY = 0.8
NONE = -1
_BAND_BYTES = 4
# Band b of a family consists of the bytes (4b, 4b + 1, 4b + 2, 4b + 3) times its factor. No two families have two bytes of a band
# in common, and every family uses each byte once.
_FACTORS = (1, 9, 37, 53)
_NUM_PREDECESSORS = 4
_PART_PIECES = 1 << 17
_MAX_COMPARISONS = 1 << 16  # pairs of signatures that are compared at a time, which takes 32 MB


class Similar(NamedTuple):
    """The most similar earlier piece of every piece.

    Attributes:
        earlier: (P,) int64 index, NONE if no earlier piece has a similarity of 0.5 or more.
        similarity: (P,) float64 estimate, 0 if there is none.
    """

    earlier: np.ndarray
    similarity: np.ndarray


def find_similar(signatures: np.ndarray, rows: np.ndarray) -> Similar:
    """The most similar earlier piece of every piece, the first one found if several are equally similar.

    Args:
        signatures: (N, 128) uint8, of which only some rows belong to the pieces.
        rows: (P,) int64 row of each piece, NONE for a piece without shingles.
    """
    earlier = np.full(len(rows), NONE)
    num_equal = np.zeros(len(rows), np.int64)
    searched = np.flatnonzero(rows != NONE)
    for one, other in _candidates(signatures, rows[searched]):
        first, second = searched[one], searched[other]
        is_open = (num_equal[second] < NUM_BINS) & (earlier[second] != first)
        first, second = first[is_open], second[is_open]
        count = _count_equal(signatures, rows[first], rows[second])
        is_better = count > num_equal[second]
        earlier[second[is_better]], num_equal[second[is_better]] = first[is_better], count[is_better]
    similarity = similarity_of(num_equal)
    is_reported = similarity >= REPORTED_SIMILARITY
    return Similar(np.where(is_reported, earlier, NONE), np.where(is_reported, similarity, 0.0))


def drop_similar(signatures: np.ndarray, rows: np.ndarray) -> tuple[Similar, np.ndarray]:
    """Drops, in order, every piece to which an earlier piece that remains has a similarity of 0.8 or more.

    Args:
        signatures, rows: as in `find_similar`.

    Returns:
        For a piece that remains, the most similar one of the earlier pieces that remain; for a dropped piece, the first of the
        earlier ones of similarity 0.8 or more that remain. And (P,) bool, which pieces are dropped.
    """
    kept_piece = np.arange(len(rows))  # that remains in the place of each piece
    for pair in _find_pairs(signatures, rows).tolist():
        later, earlier = pair >> 32, pair & 0xFFFF_FFFF
        first = int(kept_piece[earlier])
        if kept_piece[later] == later and (first == earlier or _are_near_duplicates(signatures, rows[first], rows[later])):
            kept_piece[later] = first
    is_dropped = kept_piece != np.arange(len(rows))
    remaining, dropped = np.flatnonzero(~is_dropped), np.flatnonzero(is_dropped)
    similar = find_similar(signatures, rows[remaining])
    result = Similar(kept_piece, np.zeros(len(rows)))
    result.earlier[remaining] = np.where(similar.earlier == NONE, NONE, remaining[similar.earlier])
    result.similarity[remaining] = similar.similarity
    result.similarity[dropped] = similarity_of(_count_equal(signatures, rows[result.earlier[dropped]], rows[dropped]))
    return result, is_dropped


def _are_near_duplicates(signatures: np.ndarray, first: int, later: int) -> bool:
    """Whether the similarity of the pieces in two rows is 0.8 or more."""
    return bool(similarity_of(np.sum(signatures[first] == signatures[later])) >= DROPPED_SIMILARITY)


def _find_pairs(signatures: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(N,) uint64 pairs of similarity 0.8 or more in order: the later piece in the upper half, the earlier one in the lower."""
    pairs = np.empty(0, np.uint64)
    added, num_added = [pairs], 0
    searched = np.flatnonzero(rows != NONE)
    for one, other in _candidates(signatures, rows[searched]):
        first, second = searched[one], searched[other]
        is_similar = similarity_of(_count_equal(signatures, rows[first], rows[second])) >= DROPPED_SIMILARITY
        added.append(second[is_similar].astype(np.uint64) << np.uint64(32) | first[is_similar].astype(np.uint64))
        num_added += len(added[-1])
        if num_added > max(len(pairs), _PART_PIECES):  # not more often, so that the time for the unions is linear
            pairs, added, num_added = np.unique(np.concatenate([pairs, *added])), [], 0
    return np.unique(np.concatenate([pairs, *added]))


def _count_equal(signatures: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) int64: the number of equal bytes in the signatures in two rows each."""
    counts = np.empty(len(first), np.int64)
    for start in range(0, len(first), _MAX_COMPARISONS):
        block = slice(start, start + _MAX_COMPARISONS)
        counts[block] = np.count_nonzero(signatures[first[block]] == signatures[second[block]], axis=1)
    return counts


def _candidates(signatures: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of pieces that share a bucket, the earlier piece first; every piece at most once among the later ones."""
    number = np.arange(len(rows), dtype=np.uint64)
    for key in _band_keys(signatures, rows):
        key <<= np.uint64(32)
        key |= number
        key.sort()  # by bucket, and within a bucket in order
        for part in _split(key):
            bucket, piece = part >> np.uint64(32), (part & np.uint64(0xFFFF_FFFF)).astype(np.int64)
            begins = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
            position = np.arange(len(part)) - np.repeat(begins, np.diff(np.append(begins, len(part))))
            later = np.flatnonzero(position > 0)
            yield piece[later - position[later]], piece[later]
            for distance in range(1, _NUM_PREDECESSORS + 1):
                later = np.flatnonzero(position > distance)
                yield piece[later - distance], piece[later]


def _split(key: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of complete buckets, which bound the memory for pairs unless a single bucket is large."""
    begin = 0
    while begin < len(key):
        end = min(begin + _PART_PIECES, len(key))
        end = int(np.searchsorted(key, (key[end - 1] | np.uint64(0xFFFF_FFFF)), side="right"))
        yield key[begin:end]
        begin = end


def _band_keys(signatures: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """(P,) uint64 for every band: its bytes as a number."""
    for factor in _FACTORS:
        for first in range(0, NUM_BINS, _BAND_BYTES):
            key = np.zeros(len(rows), np.uint64)
            for column in range(first, first + _BAND_BYTES):
                key <<= np.uint64(8)
                key |= signatures[rows, factor * column % NUM_BINS]
            yield key
