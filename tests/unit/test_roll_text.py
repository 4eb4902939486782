"""The text of a roll in the report."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.roll import HOLD, MAX_TEMPO_US, ONSET, Roll, notes, pack
from pianogen.roll_text import encode_roll
from tests.support.made_music import random_roll
from tests.support.made_sweep import dense_states
from tests.support.rolls import roll_in_4_4

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def decode_numbers(text: str) -> list[int]:
    """The numbers of a text; the digits of a number are its 5-bit groups, the lowest first, and all but the last have bit 32."""
    numbers, number, shift = [], 0, 0
    for character in text:
        digit = DIGITS.index(character)
        number |= digit % 32 << shift
        shift += 5
        if digit < 32:
            numbers.append(number)
            number, shift = 0, 0
    assert shift == 0
    return numbers


def decode_rows(numbers: list[int], width: int) -> np.ndarray:
    """(N, width) rows of a list that follows its length; they are removed from the numbers."""
    length = numbers.pop(0)
    rows = np.array(numbers[: width * length], np.int64).reshape(length, width)
    del numbers[: width * length]
    return rows


def test_text_of_a_small_roll_is_fixed() -> None:
    states = np.zeros((40, 88), np.uint8)
    states[1, [39, 43]] = ONSET
    states[2:34, 39] = HOLD
    states[3, 10] = ONSET
    states[35, 87] = HOLD  # without an onset: silent
    roll = roll_in_4_4(pack(states), np.repeat([500_000, 600_000], [8, 32]).astype(np.uint32), first_step=14)
    numbers = [40, 4]
    numbers += [3, 1, 33, 2 * 39, 0, 1, 2 * 4, 2, 1, 2 * 33 - 1]  # notes: steps, duration, zigzag difference of keys
    numbers += [2, 0, 500_000, 8, 600_000]
    numbers += [3, 2, 16, 16]
    assert decode_numbers(encode_roll(roll)) == numbers
    assert encode_roll(roll).startswith("oBEDBhBuC")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 300), st.sampled_from([4, 6, 24]), st.integers(1, MAX_TEMPO_US))
def test_text_has_every_note_tempo_change_and_bar_line(seed: int, steps: int, steps_per_quarter: int, tempo_us: int) -> None:
    packed, tempos = random_roll(seed, 0, steps).packed, np.full(steps, tempo_us, np.uint32)
    random = np.random.default_rng(seed)
    tempos[random.integers(0, steps) :] = random.integers(1, MAX_TEMPO_US)
    roll = Roll(packed, tempos, random.integers(0, 3, steps).astype(np.uint8), steps_per_quarter=steps_per_quarter)
    numbers = decode_numbers(encode_roll(roll))
    assert numbers[:2] == [steps, steps_per_quarter]
    del numbers[:2]
    columns = decode_rows(numbers, 3).T
    onsets, keys = np.cumsum(columns[0]), np.cumsum(columns[2] // 2 ^ -(columns[2] % 2))
    np.testing.assert_array_equal(np.stack([onsets, onsets + columns[1], keys], axis=1), notes(roll.states))
    change_steps, change_us = decode_rows(numbers, 2).T
    np.testing.assert_array_equal(np.repeat(change_us, np.diff(np.cumsum(change_steps), append=steps)), roll.tempo_us)
    np.testing.assert_array_equal(np.cumsum(decode_rows(numbers, 1)), np.flatnonzero(roll.bar_position == 0))
    assert numbers == []


def test_text_is_short() -> None:
    dense = roll_in_4_4(pack(dense_states(512)), np.full(512, 500_000, np.uint32))
    assert len(encode_roll(dense)) < 3.3 * dense.num_notes
