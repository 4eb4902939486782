"""Rolls without their zeros are the same rolls, and tell any two apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pianogen.roll import Roll
from preprocess.sparse import expand, squeeze

exact = settings(derandomize=True, deadline=None, max_examples=200)


@st.composite
def rolls(draw: st.DrawFn, max_steps: int = 40) -> Roll:
    """From silence to rows without a zero; tempos that stay, rise and fall."""
    steps = draw(st.integers(1, max_steps))
    cells = draw(st.sampled_from([st.integers(0, 255), st.sampled_from([0, 1, 255])]))
    rows = draw(arrays.arrays(np.uint8, (steps, 22), elements=cells, fill=draw(st.sampled_from([st.just(0), st.nothing()]))))
    tempos = st.sampled_from([1, 500_000, 16_777_215]) | st.integers(1, 16_777_215)
    tempo_us = draw(arrays.arrays(np.uint32, steps, elements=tempos))
    return Roll(rows, tempo_us, draw(st.integers(0, 1 << 31)))


def squeezed(roll: Roll) -> bytes:
    return b"".join(squeeze(roll))


@exact
@given(several=st.lists(rolls(), min_size=1, max_size=6))
def test_expanded_rolls_are_the_rolls_end_to_end(several):
    found = expand([squeezed(roll) for roll in several])
    joined = Roll(np.concatenate([roll.packed for roll in several]), np.concatenate([roll.tempo_us for roll in several]))
    assert found == joined
    assert (found.packed.dtype, found.tempo_us.dtype) == (np.uint8, np.uint32)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (0, 0, 0), (4, 0, 4)])
def test_silent_full_short_and_odd_rolls_do_not_run_into_each_other(order):
    full = Roll(np.full((7, 22), 255, np.uint8), np.full(7, 16_777_215, np.uint32))
    silent = [Roll(np.zeros((steps, 22), np.uint8), np.full(steps, 1, np.uint32)) for steps in (1, 16, 3)]
    kinds = [*silent, full, Roll(full.packed[:1], full.tempo_us[:1])]
    several = [kinds[index] for index in order]
    assert expand([squeezed(roll) for roll in several]) == Roll(
        np.concatenate([roll.packed for roll in several]), np.concatenate([roll.tempo_us for roll in several])
    )


@exact
@given(one=rolls(3), other=rolls(3))
def test_equal_rolls_and_no_others_have_equal_bytes(one, other):
    alike = np.array_equal(one.packed, other.packed) and np.array_equal(one.tempo_us, other.tempo_us)
    assert (squeezed(one) == squeezed(other)) == alike
    again = Roll(np.asfortranarray(one.packed), one.tempo_us.copy(), 0)
    assert squeezed(again) == squeezed(one)


@exact
@given(roll=rolls(), data=st.data())
def test_one_changed_bit_or_tempo_changes_the_bytes(roll, data):
    packed, tempo_us = roll.packed.copy(), roll.tempo_us.copy()
    step = data.draw(st.integers(0, len(roll) - 1))
    if data.draw(st.booleans()):
        packed[step, data.draw(st.integers(0, 21))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        tempo_us[step] += 1
    assert squeezed(Roll(packed, tempo_us)) != squeezed(roll)


def test_tempo_is_not_in_the_bytes_of_the_rows():
    rows = np.arange(66, dtype=np.uint8).reshape(3, 22)
    slow, fast = (squeeze(Roll(rows, np.full(3, tempo_us, np.uint32))) for tempo_us in (500_000, 400_000))
    assert slow[0] == fast[0]
    assert slow[1] != fast[1]


def test_silence_at_the_end_tells_rolls_apart():
    """Words that are kept have no place of their own: without the length, these two would be one."""
    short, long = np.zeros((1, 22), np.uint8), np.zeros((4, 22), np.uint8)
    short[0, [2, 3, 20, 21]] = long[0, :4] = [1, 2, 3, 4]
    one, other = (Roll(rows, np.full(len(rows), 500_000, np.uint32)) for rows in (short, long))
    assert squeeze(one)[0] == squeeze(other)[0]
    assert squeezed(one) != squeezed(other)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 8, 16, 17])
def test_silent_roll_takes_a_bit_a_word(steps):
    rows, tempo = squeeze(Roll(np.zeros((steps, 22), np.uint8), np.full(steps, 500_000, np.uint32)))
    assert not any(rows)
    assert len(rows) <= 22 * steps // 32 + 3
    assert len(tempo) == -(-steps // 8) + 8
