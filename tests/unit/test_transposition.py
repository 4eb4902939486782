"""Transposition moves all keys of a window equally and keeps them on the keyboard."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.data.gather import Places, Rows, gather_windows
from pianogen.data.matches import Matches
from pianogen.data.shuffle import permute
from pianogen.data.transposition import KeyRanges, find_key_ranges
from pianogen.roll import NUM_KEYS, PACKED_BYTES


def transpose(packed: np.ndarray, random: np.ndarray, max_semitones: int) -> np.ndarray:
    """Windows of a row of silence and (B, T, 22) rows, transposed according to (B,) random numbers."""
    count, steps, _ = packed.shape
    start, nothing = steps * np.arange(count), np.zeros(0, np.int32)
    packed, ranges = packed.reshape(-1, PACKED_BYTES), KeyRanges(*np.empty((2, count * steps), np.uint8))
    find_key_ranges(packed, ranges)
    rows = Rows(packed, np.zeros(count * steps, np.int32), np.zeros(count * steps, np.uint8), Matches(nothing, nothing), ranges)
    places = Places(start, start + steps, np.zeros(count, np.int32), random)
    return np.asarray(gather_windows(rows, places, steps + 1, max_semitones).packed)[:, 1:]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 99), max_semitones=st.integers(1, 11), low=st.integers(0, 87), span=st.integers(0, 87))
def test_transposition_moves_all_keys_equally_and_keeps_them_on_the_keyboard(
    seed: int, max_semitones: int, low: int, span: int
) -> None:
    random = np.random.default_rng(seed)
    packed = np.zeros((300, 5, 22), np.uint8)
    is_inside = np.packbits((np.arange(NUM_KEYS) >= low) & (np.arange(NUM_KEYS) <= low + span))
    packed[:, :4] = random.integers(0, 256, (300, 4, 22), np.uint8) & np.concatenate([is_inside, is_inside])
    transposed = transpose(packed, np.linspace(0, 2**32 - 1, 300).astype(np.int64), max_semitones)
    for before, after in zip(packed, transposed, strict=True):
        before, after = (np.unpackbits(rows, axis=1).reshape(-1, 2, NUM_KEYS) for rows in (before, after))
        assert before.sum() == after.sum()
        keys = [np.flatnonzero(rows.any(axis=(0, 1))) for rows in (before, after)]
        shift = keys[1][0] - keys[0][0] if len(keys[0]) else 0
        assert abs(shift) <= max_semitones
        assert np.array_equal(np.roll(before, shift, axis=2), after)


def test_transposition_is_uniform_over_the_possible_semitones() -> None:
    packed = np.zeros((23_000, 3, 22), np.uint8)
    packed[:, 1] = np.packbits(np.isin(np.arange(2 * NUM_KEYS), [4, NUM_KEYS + 80]))
    random = permute(tf.range(len(packed), dtype=tf.int64), 1 << 32, 1, tf.constant(2, tf.int64), 3).numpy()
    lowest_key = np.unpackbits(transpose(packed, random, 11)[:, 1], axis=1)[:, :NUM_KEYS].argmax(axis=1)
    semitones, counts = np.unique(lowest_key - 4, return_counts=True)
    assert semitones.tolist() == list(range(-4, 8))
    assert np.abs(counts / len(packed) * len(semitones) - 1).max() < 0.1
