"""Music made by the tests: rolls with chords, holds and tempo changes, and stores of them."""

from pathlib import Path

import numpy as np

from pianogen.roll import HOLD, ONSET, PACKED_BYTES, SILENT, Roll, pack
from pianogen.store import Pieces, Split, write_store


def made_roll(seed: int, steps: int = 120, chords: int = 4) -> Roll:
    """A piece in which up to `chords` keys at a time are struck and held for a few steps."""
    random = np.random.default_rng(seed)
    states = np.full((steps, 88), SILENT, np.uint8)
    for _ in range(chords):
        step = 0
        while step < steps:
            length = int(random.integers(1, 6))
            key = int(random.integers(30, 60))
            states[step, key] = ONSET
            states[step + 1 : step + length, key] = HOLD
            step += length + int(random.integers(0, 2))
    # Where two voices met on a key, a hold may follow nothing.
    for key in range(88):
        for step in range(steps):
            if states[step, key] == HOLD and (step == 0 or states[step - 1, key] == SILENT):
                states[step, key] = SILENT
    tempo_us = np.repeat(random.integers(300_000, 900_000, steps // 20 + 1), 20)[:steps]
    return Roll(pack(states), tempo_us.astype(np.uint32))


def made_store(path: Path, splits: list[Split], steps: int = 120) -> Path:
    """A corpus of one made piece per split, in groups A and B by turns."""
    return store_of(path, [made_roll(seed, steps + seed) for seed in range(len(splits))], splits)


def numbered_store(path: Path, steps: list[int]) -> Path:
    """A corpus of silent pieces to train on, whose tempos number their rows: 1000 * (piece + 1) + row."""
    tempos = [1000 * (piece + 1) + np.arange(count, dtype=np.uint32) for piece, count in enumerate(steps)]
    rolls = [Roll(np.zeros((len(tempo_us), PACKED_BYTES), np.uint8), tempo_us) for tempo_us in tempos]
    return store_of(path, rolls, [Split.TRAIN] * len(rolls))


def store_of(path: Path, rolls: list[Roll], splits: list[Split]) -> Path:
    """A corpus of these rolls, in groups A and B by turns."""
    pieces = Pieces(
        name=[f"{'AB'[i % 2]}/{i:03d}.mid" for i in range(len(rolls))],
        group=["AB"[i % 2] for i in range(len(rolls))],
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.zeros(len(rolls), np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.array(splits, np.uint8),
        sha256=[roll.sha256 for roll in rolls],
    )
    write_store(path, "corpus", pieces, rolls, {"version": "test"})
    return path
