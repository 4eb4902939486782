"""Texts about the passages that samples have in common with the training set."""

import statistics
from collections.abc import Sequence

from pianogen.command import counted
from pianogen.evaluation.memorization import Memorization, Passage


def describe(memorization: Memorization) -> str:
    """The longest passages of a set of samples, beside those of held-out excerpts."""
    text = f"Longest passage of a sample that also occurs in the train split: {_spread(memorization.sample_onsets, 'sample')}."
    if not memorization.held_out:
        return f"{text} The store has no held-out pieces to compare with."
    excerpts = _spread(memorization.held_out, "excerpt")
    return f"{text} The same of excerpts of the {memorization.split} split: {excerpts}. Transposition and tempo are ignored."


def _spread(onsets: Sequence[int], noun: str) -> str:
    return f"median {statistics.median(onsets):g} onsets, maximum {max(onsets)} ({counted(len(onsets), noun)})"


def describe_place(passage: Passage) -> str:
    """The place of a passage in the training piece, and how the sample differs from it."""
    direction = "higher" if passage.semitones > 0 else "lower"
    interval = f"{counted(abs(passage.semitones), 'semitone')} {direction}" if passage.semitones else "not transposed"
    stretch = f", with note values times {passage.stretch}" if passage.stretch != "1" else ""
    return f"bar {passage.piece_bar} of {passage.piece}; the sample is {interval}{stretch}"


def is_long(passage: Passage, memorization: Memorization) -> bool:
    """Whether a passage is longer than those of all held-out excerpts."""
    return bool(memorization.held_out) and passage.onsets > max(memorization.held_out)
