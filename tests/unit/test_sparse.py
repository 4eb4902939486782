"""The encoding of rolls is lossless, and different rolls have different encodings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pianogen.roll import Roll
from preprocess.sparse import decode, encode

exact = settings(derandomize=True, deadline=None, max_examples=200)


@st.composite
def rolls(draw: st.DrawFn, max_steps: int = 40) -> Roll:
    """Rows from silence to no zero at all; tempos that stay, rise and fall."""
    steps = draw(st.integers(1, max_steps))
    cells = draw(st.sampled_from([st.integers(0, 255), st.sampled_from([0, 1, 255])]))
    rows = draw(arrays.arrays(np.uint8, (steps, 22), elements=cells, fill=draw(st.sampled_from([st.just(0), st.nothing()]))))
    tempos = st.sampled_from([1, 500_000, 16_777_215]) | st.integers(1, 16_777_215)
    tempo_us = draw(arrays.arrays(np.uint32, steps, elements=tempos))
    return Roll(rows, tempo_us, draw(st.integers(0, 1 << 31)))


def encoded(roll: Roll) -> bytes:
    return b"".join(encode(roll))


def joined(rolls: list[Roll]) -> Roll:
    return Roll(np.concatenate([roll.packed for roll in rolls]), np.concatenate([roll.tempo_us for roll in rolls]))


@exact
@given(originals=st.lists(rolls(), min_size=1, max_size=6))
def test_decoding_gives_the_encoded_rolls_end_to_end(originals: list[Roll]) -> None:
    decoded = decode([encoded(roll) for roll in originals])
    assert decoded == joined(originals)
    assert decoded.packed.dtype == np.uint8
    assert decoded.tempo_us.dtype == np.uint32


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (0, 0, 0), (4, 0, 4)])
def test_silent_full_and_short_rolls_are_separated_in_any_order(order: tuple[int, ...]) -> None:
    full = Roll(np.full((7, 22), 255, np.uint8), np.full(7, 16_777_215, np.uint32))
    silent = [Roll(np.zeros((steps, 22), np.uint8), np.full(steps, 1, np.uint32)) for steps in (1, 16, 3)]
    kinds = [*silent, full, Roll(full.packed[:1], full.tempo_us[:1])]
    originals = [kinds[index] for index in order]
    assert decode([encoded(roll) for roll in originals]) == joined(originals)


@exact
@given(one=rolls(3), other=rolls(3))
def test_encodings_are_equal_only_for_equal_rolls(one: Roll, other: Roll) -> None:
    are_equal = np.array_equal(one.packed, other.packed) and np.array_equal(one.tempo_us, other.tempo_us)
    assert (encoded(one) == encoded(other)) == are_equal
    copy = Roll(np.asfortranarray(one.packed), one.tempo_us.copy(), 0)
    assert encoded(copy) == encoded(one)


@exact
@given(roll=rolls(), data=st.data())
def test_one_changed_bit_or_tempo_changes_the_encoding(roll: Roll, data: st.DataObject) -> None:
    packed, tempo_us = roll.packed.copy(), roll.tempo_us.copy()
    step = data.draw(st.integers(0, len(roll) - 1))
    if data.draw(st.booleans()):
        packed[step, data.draw(st.integers(0, 21))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        tempo_us[step] += 1
    assert encoded(Roll(packed, tempo_us)) != encoded(roll)


def test_encoded_rows_do_not_depend_on_the_tempo() -> None:
    rows = np.arange(66, dtype=np.uint8).reshape(3, 22)
    slow, fast = (encode(Roll(rows, np.full(3, tempo_us, np.uint32))) for tempo_us in (500_000, 400_000))
    assert slow[0] == fast[0]
    assert slow[1] != fast[1]


def test_silence_at_the_end_changes_the_encoding() -> None:
    """Without the number of steps, these two rolls would have the same encoding."""
    short, long = np.zeros((1, 22), np.uint8), np.zeros((4, 22), np.uint8)
    short[0, [2, 3, 20, 21]] = long[0, :4] = [1, 2, 3, 4]
    one, other = (Roll(rows, np.full(len(rows), 500_000, np.uint32)) for rows in (short, long))
    assert encode(one)[0] == encode(other)[0]
    assert encoded(one) != encoded(other)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 8, 16, 17])
def test_silent_roll_takes_one_bit_per_word(steps: int) -> None:
    rows, tempo = encode(Roll(np.zeros((steps, 22), np.uint8), np.full(steps, 500_000, np.uint32)))
    assert not any(rows)
    assert len(rows) <= 22 * steps // 32 + 3
    assert len(tempo) == -(-steps // 8) + 8
