"""Sequences whose items are computed when they are read."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

import numpy as np

Item = TypeVar("Item")
_BLOCK_ITEMS = 4_096


class LazySequence(Sequence[Item]):
    """Items that are computed when they are read, because together they would take gigabytes of memory.

    Args:
        size: the number of items.
        items: computes the items of (N,) int64 indices.
    """

    def __init__(self, size: int, items: Callable[[np.ndarray], list[Item]]) -> None:
        self._size, self._items = size, items

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return self._items(np.arange(*index.indices(self._size)))
        if not 0 <= index < self._size:
            raise IndexError(f"item {index} of {self._size}")
        return self._items(np.array([index]))[0]

    def __iter__(self) -> Iterator[Item]:
        for begin in range(0, self._size, _BLOCK_ITEMS):
            yield from self[begin : begin + _BLOCK_ITEMS]
