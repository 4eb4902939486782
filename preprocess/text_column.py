"""Columns of texts that take less memory than strings: two million names of 45 characters take 106 MB instead of 210 MB."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import overload


class TextColumn(Sequence[str]):
    """Texts that are stored as UTF-8, end to end.

    Args:
        texts: the first texts.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._buffer = bytearray()
        self._ends = array("Q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Adds a text at the end."""
        self._buffer += text.encode()
        self._ends.append(len(self._buffer))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        return self._buffer[self._ends[index] : self._ends[index + 1]].decode()

    def find(self, text: str) -> int | None:
        """The index of a text in a column that is sorted, None if the column does not contain it."""
        index = bisect_left(self, text)
        return index if index < len(self) and self[index] == text else None


class LazyColumn(Sequence[str]):
    """Texts that are computed when they are read.

    Args:
        size: the number of texts.
        text: computes the text of an index.
    """

    def __init__(self, size: int, text: Callable[[int], str]) -> None:
        self._size, self._text = size, text

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return list(map(self._text, range(*index.indices(self._size))))
        if not 0 <= index < self._size:
            raise IndexError(f"text {index} of {self._size}")
        return self._text(index)
