"""The selection of the pieces of a store: which pieces are kept, which pieces they resemble, their splits and groups."""

import logging
from dataclasses import dataclass

import numpy as np

from pianogen.command import counted
from pianogen.errors import UsageError
from pianogen.store import Split
from preprocess.metadata import NO_GROUP, Metadata, Target
from preprocess.near_duplicates import NONE, Similar, drop_similar, find_similar
from preprocess.piece_table import KEPT, PieceTable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """Decisions on all P pieces, in order of name.

    Attributes:
        number: (P,) int64 number of the piece in the table.
        first: (P,) int64 index of the piece that is kept: itself, or an earlier one that is equal or, if near-duplicates are
            dropped, similar; NONE if rejected.
        similar: the most similar earlier piece that is kept.
        split: (P,) uint8.
        group: (P,) int32 index in the groups of the metadata; NO_GROUP is the folder.
    """

    number: np.ndarray
    first: np.ndarray
    similar: Similar
    split: np.ndarray
    group: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """(K,) int64 indices of the pieces that are kept."""
        return np.flatnonzero(self.first == np.arange(len(self.first)))

    @property
    def is_near_duplicate(self) -> np.ndarray:
        """(K,) bool: the kept pieces that resemble an earlier one."""
        return np.asarray(self.similar.earlier[self.kept] != NONE)

    @property
    def is_across_splits(self) -> np.ndarray:
        """(K,) bool: the kept pieces whose most similar earlier piece is in another split."""
        kept = self.kept
        split, other = self.split[kept], self.split[self.similar.earlier[kept]]
        is_across = (split != other) & (split != Split.NONE) & (other != Split.NONE)
        return np.asarray(self.is_near_duplicate & is_across)


def select(table: PieceTable, metadata: Metadata | None, should_drop: bool) -> Selection:
    """Decides on all pieces.

    Args:
        should_drop: whether near-duplicates of similarity 0.8 and above are dropped.
    """
    number = table.order()
    first = _find_first_equal(table, number)
    first, similar = _find_near_duplicates(table, number, first, should_drop)
    split, group = table.rows["split"][number], np.full(len(number), NO_GROUP, np.int32)
    if metadata is not None:
        listed_split, group = _look_up(table, number, metadata)
        source = _find_sources(table, number, first, listed_split, group)
        group = np.where(source == NONE, NO_GROUP, group[source])
        if metadata.has_splits:
            split = np.where(source == NONE, Split.NONE, listed_split[source]).astype(np.uint8)
    return Selection(number, first, similar, split, group)


def check_tunes(table: PieceTable, metadata: Metadata) -> None:
    """Checks that scores have the tunes that the metadata names. The tunes of a rejected score are not known.

    Raises:
        UsageError: a score has fewer tunes.
    """
    for source, tune in metadata.tunes:
        if tune > (num_tunes := table.num_tunes(source)) > 0:
            raise UsageError(
                f"the metadata names tune {tune} of {table.input_name(source)}, which has {counted(num_tunes, 'tune')}; "
                "correct the name"
            )


def _find_first_equal(table: PieceTable, number: np.ndarray) -> np.ndarray:
    """(P,) int64 index of the first piece of equal content, NONE if rejected."""
    read = np.flatnonzero(table.rows["reason"][number] == KEPT)
    content = table.rows["content"][number[read]]
    order = np.lexsort((content[:, 1], content[:, 0]))  # a stable sort: equal pieces stay in order of name
    is_equal = np.ones(max(0, len(read) - 1), np.bool_)
    for half in content.T:
        is_equal &= half[order[1:]] == half[order[:-1]]
    begins = np.flatnonzero(np.append(True, ~is_equal)[: len(read)])
    first = np.full(len(number), NONE)
    first[read[order]] = np.repeat(read[order[begins]], np.diff(np.append(begins, len(read))))
    return first


def _find_near_duplicates(
    table: PieceTable, number: np.ndarray, first: np.ndarray, should_drop: bool
) -> tuple[np.ndarray, Similar]:
    """The most similar earlier piece of every piece that is not equal to an earlier one, and `first` without dropped pieces."""
    distinct = np.flatnonzero(first == np.arange(len(first)))
    searched = np.where(table.rows["has_signature"][number[distinct]], number[distinct], NONE)
    is_dropped = np.zeros(len(distinct), np.bool_)
    if should_drop:
        found, is_dropped = drop_similar(table.signatures, searched)
    else:
        found = find_similar(table.signatures, searched)
    similar = Similar(np.full(len(first), NONE), np.zeros(len(first)))
    has_similar = found.earlier != NONE
    similar.earlier[distinct[has_similar]] = distinct[found.earlier[has_similar]]
    similar.similarity[distinct] = found.similarity
    dropped = distinct[is_dropped]
    first = first.copy()
    first[dropped] = similar.earlier[dropped]
    first[first != NONE] = first[first[first != NONE]]  # pieces that are equal to a dropped piece
    return first, similar


def _look_up(table: PieceTable, number: np.ndarray, metadata: Metadata) -> tuple[np.ndarray, np.ndarray]:
    """Split and group of every piece in the metadata."""
    sources = table.rows["input"][number]
    split, group = metadata.split[sources], metadata.group[sources]
    if metadata.tunes:
        tunes = np.maximum(table.rows["tune"][number], 1)  # 0 for the only tune of a score
        for index in np.flatnonzero(np.isin(sources, [target.number for target in metadata.tunes])).tolist():
            target = Target(int(sources[index]), int(tunes[index]))
            if target in metadata.tunes:
                group[index], split[index] = metadata.tunes[target]
    return split, group


def _find_sources(table: PieceTable, number: np.ndarray, first: np.ndarray, split: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(P,) int64 index of the piece whose metadata a kept piece takes; NONE if the metadata lists no piece that is equal to it.

    If the metadata lists several equal pieces, the first by name decides. Otherwise an unlisted copy with an earlier name would
    take a piece of a published corpus out of its split.
    """
    listed = np.flatnonzero(((split != Split.NONE) | (group != NO_GROUP)) & (first != NONE))
    source = np.full(len(first), NONE)
    source[first[listed[::-1]]] = listed[::-1]  # of several values for an element, NumPy assigns the last
    deciding = source[first[listed]]
    for one, other in zip(*(indices[split[deciding] != split[listed]].tolist() for indices in (deciding, listed)), strict=True):
        _log.warning(
            "%s and %s become one piece of the split %s, although the metadata assigns the second to %s",
            *(table.name(number[index]) for index in (one, other)),
            *(Split(split[index]).name.lower() for index in (one, other)),
        )
    return source
