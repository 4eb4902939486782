"""A score to events: the bars in the order of play, grace notes before their main note, ties joined, bar lines as meter events.

Times are ticks here. The number of ticks per quarter note is such that every time of the score is an exact tick.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate
from math import lcm
from typing import NamedTuple

import numpy as np

from pianogen.midi.events import CHANNEL_EVENT, DRUM_CHANNEL, METER_EVENT, NOTE_EVENT, OFF, ON, TEMPO_EVENT, Events
from pianogen.midi.scores.bar_order import order_of_bars
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.score import Bar, Note, Score
from pianogen.roll import DEFAULT_TEMPO_US

MAX_NOTES = 1_048_576
_BASE_TICKS_PER_QUARTER = 96
_MAX_TICKS_PER_QUARTER = 1 << 31
_MAX_TICK = 1 << 52
_GRACES_PER_QUARTER = 4  # a grace note is a sixteenth if there is time for it
_TIES_PER_QUARTER = 8  # the notes of a tie are at most an eighth of a quarter note apart
_DRUM_KEY = 35


class _Played(NamedTuple):
    """A note in the order of play, from `start` up to but not including `stop`, in ticks."""

    start: int
    stop: int
    note: Note


class _JoinedNote(NamedTuple):
    """A note with its ties joined: where it sounds, in ticks, and its MIDI note number (None for percussion)."""

    start: int
    stop: int
    key: int | None


def perform(score: Score) -> Events:
    """The events of a score. Unpitched percussion is on channel 10, all other notes on channel 1.

    The source's notes times their repetitions are the note-ons, the notes that ties join to earlier ones, `notes_lost` and
    `notes_silent`.

    Raises:
        ScoreError: the order of the bars is in doubt, or the score is too long with its repeats.
    """
    order = order_of_bars(score)
    if sum(len(score.bars[bar].notes) for bar in order) > MAX_NOTES:
        raise ScoreError(f"more than {MAX_NOTES} notes with all repeats", "too_long")
    tpq = _ticks_per_quarter(score.bars)
    *starts, end_tick = accumulate((_ticks(score.bars[bar].length, tpq) for bar in order), initial=0)
    played = [
        _Played(start + _ticks(note.onset, tpq), start + _ticks(note.onset + note.duration, tpq), note)
        for bar, start in zip(order, starts, strict=True)
        for note in score.bars[bar].notes
    ]
    if max((note.stop for note in played), default=end_tick) > _MAX_TICK or end_tick > _MAX_TICK:
        raise ScoreError("the score is longer than any roll", "too_long")
    played.sort(key=lambda item: (item.start, item.note.grace is None))
    bar_lines = np.zeros(len(starts), METER_EVENT)
    bar_lines["tick"] = starts
    return Events(
        ticks_per_quarter=tpq,
        notes=_note_events(_join_ties(played, _spans(played, tpq), tpq)),
        tempos=_tempo_events(score.bars, order, starts, tpq),
        meters=bar_lines,
        end_tick=end_tick,
        channel_events=np.zeros(0, CHANNEL_EVENT),
        notes_lost=sum(score.bars[bar].num_lost for bar in order),
        notes_silent=sum(score.bars[bar].num_silent for bar in order),
    )


def _ticks_per_quarter(bars: Iterable[Bar]) -> int:
    denominators = {_BASE_TICKS_PER_QUARTER}
    for bar in bars:
        denominators.add(bar.length.denominator)
        denominators.update(time.denominator for note in bar.notes for time in (note.onset, note.duration))
        denominators.update(tempo.onset.denominator for tempo in bar.tempos)
    tpq = lcm(*denominators)
    if tpq > _MAX_TICKS_PER_QUARTER:
        raise ScoreError(f"the durations need {tpq} ticks per quarter note; at most {_MAX_TICKS_PER_QUARTER} are supported")
    return tpq


def _ticks(time: Fraction, tpq: int) -> int:
    return time.numerator * (tpq // time.denominator)


def _spans(played: Sequence[_Played], tpq: int) -> list[tuple[int, int]]:
    """The ticks at which each note starts and stops to sound: those of the score, and for grace notes earlier ones.

    A run of n grace notes is played in its order before the next note. Each lasts a sixteenth, or less if fewer than n + 1 such
    durations have passed since the previous note of the voice or the start of the piece. At the very start no time is left, and
    grace notes start together with the next note.
    """
    run_lengths: Counter[tuple[str, int]] = Counter()
    for start, _, note in played:
        if note.grace is not None:
            run_lengths[note.voice, start] = max(run_lengths[note.voice, start], note.grace + 1)
    previous: defaultdict[str, int] = defaultdict(int)
    spans: list[tuple[int, int]] = []
    for start, stop, note in played:
        if note.grace is None:
            previous[note.voice] = start
            spans.append((start, max(stop, start + 1)))
        else:
            run_length = run_lengths[note.voice, start]
            duration = min(tpq // _GRACES_PER_QUARTER, (start - previous[note.voice]) // (run_length + 1))
            grace_start = start - (run_length - note.grace) * duration
            spans.append((grace_start, grace_start + max(duration, 1)))
    return spans


def _join_ties(played: Sequence[_Played], spans: Sequence[tuple[int, int]], tpq: int) -> list[_JoinedNote]:
    """Joins ties: a note that ends a tie extends the note of its key that ends where it starts, in any voice.

    Programs that write durations with few divisions round them, so that the notes of a tie may be a little apart.
    """
    tolerance = tpq // _TIES_PER_QUARTER
    joined: list[_JoinedNote] = []
    open_ties: defaultdict[int | None, list[tuple[int, int]]] = defaultdict(list)  # by key: where a note ends, and its index
    for (start, stop, note), span in zip(played, spans, strict=True):
        ties = open_ties[note.key]
        ties[:] = [tie for tie in ties if tie[0] >= start - tolerance]
        tie = min(ties, key=lambda tie: abs(tie[0] - start), default=None) if note.tie_stop else None
        if tie is not None and tie[0] <= start + tolerance:
            ties.remove(tie)
            index = tie[1]
            joined[index] = joined[index]._replace(stop=span[1])
        else:
            index = len(joined)
            joined.append(_JoinedNote(*span, note.key))
        if note.tie_start:
            ties.append((stop, index))
    return joined


def _note_events(joined: Sequence[_JoinedNote]) -> np.ndarray:
    """(2N,) NOTE_EVENT: a note-on and a note-off for each note, in one track, by tick."""
    columns = np.array(
        [(start, stop, _DRUM_KEY if key is None else min(max(key, 0), 127), key is None) for start, stop, key in joined], np.int64
    )
    start, stop, key, is_drum = columns.reshape(-1, 4).T
    events = np.zeros(2 * len(joined), NOTE_EVENT)
    events["tick"], events["kind"] = np.concatenate([start, stop]), np.repeat([ON, OFF], len(joined))
    events["key"], events["channel"] = np.tile(key, 2), np.tile(is_drum * DRUM_CHANNEL, 2)
    return events[np.argsort(events["tick"], kind="stable")]


def _tempo_events(bars: Sequence[Bar], order: Sequence[int], starts: Sequence[int], tpq: int) -> np.ndarray:
    """(M,) TEMPO_EVENT: the tempos in the order of play. After a jump the tempo is the one that the page has there."""
    first_tempo_us: list[int | None] = []  # of each bar: the tempo before its own marks
    current: int | None = None
    for bar in bars:
        first_tempo_us.append(current)
        current = bar.tempos[-1].tempo_us if bar.tempos else current
    events: list[tuple[int, int]] = []
    current = None
    for index, start in zip(order, starts, strict=True):
        page_tempo_us = first_tempo_us[index]
        has_own_tempo = bool(bars[index].tempos) and bars[index].tempos[0].onset == 0
        if page_tempo_us != current and not has_own_tempo:
            events.append((start, DEFAULT_TEMPO_US if page_tempo_us is None else page_tempo_us))
        events += [(start + _ticks(tempo.onset, tpq), tempo.tempo_us) for tempo in bars[index].tempos]
        current = bars[index].tempos[-1].tempo_us if bars[index].tempos else page_tempo_us
    return np.array(events, TEMPO_EVENT)
