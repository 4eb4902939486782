"""The events of one MIDI file or score that change a roll: the readers return them, and the quantizer takes them."""

from dataclasses import dataclass

import numpy as np

OFF, ON, CLOSE = range(3)  # kinds of note events
NOTES_OFF, PEDAL, BANK, PROGRAM, RHYTHM = range(5)  # kinds of channel events
DRUM_CHANNEL = 9  # which musicians call channel 10


# Events are arrays of records, because a kernel takes longer to return many arrays. They are ordered track after track, and by
# tick within a track.
#   tick     from the start of the file
#   channel  0..15
#   key      the MIDI note number 0..127
#   kind     ON; OFF, also for a note-on of velocity 0, which means the same; or CLOSE, which ends all notes that were open before
#            its tick: no reader returns it, closings.py does
NOTE_EVENT = np.dtype(
    [("tick", np.int64), ("track", np.int32), ("channel", np.uint8), ("key", np.uint8), ("kind", np.uint8)], align=True
)
# tempo_us is positive.
TEMPO_EVENT = np.dtype([("tick", np.int64), ("tempo_us", np.int64)])
# Time signatures of MIDI files and bar lines of scores.
#   numerator  0 is the bar line of a score, after which positions are counted up to the next event
#   power      the denominator is 2**power; without meaning for a bar line
METER_EVENT = np.dtype([("tick", np.int64), ("numerator", np.uint8), ("power", np.uint8)], align=True)
# Controllers, program changes and system exclusive messages that change a roll.
#   num_notes  number of note events before this event in the file
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
    ],
    align=True,
)


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a MIDI file or score that change a roll.

    Attributes:
        ticks_per_quarter: positive.
        notes: (N,) NOTE_EVENT.
        tempos: (P,) TEMPO_EVENT.
        meters: (M,) METER_EVENT.
        end_tick: the end of the longest track.
        channel_events: (C,) CHANNEL_EVENT; none of a score.
        notes_lost: note-ons of the source that are not among the notes.
        notes_silent: notes of a score that are not played, such as cue notes, times their repetitions.
        repairs: what was repaired to read the source, one word each.
    """

    ticks_per_quarter: int
    notes: np.ndarray
    tempos: np.ndarray
    meters: np.ndarray
    end_tick: int
    channel_events: np.ndarray
    notes_lost: int = 0
    notes_silent: int = 0
    repairs: tuple[str, ...] = ()
