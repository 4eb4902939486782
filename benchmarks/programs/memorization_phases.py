"""The phases of `benchmarks.memorization`; every phase runs in its own process.

    python -m benchmarks.programs.memorization_phases search corpus.h5 100

A phase prints a JSON object.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.new_process import memory_mb
from pianogen.evaluation.passage_search import find_passages
from pianogen.roll import ONSET, Roll, equal_bars, pack
from pianogen.store import Pieces, Split, Store, write_store

_POOL_STEPS, _PIECE_STEPS, _SAMPLE_STEPS = 1 << 18, 1_000, 512
_MAJOR = np.array([12 * octave + note for octave in range(8) for note in (0, 2, 4, 5, 7, 9, 11)])
_ONSET_SHARE = np.array([0.9, 0.3, 0.6, 0.3])  # of the steps of a quarter note
NUM_PLANTED = 10
_SEMITONES = 2
_BLOCK_STEPS = 1 << 20


def _made_music(seed: int, steps: int) -> np.ndarray:
    """(T, 22) rows of one to four voices that walk along a major scale."""
    random = np.random.default_rng(seed)
    states = np.zeros((steps, 88), np.uint8)
    shares = np.resize(_ONSET_SHARE, steps)
    for voice in range(4):
        onset = np.flatnonzero(random.random(steps) < shares * (0.9, 0.5, 0.4, 0.3)[voice])
        walk = np.cumsum(random.integers(-2, 3, len(onset)))
        degree = 14 + 6 * voice + np.abs((walk + 8) % 32 - 16) - 8  # reflected within two octaves
        states[onset, _MAJOR[degree]] = ONSET
    return pack(states)


def make(path: Path, num_steps: int) -> dict[str, Any]:
    """Writes the store: pieces are excerpts of a pool of music."""
    random = np.random.default_rng(0)
    pool = _made_music(1, _POOL_STEPS)
    notes_before = np.concatenate([[0], np.cumsum(np.bitwise_count(pool).sum(axis=1, dtype=np.int64))])
    steps = np.full(max(1, num_steps // _PIECE_STEPS), _PIECE_STEPS, np.uint32)
    first = random.integers(0, _POOL_STEPS - _PIECE_STEPS, len(steps))
    tempo_us, bars = np.full(_PIECE_STEPS, 500_000, np.uint32), equal_bars(_PIECE_STEPS, 16)
    rolls = (Roll(pool[start : start + _PIECE_STEPS], tempo_us, bars) for start in first.tolist())
    pieces = Pieces(
        name=[f"{index:09}.mid" for index in range(len(steps))],
        group=[""] * len(steps),
        steps=steps,
        first_step=np.zeros(len(steps), np.uint32),
        notes=(notes_before[first + _PIECE_STEPS] - notes_before[first]).astype(np.uint32),
        split=np.full(len(steps), Split.TRAIN, np.uint8),
        sha256=[""] * len(steps),
    )
    write_store(path, "corpus", pieces, rolls, {})
    return {"pieces": len(pieces), "steps": pieces.num_steps, "notes": int(pieces.notes.sum(dtype=np.int64))}


def read(path: Path) -> dict[str, Any]:
    """Reads all rows of the store once."""
    with Store(path) as store:
        start = time.perf_counter()
        for first in range(0, store.num_steps, _BLOCK_STEPS):
            store.rows(first, min(first + _BLOCK_STEPS, store.num_steps))
        return {"s": time.perf_counter() - start}


def search(path: Path, num_samples: int) -> dict[str, Any]:
    """Searches the store for passages of samples; into the first ones, passages of its last pieces are planted."""
    with Store(path) as store:
        rows = [_made_music(2 + number, _SAMPLE_STEPS) for number in range(num_samples)]
        num_planted = min(NUM_PLANTED, len(store.pieces))
        planted_onsets = [_plant(store, number, rows[number]) for number in range(num_planted)]
        rolls = [Roll(packed, np.full(len(packed), 500_000, np.uint32), equal_bars(len(packed), 16)) for packed in rows]
        pieces = store.pieces.select(Split.TRAIN)
        find_passages(rolls[:1], store, pieces[:1])  # compiles the kernels
        import_mb, start, cpu_start = memory_mb("VmRSS"), time.perf_counter(), time.process_time()
        passages = find_passages(rolls, store, pieces)
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    onsets = [passage.onsets if passage else 0 for passage in passages]
    return {
        "samples": num_samples,
        "s": seconds,
        "cpu_s": cpu_s,
        "import_mb": import_mb,
        "peak_mb": memory_mb("VmHWM"),
        "planted": num_planted,
        "found": sum(found >= planted for found, planted in zip(onsets, planted_onsets, strict=False)),
        "median": statistics.median(onsets[num_planted:]),
    }


def _plant(store: Store, number: int, rows: np.ndarray) -> int:
    """Overwrites rows of a sample with rows of a piece from the end of the store, transposed; returns their number of onsets."""
    length = 16 * (number + 1)
    states = store.roll(len(store.pieces) - 1 - number).rows(400, 400 + length).states
    rows[100 : 100 + length] = pack(np.roll(states, _SEMITONES, axis=1))
    return int((states == ONSET).sum())


_PHASES: dict[str, tuple[Callable[..., dict[str, Any]], tuple[Callable[[str], Any], ...]]] = {
    "make": (make, (Path, int)),
    "read": (read, (Path,)),
    "search": (search, (Path, int)),
}


if __name__ == "__main__":
    phase, types = _PHASES[sys.argv[1]]
    print(json.dumps(phase(*(read_text(text) for read_text, text in zip(types, sys.argv[2:], strict=True)))))
