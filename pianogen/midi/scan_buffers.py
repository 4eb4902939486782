"""The arrays that the scanner of MIDI files fills from the start, each long enough for any file of its size."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import CHANNEL_EVENT, METER_EVENT, NOTE_EVENT, TEMPO_EVENT

# The content of a track chunk: its first byte, the byte after its last event, and whether that is an end-of-track.
TRACK = np.dtype([("begin", np.int64), ("end", np.int64), ("has_end", np.bool_)])


class Buffers(NamedTuple):
    """The events of a file by kind, as in `Events`, and its (N,) TRACK."""

    notes: np.ndarray
    tempos: np.ndarray
    meters: np.ndarray
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
    return Buffers(
        np.empty(num_bytes // 3 + 1, NOTE_EVENT),
        np.empty(num_bytes // 7 + 1, TEMPO_EVENT),
        np.empty(num_bytes // 6 + 1, METER_EVENT),
        np.empty(num_bytes // 2 + 1, CHANNEL_EVENT),
        np.empty(num_bytes // 8 + 1, TRACK),
    )


@kernel
def filled_part(buffers: Buffers, filled: Filled, num_tracks: int) -> Buffers:
    """The parts of the buffers that contain events and tracks."""
    return Buffers(
        buffers.notes[: filled.notes],
        buffers.tempos[: filled.tempos],
        buffers.meters[: filled.meters],
        buffers.channel_events[: filled.channel_events],
        buffers.tracks[:num_tracks],
    )
