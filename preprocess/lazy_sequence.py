"""Sequences whose items are computed when they are read."""

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class LazySequence(Sequence[Item]):
    """Items that are computed when they are read, because together they would take gigabytes of memory.

    Args:
        size: the number of items.
        item: computes the item of an index.
    """

    def __init__(self, size: int, item: Callable[[int], Item]) -> None:
        self._size, self._item = size, item

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._item(number) for number in range(*index.indices(self._size))]
        if not 0 <= index < self._size:
            raise IndexError(f"item {index} of {self._size}")
        return self._item(index)
