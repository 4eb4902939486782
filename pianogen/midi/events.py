"""The events of one MIDI file or score that matter for a roll: what the readers return and the quantizer takes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NOTES_OFF, PEDAL, BANK, PROGRAM, RHYTHM = range(5)  # kinds of channel events


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


# Controllers, program changes and system exclusive messages that matter, in the same order as the notes; one array of records,
# because few files have many of them and a kernel takes longer to return many arrays.
#   tick       from the start of the file
#   num_notes  number of note events before this event in the file
#   channel    0..15
#   kind       NOTES_OFF (controllers 120 and 123), PEDAL (controller 64), BANK (controller 0), PROGRAM, or RHYTHM (the GS message
#              "use for rhythm part")
CHANNEL_EVENT = np.dtype(
    [
        ("tick", np.int64),
        ("num_notes", np.int64),
        ("track", np.int32),
        ("channel", np.uint8),
        ("kind", np.uint8),
        ("value", np.uint8),
    ]
)


@dataclass(frozen=True, slots=True)
class Events:
    """What a MIDI file or score contains that matters for a roll.

    Attributes:
        ticks_per_quarter: positive.
        end_tick: the end of the longest track.
        channel_events: (C,) CHANNEL_EVENT; none of a score.
        notes_lost: note-ons of the source that are not among the notes.
        repairs: what was repaired to read the source, one word each.
    """

    ticks_per_quarter: int
    notes: NoteEvents
    tempos: TempoEvents
    meters: MeterEvents
    end_tick: int
    channel_events: np.ndarray
    notes_lost: int = 0
    repairs: tuple[str, ...] = ()
