"""The arrays that the scanner of MIDI files fills from the start, each long enough for any file of its size."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import CHANNEL_EVENT, MeterEvents, NoteEvents, TempoEvents

# The content of a track chunk: its first byte, the byte after its last event, and whether that is an end-of-track.
TRACK = np.dtype([("begin", np.int64), ("end", np.int64), ("has_end", np.bool_)])


class Buffers(NamedTuple):
    """The events of a file, its (C,) CHANNEL_EVENT and its (N,) TRACK."""

    notes: NoteEvents
    tempos: TempoEvents
    meters: MeterEvents
    channel_events: np.ndarray
    tracks: np.ndarray


class Filled(NamedTuple):
    """The numbers of events that the buffers contain."""

    notes: int
    tempos: int
    meters: int
    channel_events: int


@kernel
def allocate(num_bytes: int) -> Buffers:
    """Buffers for a file of this size."""
    # The shortest events are, after a delta of one byte: a note of two bytes, FF 51 03 and three bytes, FF 58 02 and two bytes,
    # and a program change of one byte. The shortest track is a chunk header.
    notes = num_bytes // 3 + 1
    tempos, meters = np.empty((2, num_bytes // 7 + 1), np.int64), np.empty((3, num_bytes // 6 + 1), np.int64)
    return Buffers(
        NoteEvents(
            np.empty(notes, np.int64),
            np.empty(notes, np.int32),
            np.empty(notes, np.uint8),
            np.empty(notes, np.uint8),
            np.empty(notes, np.bool_),
        ),
        TempoEvents(tempos[0], tempos[1]),
        MeterEvents(meters[0], meters[1], meters[2]),
        np.empty(num_bytes // 2 + 1, CHANNEL_EVENT),
        np.empty(num_bytes // 8 + 1, TRACK),
    )


@kernel
def filled_part(buffers: Buffers, filled: Filled, num_tracks: int) -> Buffers:
    """The parts of the buffers that contain events and tracks."""
    notes, tempos, meters, channel_events, tracks = buffers
    n, t, m, c = filled
    return Buffers(
        NoteEvents(notes.tick[:n], notes.track[:n], notes.channel[:n], notes.key[:n], notes.is_on[:n]),
        TempoEvents(tempos.tick[:t], tempos.tempo_us[:t]),
        MeterEvents(meters.tick[:m], meters.numerator[:m], meters.power[:m]),
        channel_events[:c],
        tracks[:num_tracks],
    )
