"""The longest passage of a sample that also occurs in the training set, up to transposition and tempo change."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pianogen.errors import Interrupted
from pianogen.evaluation.excerpts import held_out_excerpts
from pianogen.evaluation.memorization import Memorization, Passage
from pianogen.evaluation.onset_lines import find_longer, make_line, powers
from pianogen.evaluation.passage_search import find_passages, measure_memorization
from pianogen.roll import HOLD, ONSET, Roll, notes, pack
from pianogen.roll_text import encode_roll
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, store_of
from tests.support.passages import Onset, longest_passage
from tests.support.rolls import roll_in_4_4

exact = settings(derandomize=True, deadline=None, max_examples=150)
# Few keys and few gaps, so that passages in common are frequent, and several are equally long.
onset_lists = st.lists(st.tuples(st.integers(0, 20), st.integers(40, 43)), max_size=30, unique=True).map(sorted)


def roll_of(onsets: list[Onset], num_steps: int = 1, stretch: int = 1) -> Roll:
    """A roll with onsets at these (step, key)."""
    states = np.zeros((max([num_steps, *(step * stretch + 1 for step, _ in onsets)]), 88), np.uint8)
    for step, key in onsets:
        states[step * stretch, key] = ONSET
    return roll_in_4_4(pack(states), np.full(len(states), 500_000, np.uint32))


def onsets_of(roll: Roll) -> list[Onset]:
    return [(int(step), int(key)) for step, key in np.argwhere(roll.states == ONSET)]


@exact
@example(sample=[(0, 40), (0, 41), (0, 42)], pieces=[[(0, 40), (0, 41), (1, 42)]], stretch=1)  # a chord is not an arpeggio
@given(sample=onset_lists, pieces=st.lists(onset_lists, min_size=1, max_size=4), stretch=st.integers(1, 3))
def test_longest_passage_is_that_of_the_definition(sample: list[Onset], pieces: list[list[Onset]], stretch: int) -> None:
    rolls = [roll_of(onsets) for onsets in pieces]
    line = make_line(np.concatenate([roll.packed for roll in rolls]), np.cumsum([len(roll) for roll in rolls]))
    query_roll = roll_of(sample, stretch=stretch)
    query = make_line(query_roll.packed, np.array([len(query_roll)]))
    match = find_longer(line, query, powers(len(sample)), 1)
    onsets, first, piece, piece_first = longest_passage(sample, pieces)
    assert (match.onsets, match.query) == (onsets, first)
    assert match.line == (sum(map(len, pieces[:piece])) + piece_first if onsets > 1 else -1)
    for longest in range(1, onsets + 2):
        assert (find_longer(line, query, powers(len(sample)), longest).query >= 0) == (longest < onsets)


PIECE = 17
UNIT = 6  # steps between the onsets of this piece, so that it can be played twice or three times as fast


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty training pieces, which are read in several blocks, three test pieces, of which one is short, and a valid piece."""
    rolls = [made_roll(seed, 1_000, num_voices=3) for seed in range(44)]
    rolls[PIECE] = roll_of([(UNIT * step, key) for step, key in onsets_of(made_roll(PIECE, 350, num_voices=3))])
    rolls[41] = made_roll(41, 50)
    path = tmp_path_factory.mktemp("store") / "corpus.h5"
    return store_of(path, rolls, [Split.TRAIN] * 40 + [Split.TEST] * 3 + [Split.VALID])


def longest_of(roll: Roll, path: Path) -> Passage | None:
    with Store(path) as store:
        (passage,) = find_passages([roll], store, store.pieces.select(Split.TRAIN))
    return passage


@pytest.mark.parametrize("num_onsets", [8, 30, 90, 200])
@pytest.mark.parametrize(
    ("semitones", "stretch"), [(0, "1"), (7, "1"), (-9, "1"), (0, "2"), (0, "1/2"), (4, "3"), (-2, "1/3"), (1, "2/3"), (0, "7/6")]
)
def test_planted_passage_is_found_at_its_place(store: Path, num_onsets: int, semitones: int, stretch: str) -> None:
    with Store(store) as opened:
        piece = opened.roll(PIECE)
    first = 20 + num_onsets // 10
    passage = onsets_of(piece)[first : first + num_onsets]
    step, start = passage[0][0], 40
    moved = [(start + int((other - step) * Fraction(stretch)), above + semitones) for other, above in passage]
    # The highest key, which the training pieces do not have, comes before and after.
    around = [*onsets_of(made_roll(900, start - 1)), (start - 1, 87), (moved[-1][0] + 1, 87)]
    later = [(moved[-1][0] + 2 + other, above) for other, above in onsets_of(made_roll(901, 400))]
    found = longest_of(roll_of([*around, *moved, *later]), store)
    assert found is not None
    assert (found.onsets, found.step, found.bar) == (num_onsets, start, start // 16 + 1)
    assert (found.piece, found.piece_step, found.piece_bar) == (f"B/{PIECE:03d}.mid", step, step // 16 + 1)
    assert (found.semitones, found.stretch) == (semitones, stretch)
    excerpt = piece.rows(step, passage[-1][0] + 1)
    assert found.roll == encode_roll(excerpt)


def test_notes_of_a_passage_are_complete_and_other_lengths_are_equal(store: Path) -> None:
    with Store(store) as opened:
        piece = opened.roll(3)
    states = piece.states
    last = int(np.flatnonzero((states[300:-10] == ONSET).any(axis=1) & (states[301:-9] == HOLD).any(axis=1))[0]) + 300
    cut = states[200 : last + 1]
    found = longest_of(roll_in_4_4(pack(np.where(cut == HOLD, 0, cut)), piece.tempo_us[200 : last + 1]), store)
    assert found is not None
    assert (found.onsets, found.piece) == (int((cut == ONSET).sum()), "B/003.mid")
    ends = notes(states)
    end = ends[(ends[:, 0] >= found.piece_step) & (ends[:, 0] <= last)][:, 1].max()
    assert found.roll == encode_roll(piece.rows(found.piece_step, int(end)))


@pytest.mark.parametrize("onsets", [[], [(3, 40)], [(0, 0), (1, 87)]])
def test_roll_that_shares_no_two_onsets_has_no_passage(store: Path, onsets: list[Onset]) -> None:
    assert longest_of(roll_of(onsets, num_steps=8), store) is None


def test_passage_does_not_cross_two_pieces(tmp_path: Path) -> None:
    scale = [(step, 40 + step) for step in range(12)]
    rolls = [roll_of(scale[:6]), roll_of([(step, key + 6) for step, key in scale[:6]])]
    found = longest_of(roll_of(scale), store_of(tmp_path / "corpus.h5", rolls, [Split.TRAIN] * 2))
    assert found is not None
    assert (found.onsets, found.piece, found.step, found.semitones) == (6, "A/000.mid", 0, 0)


def test_pieces_of_other_splits_and_groups_are_not_searched(store: Path) -> None:
    with Store(store) as opened:
        roll = opened.roll(42)
        memorization = measure_memorization([opened.roll(2), opened.roll(3), roll], opened, ["B"])
    assert max(memorization.sample_onsets[0], memorization.sample_onsets[2]) < 10
    assert memorization.sample_onsets[1] == made_roll(3, 1_000, 3).num_notes
    assert (memorization.split, len(memorization.held_out)) == ("test", 1)


def test_held_out_excerpts_are_searched_too(store: Path) -> None:
    rolls = [made_roll(500, 300), made_roll(501, 200)]
    with Store(store) as opened:
        memorization = measure_memorization(rolls, opened, [])
        excerpts = held_out_excerpts(opened, Split.TEST, 100, 300, seed=0)
        passages = find_passages([excerpt.roll for excerpt in excerpts], opened, opened.pieces.select(Split.TRAIN))
        assert memorization.held_out == [passage.onsets for passage in passages if passage]
        assert [excerpt.piece for excerpt in excerpts][-1] == "B/041.mid"
        assert [len(excerpt.roll) for excerpt in excerpts] == [300, 300, 50]
        for excerpt in excerpts:
            piece = opened.roll(opened.pieces.name.index(excerpt.piece))
            assert excerpt.roll == piece.rows(excerpt.first_step, excerpt.first_step + 300)
        assert [excerpt.first_step for excerpt in held_out_excerpts(opened, Split.TEST, 2, 300, seed=1)] != [
            excerpt.first_step for excerpt in excerpts[:2]
        ]
    assert Memorization.parse(json.loads(json.dumps(memorization.as_json()))) == memorization


def test_store_without_held_out_pieces_has_no_excerpts(tmp_path: Path) -> None:
    with Store(store_of(tmp_path / "corpus.h5", [made_roll(0)], [Split.TRAIN])) as opened:
        memorization = measure_memorization([made_roll(0)], opened, [])
    assert memorization.sample_onsets == [made_roll(0).num_notes]
    assert (memorization.split, memorization.held_out) == (None, [])


def test_shutdown_signal_interrupts_the_search(store: Path) -> None:
    with Store(store) as opened, pytest.raises(Interrupted, match="search for memorized passages"):
        measure_memorization([made_roll(0)], opened, [], lambda: True)
