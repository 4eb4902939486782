"""Random scores give the notes of the reference implementation: every note of every play, with ties joined in any voice."""

from collections import Counter
from random import Random

import pytest

from tests.support.made_scores import DIVISIONS, joined_notes, made_bars, made_form, marks_of, musicxml_of, played
from tests.support.score_events import events_of, notes_of, steps_of


@pytest.mark.parametrize("part", range(4))
def test_score_gives_the_notes_of_the_reference_implementation(part: int) -> None:
    for seed in range(40 * part, 40 * (part + 1)):
        source = Random(seed)
        form = made_form(source)
        num_parts = source.randint(1, 3)
        bars = made_bars(source, form.blocks[-1].end, num_parts)
        events = events_of(musicxml_of(bars, marks_of(form), num_parts, source), ".musicxml")
        order = played(form)
        expected = [(start / DIVISIONS * 4, stop / DIVISIONS * 4, key) for start, stop, key in joined_notes(bars, order)]
        found = [(float(start), float(start + length), key or 0) for start, key, length in notes_of(events)]
        # Two ties of one key that meet can be joined in two ways; then only starts, stops and their numbers are determined.
        assert Counter((start, key) for start, _, key in found) == Counter((start, key) for start, _, key in expected), seed
        assert Counter((stop, key) for _, stop, key in found) == Counter((stop, key) for _, stop, key in expected), seed
        assert steps_of(events.meters["tick"], events) == [16 * place for place in range(len(order))]
