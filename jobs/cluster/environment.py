"""Environment variables for the processes that this one starts."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def modified(variables: Mapping[str, str], removed: Collection[str] = ()) -> Iterator[None]:
    """Sets and removes environment variables until the end of the context, then restores the complete environment.

    Args:
        variables: set after the others are removed.
    """
    before = dict(os.environ)
    for name in removed:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
