"""The search for near-duplicates finds what a comparison of all pairs finds, and drops pieces until none is left."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pianogen.midi.shingles import minhash
from pianogen.midi.signature import NUM_BINS, similarity_of
from pianogen.roll import HOLD, ONSET, SILENT, Roll, pack
from preprocess.near_duplicates import NONE, drop_similar, find_similar
from tests.support.made_music import made_roll
from tests.support.shingles import jaccard

exact = settings(derandomize=True, deadline=None, max_examples=60)


def random_signatures(seed: int, num_pieces: int) -> np.ndarray:
    """(num_pieces, 128) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (num_pieces, NUM_BINS), np.uint8)


def copied(signatures: np.ndarray, source: int, target: int, num_bytes: int, seed: int = 0) -> None:
    """Makes this number of bytes of one signature equal to those of another one, and at least all others different."""
    chosen = np.random.default_rng(seed).permutation(NUM_BINS)[:num_bytes]
    signatures[target] = signatures[source] + 1
    signatures[target, chosen] = signatures[source, chosen]


def all_pairs(signatures: np.ndarray) -> np.ndarray:
    """(P, P) estimated similarities."""
    return similarity_of((signatures[:, None] == signatures).sum(axis=2))


@pytest.mark.parametrize("num_bytes", [64, 65, 80, 103, 127, 128])
def test_similar_piece_is_found_with_its_similarity(num_bytes: int) -> None:
    signatures = random_signatures(1, 40)
    for seed in range(10):
        copied(signatures, seed, 39 - seed, num_bytes, seed)
    similar = find_similar(signatures, np.arange(40))
    similarity = (num_bytes / 128 - 1 / 256) / (1 - 1 / 256)
    if similarity < 0.5:
        assert (similar.earlier == NONE).all()
        assert not similar.similarity.any()
    else:
        assert similar.earlier.tolist() == [NONE] * 30 + list(range(9, -1, -1))
        assert similar.similarity[30:] == pytest.approx([similarity] * 10)
        assert not similar.similarity[:30].any()


def test_most_similar_earlier_piece_is_reported() -> None:
    signatures = random_signatures(2, 6)
    copied(signatures, 0, 2, 90, 1)
    copied(signatures, 0, 4, 70, 2)
    signatures[5] = signatures[2]
    similar = find_similar(signatures, np.arange(6))
    assert similar.earlier.tolist() == [NONE, NONE, 0, NONE, 0, 2]
    assert similar.similarity[5] == 1


@exact
@given(data=st.data(), num_pieces=st.integers(0, 12))
def test_search_agrees_with_the_comparison_of_all_pairs(data: st.DataObject, num_pieces: int) -> None:
    """For pairs that are not at the limit of 0.5, of which a few in ten thousand share no band."""
    signatures = random_signatures(num_pieces, num_pieces)
    for target in range(1, num_pieces):
        if data.draw(st.booleans()):
            copied(
                signatures, data.draw(st.integers(0, target - 1)), target, data.draw(st.sampled_from([20, 90, 110, 128])), target
            )
    similar, expected = find_similar(signatures, np.arange(num_pieces)), np.tril(all_pairs(signatures), -1)
    for piece in range(num_pieces):
        best = expected[piece].max()
        if best >= 0.5:
            assert similar.similarity[piece] == best
            assert expected[piece, similar.earlier[piece]] == best
        else:
            assert similar.earlier[piece] == NONE


def test_pieces_without_shingles_are_similar_to_none() -> None:
    signatures = np.zeros((4, NUM_BINS), np.uint8)
    similar = find_similar(signatures, np.array([NONE, 0, NONE, 1]))
    assert similar.earlier.tolist() == [NONE, NONE, NONE, 1]


def test_rows_may_be_in_another_order() -> None:
    signatures = random_signatures(3, 5)
    signatures[1] = signatures[4]
    assert find_similar(signatures, np.array([4, 0, 1])).earlier.tolist() == [NONE, NONE, 0]


def test_every_copy_in_a_large_cluster_is_found() -> None:
    signatures = np.repeat(random_signatures(4, 1), 3_000, axis=0)
    similar = find_similar(signatures, np.arange(3_000))
    assert similar.earlier.tolist() == [NONE] + [0] * 2_999


def test_first_of_similar_pieces_is_kept() -> None:
    signatures = random_signatures(5, 6)
    for target, num_bytes in ((1, 128), (3, 110), (4, 100)):
        copied(signatures, 0, target, num_bytes, target)
    similar, is_dropped = drop_similar(signatures, np.arange(6))
    assert is_dropped.tolist() == [False, True, False, True, False, False]
    assert similar.earlier.tolist() == [NONE, 0, NONE, 0, 0, NONE]


def test_piece_that_is_only_similar_to_a_dropped_piece_is_kept() -> None:
    signatures = random_signatures(6, 3)
    signatures[1] = signatures[0]
    signatures[1, :20] += 1
    signatures[2] = signatures[1]
    signatures[2, 20:40] += 1
    expected = all_pairs(signatures)
    assert expected[0, 1] > 0.8
    assert expected[1, 2] > 0.8
    assert expected[0, 2] < 0.8
    similar, is_dropped = drop_similar(signatures, np.arange(3))
    assert is_dropped.tolist() == [False, True, False]
    assert similar.earlier.tolist() == [NONE, 0, 0]
    assert similar.similarity[2] == expected[0, 2]


@exact
@given(seed=st.integers(0, 1 << 30), num_pieces=st.integers(0, 40))
def test_no_two_remaining_pieces_are_similar_and_every_dropped_one_has_a_remaining_one(seed: int, num_pieces: int) -> None:
    source = np.random.default_rng(seed)
    signatures = random_signatures(seed, num_pieces)
    for target in range(1, num_pieces):
        origin = int(source.integers(0, target))
        is_copied = source.random(NUM_BINS) < source.choice([0.2, 0.85, 0.95])
        signatures[target, is_copied] = signatures[origin, is_copied]
    similar, is_dropped = drop_similar(signatures, np.arange(num_pieces))
    expected = all_pairs(signatures)
    remaining = np.flatnonzero(~is_dropped)
    assert not (np.tril(expected[np.ix_(remaining, remaining)], -1) >= 0.8).any()
    for piece in np.flatnonzero(is_dropped).tolist():
        first = int(similar.earlier[piece])
        assert first < piece
        assert not is_dropped[first]
        assert similar.similarity[piece] == expected[first, piece] >= 0.8


def transposed(roll: Roll, keys: int) -> Roll:
    return replace(roll, packed=pack(np.roll(roll.states, keys, axis=1)))


def ornamented(roll: Roll, num_notes: int) -> Roll:
    """The roll with a short note two keys above some of its onsets, where these are free."""
    states = roll.states
    source = np.random.default_rng(0)
    onsets = np.argwhere((states[:, :86] == ONSET) & (states[:, 2:] == SILENT))
    for step, key in source.permutation(onsets)[:num_notes].tolist():
        states[step, key + 2] = ONSET
        if step + 1 < len(states) and states[step + 1, key + 2] == HOLD:
            states[step + 1, key + 2] = ONSET
    return replace(roll, packed=pack(states))


def test_planted_copies_of_music_are_found_with_about_their_jaccard_index() -> None:
    originals = [made_roll(seed, 400) for seed in range(20)]
    copies = [
        *(transposed(roll, 4) for roll in originals[:5]),
        *(replace(roll, tempo_us=roll.tempo_us + 99) for roll in originals[5:10]),
        *(roll.rows(0, 320) for roll in originals[10:15]),
        *(ornamented(roll, 12) for roll in originals[15:]),
    ]
    summaries = [minhash(roll) for roll in (*originals, *copies)]
    signatures = np.array([np.frombuffer(summary.signature, np.uint8) for summary in summaries if summary])
    similar = find_similar(signatures, np.arange(40))
    assert similar.earlier.tolist() == [NONE] * 20 + list(range(20))
    true = [jaccard(one, other) for one, other in zip(originals, copies, strict=True)]
    assert true[:10] == [1.0] * 10
    assert 0.6 < min(true[10:]) < max(true[10:]) < 0.9
    assert similar.similarity[20:30].tolist() == [1.0] * 10
    assert similar.similarity[30:] == pytest.approx(true[10:], abs=0.13)
