"""Errors of preprocessing."""

from pianogen.errors import PianogenError


class PreprocessError(PianogenError):
    """The inputs were read, but no store can be written from them."""


class ShardError(PianogenError):
    """A shard cannot be written; no input is the cause."""
