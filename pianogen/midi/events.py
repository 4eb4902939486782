"""The note, tempo and meter events of one MIDI file: what the readers return and the quantizer takes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class NoteEvents(NamedTuple):
    """Note-ons and note-offs, track after track, ordered by tick within a track.

    Attributes:
        tick: (N,) int64, from the start of the file.
        track: (N,) int32.
        channel: (N,) uint8, 0..15; 9 is the percussion channel, which musicians call channel 10.
        key: (N,) uint8, the MIDI note number 0..127.
        is_on: (N,) bool; False for a note-off and for a note-on of velocity 0, which means the same.
    """

    tick: np.ndarray
    track: np.ndarray
    channel: np.ndarray
    key: np.ndarray
    is_on: np.ndarray


class TempoEvents(NamedTuple):
    """Tempo events in the same order as the notes.

    Attributes:
        tick: (M,) int64, from the start of the file.
        tempo_us: (M,) int64, microseconds per quarter note, positive.
    """

    tick: np.ndarray
    tempo_us: np.ndarray


class MeterEvents(NamedTuple):
    """Time signatures of MIDI files and bar lines of scores, in the same order as the notes.

    Attributes:
        tick: (M,) int64, from the start of the file.
        numerator: (M,) int64; 0 is the bar line of a score, after which positions are counted up to the next event.
        power: (M,) int64; the denominator is 2**power. Without meaning for a bar line.
    """

    tick: np.ndarray
    numerator: np.ndarray
    power: np.ndarray


@dataclass(frozen=True, slots=True)
class Events:
    """What a MIDI file contains that matters for a roll.

    Attributes:
        ticks_per_quarter: positive.
        end_tick: the end of the longest track.
    """

    ticks_per_quarter: int
    notes: NoteEvents
    tempos: TempoEvents
    meters: MeterEvents
    end_tick: int
