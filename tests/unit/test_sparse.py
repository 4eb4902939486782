"""The encoding of rolls is lossless, and different rolls have different encodings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pianogen.roll import Roll, equal_bars, join
from preprocess.sparse import decode, encode
from tests.support.rolls import roll_in_4_4

exact = settings(derandomize=True, deadline=None, max_examples=200)


@st.composite
def rolls(draw: st.DrawFn, max_steps: int = 40) -> Roll:
    """Rows from silence to no zero at all; tempos that stay, rise and fall."""
    steps = draw(st.integers(1, max_steps))
    cells = draw(st.sampled_from([st.integers(0, 255), st.sampled_from([0, 1, 255])]))
    rows = draw(arrays.arrays(np.uint8, (steps, 22), elements=cells, fill=draw(st.sampled_from([st.just(0), st.nothing()]))))
    tempos = st.sampled_from([1, 500_000, 16_777_215]) | st.integers(1, 16_777_215)
    tempo_us = draw(arrays.arrays(np.uint32, steps, elements=tempos))
    bars = draw(st.sampled_from([st.just(0), st.integers(0, 255)]))
    bar_position = draw(st.just(equal_bars(steps, 12, 5)) | arrays.arrays(np.uint8, steps, elements=bars))
    return Roll(rows, tempo_us, bar_position, draw(st.integers(0, 1 << 31)))


def encoded(roll: Roll) -> bytes:
    return b"".join(encode(roll))


@exact
@given(originals=st.lists(rolls(), min_size=1, max_size=6))
def test_decoding_gives_the_encoded_rolls_end_to_end(originals: list[Roll]) -> None:
    decoded = decode([encoded(roll) for roll in originals], steps_per_quarter=4)
    assert decoded == join(originals)
    assert decoded.packed.dtype == np.uint8
    assert decoded.tempo_us.dtype == np.uint32
    assert decoded.bar_position.dtype == np.uint8


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (0, 0, 0), (4, 0, 4)])
def test_silent_full_and_short_rolls_are_separated_in_any_order(order: tuple[int, ...]) -> None:
    full = roll_in_4_4(np.full((7, 22), 255, np.uint8), np.full(7, 16_777_215, np.uint32))
    silent = [roll_in_4_4(np.zeros((steps, 22), np.uint8), np.full(steps, 1, np.uint32)) for steps in (1, 16, 3)]
    kinds = [*silent, full, roll_in_4_4(full.packed[:1], full.tempo_us[:1])]
    originals = [kinds[index] for index in order]
    assert decode([encoded(roll) for roll in originals], steps_per_quarter=4) == join(originals)


@exact
@given(one=rolls(3), other=rolls(3))
def test_encodings_are_equal_only_for_equal_rolls(one: Roll, other: Roll) -> None:
    assert (encoded(one) == encoded(other)) == (one.rows(None, None) == other.rows(None, None))
    copy = Roll(np.asfortranarray(one.packed), one.tempo_us.copy(), one.bar_position.copy())
    assert encoded(copy) == encoded(one)


@exact
@given(roll=rolls(), data=st.data())
def test_one_changed_bit_tempo_or_bar_position_changes_the_encoding(roll: Roll, data: st.DataObject) -> None:
    packed, tempo_us, bar_position = roll.packed.copy(), roll.tempo_us.copy(), roll.bar_position.copy()
    step = data.draw(st.integers(0, len(roll) - 1))
    match data.draw(st.integers(0, 2)):
        case 0:
            packed[step, data.draw(st.integers(0, 21))] ^= 1 << data.draw(st.integers(0, 7))
        case 1:
            tempo_us[step] += 1
        case 2:
            bar_position[step] ^= data.draw(st.integers(1, 255))
    assert encoded(Roll(packed, tempo_us, bar_position)) != encoded(roll)


def test_each_part_of_an_encoding_depends_on_its_part_of_the_roll_alone() -> None:
    rows = np.arange(66, dtype=np.uint8).reshape(3, 22)
    slow, fast, shifted = (
        encode(Roll(rows, np.full(3, tempo_us, np.uint32), equal_bars(3, 16, first)))
        for tempo_us, first in [(500_000, 0), (400_000, 0), (500_000, 1)]
    )
    assert [one == other for one, other in zip(slow, fast, strict=True)] == [True, False]
    assert [one == other for one, other in zip(slow, shifted, strict=True)] == [False, True]


def test_silence_at_the_end_changes_the_content() -> None:
    """Without the number of steps, silent rolls of 5 and 6 steps would have the same content."""
    contents = [encode(roll_in_4_4(np.zeros((steps, 22), np.uint8), np.full(steps, 1, np.uint32))).content for steps in (5, 6)]
    assert contents[0][:-4] == contents[1][:-4]
    assert contents[0] != contents[1]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 8, 16, 17, 63, 64])
def test_silent_roll_takes_one_bit_per_word(steps: int) -> None:
    bar_position, content = encode(roll_in_4_4(np.zeros((steps, 22), np.uint8), np.full(steps, 500_000, np.uint32)))
    bar_words, words = -(-steps // 4), steps + -(-22 * steps // 4)
    num_bars = -(-steps // 16)
    assert len(bar_position) == -(-bar_words // 8) + 4 * num_bars
    assert len(content) == -(-words // 8) + 4 + 4  # one tempo, and the number of steps
