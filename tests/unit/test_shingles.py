"""MinHash signatures estimate the Jaccard index of sets of shingles, and do not depend on key, tempo and note lengths."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.midi.reader import read_roll
from pianogen.midi.shingles import minhash
from pianogen.midi.signature import MinHash, similarity_of
from pianogen.roll import HOLD, ONSET, Roll, equal_bars, pack
from tests.support.corpora import PIANO_MIDI_DE, needs_corpora
from tests.support.made_music import made_roll
from tests.support.shingles import Shingle, jaccard, shingles_of

_WORD = 0xFFFF_FFFF_FFFF_FFFF

exact = settings(derandomize=True, deadline=None, max_examples=60)


def roll_of(onsets: list[tuple[int, int]], steps_per_quarter: int = 4) -> Roll:
    """A roll with onsets at these (step, key)."""
    states = np.zeros((max(step for step, _ in onsets) + 1, 88), np.uint8)
    for step, key in onsets:
        states[step, key] = ONSET
    return roll_with(states, steps_per_quarter)


def roll_with(states: np.ndarray, steps_per_quarter: int = 4) -> Roll:
    steps = len(states)
    tempo_us = np.full(steps, 500_000, np.uint32)
    return Roll(pack(states), tempo_us, equal_bars(steps, 16), steps_per_quarter=steps_per_quarter)


def summary(roll: Roll) -> MinHash:
    result = minhash(roll)
    assert result is not None
    return result


def estimate(one: Roll, other: Roll) -> float:
    first, second = (np.frombuffer(summary(roll).signature, np.uint8) for roll in (one, other))
    return float(similarity_of(np.sum(first == second)))


def transposed(roll: Roll, keys: int) -> Roll:
    return replace(roll, packed=pack(np.roll(roll.states, keys, axis=1)))


onset_lists = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 87)), min_size=8, max_size=60, unique=True)


@exact
@given(onsets=onset_lists, steps_per_quarter=st.sampled_from([4, 6, 24]))
def test_rolls_with_equal_sets_of_shingles_have_equal_summaries(onsets: list[tuple[int, int]], steps_per_quarter: int) -> None:
    roll, later = roll_of(onsets, steps_per_quarter), roll_of([(step + 3, key) for step, key in onsets], steps_per_quarter)
    assert summary(roll) == summary(later)
    shorter = roll_of(sorted(onsets)[1:], steps_per_quarter) if len(onsets) > 8 else later
    if shingles_of(roll) == shingles_of(shorter):
        assert summary(roll) == summary(shorter)


def mix(value: int) -> int:
    """SplitMix64, with Python's integers."""
    value = (value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9 & _WORD
    value = (value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB & _WORD
    return value ^ (value >> 31)


def hash_of(shingle: Shingle) -> int:
    polynomial = 0
    for gap, difference in shingle:
        polynomial = polynomial * 0x9E37_79B9_7F4A_7C15 + mix(256 * gap + difference + 128) & _WORD
    return mix(polynomial)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 1.0])
def test_summary_has_the_smallest_hash_of_all_shingles_and_of_each_bin(share: float) -> None:
    """From one onset in a step to all 88."""
    states = (np.random.default_rng(0).random((300, 88)) < share).astype(np.uint8)
    roll = roll_with(states)
    hashes = [hash_of(shingle) for shingle in shingles_of(roll)]
    bins: dict[int, int] = {}
    for value in sorted(hashes, reverse=True):
        bins[value >> 57] = value
    assert summary(roll).smallest == min(hashes)
    for number, value in bins.items():
        assert summary(roll).signature[number] == value & 0xFF


def test_summary_does_not_depend_on_key_tempo_bars_and_note_lengths() -> None:
    roll = made_roll(3)
    states = roll.states
    without_holds = np.where(states == HOLD, 0, states).astype(np.uint8)
    assert states[:, [0, 1, 2, 85, 86, 87]].any() == 0
    variants = [
        transposed(roll, 3),
        transposed(roll, -2),
        replace(roll, tempo_us=roll.tempo_us // 2),
        replace(roll, bar_position=equal_bars(len(roll), 12)),
        roll_with(without_holds),
    ]
    for variant in variants:
        assert summary(variant) == summary(roll)


def test_other_note_values_are_other_shingles() -> None:
    onsets = [(2 * number, 40 + number) for number in range(12)]
    one, other = roll_of(onsets), roll_of([(2 * step, key) for step, key in onsets])
    assert jaccard(one, other) == 0
    assert estimate(one, other) < 0.1
    assert summary(one).smallest != summary(other).smallest


@pytest.mark.parametrize("steps_per_quarter", [4, 12])
def test_rests_of_16_quarter_notes_and_more_are_equal(steps_per_quarter: int) -> None:
    def with_rest(rest: int) -> Roll:
        return roll_of(
            [(number, 40) for number in range(4)] + [(3 + rest + number, 45) for number in range(6)], steps_per_quarter
        )

    longest = 16 * steps_per_quarter
    assert summary(with_rest(longest)) == summary(with_rest(longest + 50))
    assert summary(with_rest(longest - 1)) != summary(with_rest(longest))


@pytest.mark.parametrize(("num_onsets", "has_shingles"), [(1, False), (7, False), (8, True)])
def test_fewer_than_8_onsets_have_no_shingles(num_onsets: int, has_shingles: bool) -> None:
    result = minhash(roll_of([(number, 40) for number in range(num_onsets)]))
    assert (result is not None) == has_shingles


def test_estimates_are_close_to_the_jaccard_index_and_without_bias() -> None:
    """For sets of 30 to 400 shingles, of which a part is shared; the standard error is 0.044 at most."""
    errors = []
    for seed in range(60):
        length = 30 + 10 * seed
        one = made_roll(seed, length, num_voices=2)
        changed = one.states.copy()
        begin, end = (seed % 7) * length // 16, (seed % 7 + 1) * length // 8
        changed[begin:end] = np.roll(made_roll(seed + 1000, length, num_voices=2).states, 5, axis=1)[begin:end]
        other = roll_with(changed)
        errors.append(estimate(one, other) - jaccard(one, other))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.06
    assert np.abs(errors).max() < 0.2


def test_smallest_hash_is_equal_with_a_probability_of_the_similarity() -> None:
    num_equal = total = 0.0
    for seed in range(300):
        one = made_roll(seed, 60, num_voices=2)
        other = one.rows(0, 40)
        num_equal += summary(one).smallest == summary(other).smallest
        total += jaccard(one, other)
    assert num_equal / total == pytest.approx(1, abs=0.1)


@needs_corpora
def test_no_two_real_pieces_are_similar() -> None:
    rolls = [read_roll(path.read_bytes(), path.name)[0] for path in sorted(PIANO_MIDI_DE.glob("*/*.mid"))]
    signatures = np.array([np.frombuffer(summary(roll).signature, np.uint8) for roll in rolls])
    similarity = similarity_of((signatures[:, None] == signatures).sum(axis=2))
    assert len(rolls) > 300
    assert np.sort(similarity, axis=None)[-len(rolls) - 1] < 0.15
