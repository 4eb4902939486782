"""The notes, tempos and bar lines of a score's events, in sixteenth notes, for comparison with what a test expects."""

from collections import defaultdict
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from pianogen.midi.events import ON, Events
from pianogen.midi.score_reader import read_score

_DRUM_CHANNEL = 9


class Sounding(NamedTuple):
    """A note from `start`, for `length` sixteenth notes; key None is percussion."""

    start: Fraction
    key: int | None
    length: Fraction


def notes_of(events: Events) -> list[Sounding]:
    """The notes by start and key; of several open notes of a key, the first one ends first."""
    open_notes: defaultdict[tuple[int, int], list[Fraction]] = defaultdict(list)
    notes: list[Sounding] = []
    for tick, channel, key, kind in events.notes[["tick", "channel", "key", "kind"]].tolist():
        time = Fraction(4 * tick, events.ticks_per_quarter)
        if kind == ON:
            open_notes[channel, key].append(time)
        else:
            start = open_notes[channel, key].pop(0)
            notes.append(Sounding(start, None if channel == _DRUM_CHANNEL else key, time - start))
    assert not any(open_notes.values())
    return sorted(notes, key=lambda note: (note.start, note.key is None, note.key or 0, note.length))


def steps_of(ticks: np.ndarray, events: Events) -> list[Fraction]:
    """Ticks in sixteenth notes."""
    return [Fraction(4 * tick, events.ticks_per_quarter) for tick in ticks.tolist()]


def events_of(data: bytes | str, suffix: str) -> Events:
    """The events of a score with a single piece."""
    (events,) = read_score(data.encode() if isinstance(data, str) else data, suffix)
    assert isinstance(events, Events), events
    return events
