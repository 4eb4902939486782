"""Columns of texts that take less memory than strings: two million names of 45 characters take 106 MB instead of 210 MB."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import overload

from pianogen.names import comparable


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
        if index < 0:
            raise IndexError(f"text {index} of {len(self)}")
        return self._buffer[self._ends[index] : self._ends[index + 1]].decode()


class Names(TextColumn):
    """The names of all inputs, in order; they are compared in Unicode NFC.

    Args:
        names: names in order.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        forms = ((index, name, comparable(name)) for index, name in enumerate(self) if not name.isascii())
        self._in_other_form = [(form, index) for index, name, form in forms if form != name]
        self._index_of_form = dict(reversed(self._in_other_form))

    def find(self, name: str) -> int | None:
        """The index of a name, None if no input has it."""
        form = comparable(name)
        index = bisect_left(self, form)
        return index if index < len(self) and self[index] == form else self._index_of_form.get(form)

    def first_repeated(self) -> tuple[int, int] | None:
        """The indices of two names that are equal, None if all names are different."""
        for index, (name, following) in enumerate(pairwise(self)):
            if name == following:
                return index, index + 1
        for form, index in self._in_other_form:
            if (other := self.find(form)) != index and other is not None:
                return min(index, other), max(index, other)
        return None
