"""Which notes are percussion, and which have one of the wanted programs; compiled with numba.

Percussion is the percussion channel, a channel after a program change with bank select 120 or 127 in force, and a channel that
the GS message "use for rhythm part" makes percussion; the same message makes a channel melodic. Bank select, program changes and
GS messages of all tracks count, in the order of tick, track and position.
"""

from collections.abc import Sequence

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import BANK, PROGRAM, RHYTHM, ChannelEvents, NoteEvents

KEPT, DRUM, OTHER_PROGRAM = range(3)
_DRUM_CHANNEL = 9
_DRUM_BANKS = (120, 127)


def classify(notes: NoteEvents, channel_events: ChannelEvents, programs: Sequence[int] | None) -> np.ndarray:
    """(N,) uint8: KEPT, DRUM or OTHER_PROGRAM for each note event.

    Args:
        programs: the wanted General MIDI programs, 0..127; None wants all.
    """
    kind = channel_events.kind
    is_bank = (kind == BANK) & np.isin(channel_events.value, _DRUM_BANKS)
    if programs is None and not (is_bank | (kind == RHYTHM)).any():
        return np.asarray(notes.channel == _DRUM_CHANNEL).view(np.uint8)
    index = np.flatnonzero((kind == BANK) | (kind == PROGRAM) | (kind == RHYTHM))
    index = index[np.lexsort((channel_events.tick[index], channel_events.channel[index]))]  # stable
    is_wanted = np.ones(128, np.bool_) if programs is None else np.isin(np.arange(128), programs)
    return np.asarray(_classify(notes, ChannelEvents(*(column[index] for column in channel_events)), is_wanted))


@kernel
def _classify(notes: NoteEvents, events: ChannelEvents, is_wanted: np.ndarray) -> np.ndarray:
    """Events are ordered by channel, tick, track and position."""
    begin = np.searchsorted(events.channel, np.arange(17))
    after = _find_classes(events, begin, is_wanted)
    classes = np.empty(len(notes.tick), np.uint8)
    for i in range(len(notes.tick)):
        channel = notes.channel[i]
        # The number of events before this note: those of an earlier tick, or of the same tick and before it in the file.
        low, high = begin[channel], begin[channel + 1]
        while low < high:
            middle = (low + high) // 2
            tick = events.tick[middle]
            if tick < notes.tick[i] or (tick == notes.tick[i] and events.num_notes[middle] <= i):
                low = middle + 1
            else:
                high = middle
        classes[i] = after[low - 1] if low > begin[channel] else _class_of(channel == _DRUM_CHANNEL, 0, is_wanted)
    return classes


@kernel
def _find_classes(events: ChannelEvents, begin: np.ndarray, is_wanted: np.ndarray) -> np.ndarray:
    """The class of the notes after each event and before the next one of its channel."""
    classes = np.empty(len(events.tick), np.uint8)
    for channel in range(16):
        bank = program = 0
        is_drum, is_drum_by_bank = channel == _DRUM_CHANNEL, False
        for i in range(begin[channel], begin[channel + 1]):
            if events.kind[i] == BANK:
                bank = events.value[i]
            elif events.kind[i] == RHYTHM:
                is_drum, is_drum_by_bank = events.value[i] != 0, False
            else:
                program = events.value[i]
                if bank == _DRUM_BANKS[0] or bank == _DRUM_BANKS[1]:
                    is_drum = is_drum_by_bank = True
                elif is_drum_by_bank and channel != _DRUM_CHANNEL:
                    is_drum = is_drum_by_bank = False
            classes[i] = _class_of(is_drum, program, is_wanted)
    return classes


@kernel
def _class_of(is_drum: bool, program: int, is_wanted: np.ndarray) -> int:
    if is_drum:
        return DRUM
    return KEPT if is_wanted[program] else OTHER_PROGRAM
