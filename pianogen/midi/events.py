"""The note and tempo events of one MIDI file: what every reader gives and the quantizer takes."""

from dataclasses import dataclass

import numpy as np

DEFAULT_TEMPO_US = 500_000


@dataclass(frozen=True, slots=True)
class Events:
    """Events in file order: track by track, within a track by tick.

    Attributes:
        ticks_per_quarter: positive.
        tick: (N,) int64, from the start of the file.
        track: (N,) int32.
        channel: (N,) uint8, 0..15; 9 is the drum channel, known to musicians as channel 10.
        key: (N,) uint8, the MIDI note number 0..127.
        is_on: (N,) bool; False is a note-off, also one written as velocity 0.
        tempo_tick: (M,) int64.
        tempo_us: (M,) int64, microseconds per quarter note, positive.
        end_tick: where the longest track ends.
    """

    ticks_per_quarter: int
    tick: np.ndarray
    track: np.ndarray
    channel: np.ndarray
    key: np.ndarray
    is_on: np.ndarray
    tempo_tick: np.ndarray
    tempo_us: np.ndarray
    end_tick: int
