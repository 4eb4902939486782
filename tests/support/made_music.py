"""Generated music: rolls with chords, holds and tempo changes, and stores of them."""

from pathlib import Path

import numpy as np

from pianogen.roll import HOLD, ONSET, PACKED_BYTES, SILENT, Roll, pack
from pianogen.store import Pieces, Split, write_store
from tests.support.rolls import roll_in_4_4


def made_roll(seed: int, steps: int = 120, num_voices: int = 4) -> Roll:
    """A piece of several voices, each of which plays one note after another, with a few steps per note."""
    random = np.random.default_rng(seed)
    states = np.full((steps, 88), SILENT, np.uint8)
    for _ in range(num_voices):
        step = 0
        while step < steps:
            length = int(random.integers(1, 6))
            key = int(random.integers(30, 60))
            states[step, key] = ONSET
            states[step + 1 : step + length, key] = HOLD
            step += length + int(random.integers(0, 2))
    # Two voices may overwrite each other on a key; a hold that no longer follows a note becomes silent.
    for key in range(88):
        for step in range(steps):
            if states[step, key] == HOLD and (step == 0 or states[step - 1, key] == SILENT):
                states[step, key] = SILENT
    tempo_us = np.repeat(random.integers(300_000, 900_000, steps // 20 + 1), 20)[:steps]
    return roll_in_4_4(pack(states), tempo_us.astype(np.uint32))


def million_notes() -> tuple[bytes, Roll]:
    """A MIDI file of a million notes that do not overlap, and its roll.

    Eight of the 88 keys have an onset at each of 125,000 steps, up to half a step early or late, and each note lasts up to three
    steps.
    """
    random = np.random.default_rng(0)
    steps, chord, ticks_per_step = 125_000, 8, 120
    key = np.argpartition(random.random((steps, 88), np.float32), chord)[:, :chord].ravel().astype(np.int64)
    start = np.repeat(np.arange(steps), chord)
    by_key = np.lexsort((start, key))
    key, start = key[by_key], start[by_key]
    is_followed = np.append(key[1:] == key[:-1], False)
    length = random.integers(1, 4, len(key))
    stop = start + np.where(is_followed, np.minimum(length, np.roll(start, -1) - start), length)

    states = np.full((stop.max(), 88), SILENT, np.uint8)
    for later in (1, 2):
        is_held = start + later < stop
        states[start[is_held] + later, key[is_held]] = HOLD
    states[start, key] = ONSET

    # One step of silence comes first, so that no tick is negative. Ticks are less than half a step early or late.
    tick = (np.concatenate([start, stop]) + 1) * ticks_per_step + random.integers(-59, 61, 2 * len(key))
    in_time = np.argsort(tick, kind="stable")
    delta = np.diff(tick[in_time], prepend=0)
    events = np.empty((len(tick), 4), np.uint8)  # a delta of two bytes, key and velocity, in running status
    events[:, 0], events[:, 1] = 0x80 | delta >> 7, delta & 0x7F
    events[:, 2] = np.tile(key + 21, 2)[in_time]
    events[:, 3] = np.repeat([64, 0], len(key))[in_time]
    notes = events.tobytes()
    track = notes[:2] + b"\x90" + notes[2:] + b"\0\xff\x2f\0"
    header = b"MThd\0\0\0\6\0\0\0\1" + (4 * ticks_per_step).to_bytes(2, "big")
    midi = header + b"MTrk" + len(track).to_bytes(4, "big") + track
    return midi, roll_in_4_4(pack(states), np.full(len(states), 500_000, np.uint32), 1)


def repetitive_roll(seed: int, piece: int, num_passages: int = 8) -> Roll:
    """A piece of a few passages that return in a random order, with bars of silence; its tempos identify rows, see
    `numbered_store`.
    """
    random = np.random.default_rng(seed)
    passages = [made_roll(seed + 100 * i, int(random.integers(2, 12)), 2).packed for i in range(3)]
    passages.append(np.zeros((4, PACKED_BYTES), np.uint8))
    packed = np.concatenate([passages[i] for i in random.integers(0, len(passages), num_passages)])
    return roll_in_4_4(packed, numbered_tempos(piece, len(packed)), first_step=int(random.integers(0, 50)))


def random_roll(seed: int, piece: int, steps: int) -> Roll:
    """A piece of five distinct rows of random states in a random order; its tempos identify rows, see `numbered_store`."""
    random = np.random.default_rng(seed)
    rows = pack((random.integers(0, 3, (5, 88)) * (random.random((5, 88)) < random.random())).astype(np.uint8))
    return roll_in_4_4(rows[random.integers(0, 5, steps)], numbered_tempos(piece, steps), first_step=seed)


def made_store(path: Path, splits: list[Split], steps: int = 120) -> Path:
    """A corpus with one generated piece per split, alternately in the groups A and B."""
    return store_of(path, [made_roll(seed, steps + seed) for seed in range(len(splits))], splits)


def numbered_store(path: Path, steps: list[int]) -> Path:
    """A training corpus of silent pieces; the tempo of each row identifies the row: 1000 * (piece + 1) + row."""
    rolls = [roll_in_4_4(np.zeros((count, PACKED_BYTES), np.uint8), numbered_tempos(i, count)) for i, count in enumerate(steps)]
    return store_of(path, rolls, [Split.TRAIN] * len(rolls))


def numbered_tempos(piece: int, steps: int) -> np.ndarray:
    """(T,) uint32 tempos that identify the rows of a piece: 1000 * (piece + 1) + row."""
    return 1000 * (piece + 1) + np.arange(steps, dtype=np.uint32)


def store_of(path: Path, rolls: list[Roll], splits: list[Split], suffix: str = ".mid") -> Path:
    """A corpus of these rolls, alternately in the groups A and B.

    Args:
        suffix: of the names of the pieces.
    """
    pieces = Pieces(
        name=[f"{'AB'[i % 2]}/{i:03d}{suffix}" for i in range(len(rolls))],
        group=["AB"[i % 2] for i in range(len(rolls))],
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.array([roll.first_step for roll in rolls], np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.array(splits, np.uint8),
        sha256=[roll.sha256 for roll in rolls],
    )
    write_store(path, "corpus", pieces, rolls, {"version": "test"})
    return path


def empty_roll(steps: int) -> Roll:
    """A roll of uninitialized rows, to read into."""
    return Roll(np.empty((steps, PACKED_BYTES), np.uint8), np.empty(steps, np.uint32), np.empty(steps, np.uint8))
