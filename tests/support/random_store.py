"""Stores of random rolls, for the tests of the file format."""

from pathlib import Path

import numpy as np
import pytest

from pianogen.roll import Roll
from pianogen.store import Pieces, Store, StoreError, write_store

COLUMNS = ("name", "group", "offset", "steps", "first_step", "notes", "split", "sha256")
PROVENANCE = {"version": "1", "parser": "smf", "keep_rests": False}


def random_roll(seed: int, steps: int) -> Roll:
    """A roll of random bytes, tempos and bar positions."""
    source = np.random.default_rng(seed)
    packed = source.integers(0, 256, (steps, 22), np.uint8)
    tempo_us, bar_position = source.integers(1, 1 << 24, steps, np.uint32), source.integers(0, 256, steps, np.uint8)
    return Roll(packed, tempo_us, bar_position, int(source.integers(0, 9)))


def table_of(rolls: list[Roll], names: list[str] | None = None, samples: list[str] | None = None) -> Pieces:
    """The pieces of these rolls, in all splits in turn."""
    names = [f"{index:03}.mid" for index in range(len(rolls))] if names is None else names
    return Pieces(
        name=names,
        group=[name[:4] for name in names],
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.array([roll.first_step for roll in rolls], np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.array([[0, 1, 2, 255][index % 4] for index in range(len(rolls))], np.uint8),
        sha256=[roll.sha256 for roll in rolls],
        sample=samples,
    )


def multi_chunk_store(path: Path) -> Path:
    """A corpus of five pieces and several chunks."""
    rolls = [random_roll(seed, steps) for seed, steps in enumerate([9_000, 1, 7_000, 8_192, 300])]
    write_store(path, "corpus", table_of(rolls, ["a.mid", "B/ä.mid", "B/c d.mid", "C/\\xff.mid", "C/é\n.mid"]), rolls, PROVENANCE)
    return path


def store_error(path: Path) -> str:
    """The message, which contains the path, of a store that cannot be opened or verified; a valid store fails the test."""
    with pytest.raises(StoreError) as error, Store(path) as store:
        store.verify()
    assert str(path) in str(error.value)
    return str(error.value)
