"""Samples beside a corpus: sets of real music are inside its spread, and planted faults are outside in the right metrics."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pianogen.evaluation.corpus_comparison import MIN_PIECES, ComparisonError, Corpus, compare
from pianogen.evaluation.excerpts import draw_excerpts, draw_rows, excerpt_steps
from pianogen.evaluation.metrics import METRICS, RollContent
from pianogen.roll import HOLD, ONSET, SILENT, Roll, notes, pack
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, store_of
from tests.support.made_songs import made_song, song_store

NUM_SAMPLES = 16
TITLES = {metric.name: metric.title for metric in METRICS}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(song_store(tmp_path_factory.mktemp("songs") / "songs.h5", 60, 20, 20)) as store:
        yield store


@pytest.fixture(scope="module")
def corpus(store: Store) -> Corpus:
    return Corpus.read(store, [], 256)


def songs(first_seed: int) -> list[Roll]:
    """Songs that are not part of the corpus."""
    return [made_song(first_seed + index) for index in range(NUM_SAMPLES)]


def with_states(roll: Roll, states: np.ndarray) -> Roll:
    return Roll(pack(states.astype(np.uint8)), roll.tempo_us, roll.bar_position)


def silence(roll: Roll, _: np.random.Generator) -> Roll:
    return with_states(roll, np.full((len(roll), 88), SILENT))


def stuck_note(roll: Roll, _: np.random.Generator) -> Roll:
    states = np.full((len(roll), 88), SILENT)
    states[:, 40] = HOLD
    states[0, 40] = ONSET
    return with_states(roll, states)


def perpetual_sixteenths(roll: Roll, random: np.random.Generator) -> Roll:
    states = np.full((len(roll), 88), SILENT)
    states[np.arange(len(roll)), random.integers(35, 60, len(roll))] = ONSET
    return with_states(roll, states)


def shuffled_keys(roll: Roll, random: np.random.Generator) -> Roll:
    return with_states(roll, roll.states[:, random.permutation(88)])


def shuffled_steps(roll: Roll, random: np.random.Generator) -> Roll:
    return Roll(roll.packed[random.permutation(len(roll))], roll.tempo_us, roll.bar_position)


def octave_higher(roll: Roll, _: np.random.Generator) -> Roll:
    return with_states(roll, np.roll(roll.states, 12, axis=1))


@pytest.mark.parametrize("first_seed", range(1_000, 1_100, 20))
def test_other_music_of_the_same_kind_is_inside_the_spread(corpus: Corpus, first_seed: int) -> None:
    comparison = compare(songs(first_seed), corpus)
    assert comparison.outside == []
    assert comparison.undetermined == []
    assert comparison.verdict == f"Inside the spread of the corpus in all {len(METRICS)} metrics."


@pytest.mark.parametrize("num_samples", [1, 8])
@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALID, Split.TEST])
def test_pieces_of_the_corpus_are_inside_the_spread(store: Store, corpus: Corpus, split: Split, num_samples: int) -> None:
    pieces = np.flatnonzero(store.pieces.split == split)[:num_samples].tolist()
    assert compare([store.roll(piece) for piece in pieces], corpus).outside == []


@pytest.mark.parametrize(
    ("fault", "metrics"),
    [
        (silence, "notes_per_step keys_sounding silent_steps"),
        (stuck_note, "notes_per_step keys_sounding pitch pitch_range pitch_class_entropy note_length bar_position"),
        (perpetual_sixteenths, "notes_per_step note_length inter_onset_interval bar_position scale_consistency"),
        (shuffled_keys, "pitch pitch_range successive_interval simultaneous_interval scale_consistency"),
        (
            shuffled_steps,
            "note_length bar_position groove_similarity self_similarity_1 self_similarity_4 self_similarity_8",
        ),
        (octave_higher, "pitch"),
    ],
)
def test_fault_is_outside_the_spread(corpus: Corpus, fault: Callable[[Roll, np.random.Generator], Roll], metrics: str) -> None:
    random = np.random.default_rng(3)
    comparison = compare([fault(roll, random) for roll in songs(2_000)], corpus)
    assert {TITLES[name] for name in metrics.split()} <= set(comparison.outside)
    if fault is octave_higher:
        assert comparison.outside == ["pitch"]


def test_transposed_copies_of_one_piece_are_outside_the_spread(corpus: Corpus) -> None:
    song = made_song(3_000)
    copies = [with_states(song, np.roll(song.states, semitones, axis=1)) for semitones in range(NUM_SAMPLES)]
    outside = compare(copies, corpus).outside
    assert {"notes per step", "scale consistency"} & set(outside)
    assert len(outside) > len(METRICS) // 2


def test_verdict_names_the_metrics_outside_and_those_that_samples_do_not_determine(corpus: Corpus) -> None:
    comparison = compare([silence(roll, np.random.default_rng(0)) for roll in songs(4_000)], corpus)
    num_metrics = len(comparison.metrics)
    assert comparison.verdict.startswith(
        f"Outside the spread of the corpus in {len(comparison.outside)} of {num_metrics} metrics: notes per step, keys sounding, "
        "silent steps"
    )
    assert comparison.verdict.endswith(
        "; not determined: pitch, pitch range, pitch-class entropy, note lengths, inter-onset intervals, onsets by position in "
        "the bar, intervals between successive notes, intervals between simultaneous notes, scale consistency, self-similarity "
        "at 1 bar, self-similarity at 2 bars, self-similarity at 4 bars, self-similarity at 8 bars."
    )


def test_figures_of_a_metric_are_those_of_the_rolls(store: Store, corpus: Corpus) -> None:
    samples = songs(5_000)
    entry = compare(samples, corpus).metrics[0]
    shares = [roll.num_notes / 256 for roll in samples]
    assert entry.samples.mean == pytest.approx(np.mean(shares))
    held_out = [store.roll(index).num_notes / 256 for index in range(60, 100)]
    assert entry.held_out.mean == pytest.approx(np.mean(held_out))
    # Between equally many values, the mean difference of the sorted values; the bins are 0.05 wide.
    exact = np.abs(np.sort(np.repeat(shares, 5)) - np.sort(np.repeat(held_out, 2))).mean()
    assert entry.distance == pytest.approx(exact, abs=0.05)
    assert 0 < entry.reference.distance < entry.reference.max_distance
    assert 0 < entry.reference.min_overlap < entry.reference.overlap < 1


def test_empty_and_single_note_samples_are_compared(corpus: Corpus) -> None:
    empty = silence(made_song(1), np.random.default_rng(0))
    states = np.full((256, 88), SILENT)
    states[5, 40] = ONSET
    comparison = compare([empty, with_states(empty, states), made_song(2)], corpus)
    counts = {entry.metric.name: len(entry.samples) for entry in comparison.metrics}
    assert (counts["notes_per_step"], counts["pitch"], counts["inter_onset_interval"]) == (3, 2, 1)


def test_samples_of_one_step_and_of_ten_thousand_steps_are_compared(store: Store, corpus: Corpus) -> None:
    one_step = Corpus.read(store, [], 1)
    assert one_step.num_steps == 1
    assert compare([made_song(6).rows(0, 1)], one_step).outside == []
    assert excerpt_steps(store, [], 10_000) == 256  # the length of the songs
    assert len(compare([made_roll(7, 10_000)], corpus).metrics) == len(METRICS)


def test_shorter_samples_than_excerpts_are_refused(corpus: Corpus) -> None:
    with pytest.raises(ComparisonError, match="a sample has 100 steps, expected 256 or more"):
        compare([made_song(1), made_song(2).rows(0, 100)], corpus)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((MIN_PIECES - 1, 8, 8), "has 7 train pieces of at least 256 steps, expected 8 or more"),
        ((10, 4, MIN_PIECES - 5), "has 7 held-out pieces of at least 256 steps, expected 8 or more"),
        ((10, 0, 0), "has 0 held-out pieces"),
        ((10, 1, 0), "has 1 held-out piece of"),
    ],
)
def test_too_few_pieces_are_refused(tmp_path: Path, counts: tuple[int, int, int], message: str) -> None:
    with Store(song_store(tmp_path / "few.h5", *counts)) as few, pytest.raises(ComparisonError, match=message):
        Corpus.read(few, [], 256)


def test_only_pieces_of_the_groups_are_read(store: Store) -> None:
    names = {excerpt.piece for split in (Split.VALID, Split.TEST) for excerpt in draw_excerpts(store, split, ["A"], 256, 0)}
    assert len(names) == 20
    assert all(name.startswith("A/") for name in names)


def test_excerpts_are_drawn_at_their_seed_and_begin_at_bar_lines(tmp_path: Path) -> None:
    with Store(store_of(tmp_path / "long.h5", [made_roll(seed, 400) for seed in range(20)], [Split.VALID] * 20)) as long:
        first, again, other = (draw_excerpts(long, Split.VALID, [], 100, seed) for seed in (0, 0, 1))
        by_name = dict(zip(long.pieces.name, range(20), strict=True))
        for excerpt in first:
            rows = long.roll(by_name[excerpt.piece]).rows(excerpt.first_step, excerpt.first_step + 100)
            assert excerpt.first_step % 16 == 0
            np.testing.assert_array_equal(notes(excerpt.roll.states), notes(rows.states))
            assert (excerpt.roll.states[0] != HOLD).all()
    assert [(entry.piece, entry.first_step) for entry in first] == [(entry.piece, entry.first_step) for entry in again]
    assert [(entry.piece, entry.first_step) for entry in first] != [(entry.piece, entry.first_step) for entry in other]
    assert len({entry.first_step for entry in first}) > 5


def test_excerpts_have_the_length_that_three_quarters_of_the_pieces_have(tmp_path: Path) -> None:
    rolls = [made_roll(seed, 40 + 10 * seed) for seed in range(8)]
    with Store(store_of(tmp_path / "steps.h5", rolls, [Split.TRAIN] * 7 + [Split.NONE])) as store:
        assert excerpt_steps(store, [], 512) == 50
        assert excerpt_steps(store, [], 45) == 45
        assert len(draw_excerpts(store, Split.TRAIN, [], 50, 0)) == 6


def test_rolls_without_an_early_bar_line_begin_at_their_start() -> None:
    roll = made_song(1)
    late = Roll(roll.packed, roll.tempo_us, np.arange(1, 257).clip(max=255).astype(np.uint8))
    first_step, rows = draw_rows(late, 200, np.random.default_rng(0))
    assert first_step == 0
    assert len(rows) == 200
    assert RollContent(late).bars == []
