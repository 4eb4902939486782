"""The pieces that a run is trained on: checks that need no TensorFlow, so that a submission can make them at once."""

import numpy as np

from pianogen.config import Config
from pianogen.errors import UsageError
from pianogen.names import comparable
from pianogen.store import Split, Store


class WindowError(UsageError):
    """A store has no windows to train on, or they do not fit into memory."""


def check_train_split(store: Store, config: Config) -> None:
    """Checks that the train split has a window or, for an ensemble, whose runs are trained, a piece.

    Raises:
        WindowError: a group does not exist, or every piece of the train split is shorter than a window.
    """
    check_groups(store, config.data.groups)
    min_steps = 1 if config.model.ensemble else config.data.window_steps + (0 if config.predicts_every_row else 1)
    check_length(store, store.pieces.steps[store.pieces.select(Split.TRAIN, config.data.groups)], min_steps)


def check_groups(store: Store, groups: tuple[str, ...]) -> None:
    """Checks that a store has these groups, whose names are compared in Unicode NFC.

    Raises:
        WindowError: it does not have one of them.
    """
    existing = sorted(set(map(comparable, store.pieces.group)) - {""})
    if unknown := sorted(set(map(comparable, groups)) - set(existing)):
        found = f"its groups are {', '.join(existing)}: correct" if existing else "its pieces are in no groups; remove"
        raise WindowError(f"data.groups: {store.path} has no group {unknown[0]!r}; {found} data.groups")


def check_length(store: Store, steps: np.ndarray, min_steps: int) -> None:
    """Checks that a piece is as long as a window.

    Args:
        steps: (P,) lengths of the pieces to train on.
        min_steps: length of a window.

    Raises:
        WindowError: every piece is shorter, or the split has no pieces.
    """
    if not len(steps):
        raise WindowError(f"{store.path}: the train split has no pieces; choose other data.groups or another corpus")
    longest = int(steps.max())
    if longest < min_steps:
        raise WindowError(
            f"{store.path}: no piece of the train split has the {min_steps} steps of a window (the longest of {len(steps)} has "
            f"{longest}); choose a smaller data.window_steps, other data.groups or a larger corpus"
        )
