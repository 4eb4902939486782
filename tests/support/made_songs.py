"""Generated songs with keys, bars and repeated phrases: music whose metrics have a spread that other music leaves."""

from pathlib import Path

import numpy as np

from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack
from pianogen.store import Split
from tests.support.made_music import store_of
from tests.support.rolls import roll_in_4_4

BAR_STEPS = 16
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
_RHYTHMS = ((0, 4, 8, 12), (0, 4, 8), (0, 6, 8, 12), (0, 2, 4, 8, 12), (0, 8), (0, 4, 6, 8, 14))


def made_song(seed: int) -> Roll:
    """A song of 16 bars in the form AABA: a melody in a major scale, and a bass of two notes a bar."""
    random = np.random.default_rng(seed)
    root = int(random.integers(30, 42))
    phrases = [_phrase(random, root) for _ in range(2)]
    states = np.concatenate([phrases[index] for index in (0, 0, 1, 0)])
    tempo_us = np.full(len(states), 60_000_000 // random.integers(80, 141), np.uint32)
    return roll_in_4_4(pack(states), tempo_us)


def _phrase(random: np.random.Generator, root: int) -> np.ndarray:
    """(64, 88) states of four bars."""
    states = np.full((4 * BAR_STEPS, 88), SILENT, np.uint8)
    degree = int(random.integers(0, 7))
    for bar in range(0, len(states), BAR_STEPS):
        onsets = _RHYTHMS[random.integers(len(_RHYTHMS))]
        for onset, end in zip(onsets, [*onsets[1:], BAR_STEPS - int(random.integers(0, 3))], strict=True):
            degree = int(np.clip(degree + random.integers(-2, 3), -4, 11))
            _write(states, bar + onset, bar + end, root + 12 + 12 * (degree // 7) + int(_SCALE[degree % 7]))
        chord = int(_SCALE[random.choice([0, 3, 4, 5])])
        _write(states, bar, bar + 8, root + chord - 12)
        _write(states, bar + 8, bar + BAR_STEPS, root + chord - 5)
    return states


def _write(states: np.ndarray, onset: int, end: int, key: int) -> None:
    states[onset:end, key] = HOLD
    states[onset, key] = ONSET


def song_store(path: Path, num_train: int, num_valid: int, num_test: int) -> Path:
    """A corpus of songs, in the order of their seeds."""
    splits = [Split.TRAIN] * num_train + [Split.VALID] * num_valid + [Split.TEST] * num_test
    return store_of(path, [made_song(seed) for seed in range(len(splits))], splits)
