"""Which notes are percussion, and which have one of the programs that are kept; compiled with numba.

Percussion is the percussion channel, a channel after a program change with bank select 120 or 127 in force, and a channel that
the GS message "use for rhythm part" makes percussion; the same message makes a channel melodic. Bank select, program changes and
GS messages of all tracks count, in the order of tick, track and position.
"""

from collections.abc import Sequence

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import BANK, DRUM_CHANNEL, PROGRAM, RHYTHM
from pianogen.midi.options import NUM_PROGRAMS

KEPT, DRUM, OTHER_PROGRAM = range(3)
_DRUM_BANKS = (120, 127)
_ALL = np.ones(NUM_PROGRAMS, np.bool_)


def kept_programs(programs: Sequence[int] | None) -> np.ndarray:
    """(128,) bool: whether the notes of a General MIDI program are kept; None keeps all programs."""
    return _ALL if programs is None else np.isin(np.arange(NUM_PROGRAMS), programs)


@kernel
def classify(notes: np.ndarray, channel_events: np.ndarray, is_kept_program: np.ndarray) -> np.ndarray:
    """(N,) uint8: KEPT, DRUM or OTHER_PROGRAM for each note event.

    Args:
        is_kept_program: the result of `kept_programs`.
    """
    if not is_kept_program.all() or not _is_plain(channel_events):
        return _classify(notes, _by_channel(channel_events), is_kept_program)
    classes = np.empty(len(notes), np.uint8)
    for i in range(len(notes)):
        classes[i] = DRUM if notes[i].channel == DRUM_CHANNEL else KEPT
    return classes


@kernel
def _is_plain(events: np.ndarray) -> bool:
    """Whether only the percussion channel is percussion."""
    for i in range(len(events)):
        is_drum_bank = events[i].value == _DRUM_BANKS[0] or events[i].value == _DRUM_BANKS[1]
        if events[i].kind == RHYTHM or (events[i].kind == BANK and is_drum_bank):
            return False
    return True


@kernel
def _by_channel(channel_events: np.ndarray) -> np.ndarray:
    """The bank selects, program changes and GS messages, ordered by channel, tick, track and position."""
    kind = channel_events["kind"]
    events = channel_events[(kind == BANK) | (kind == PROGRAM) | (kind == RHYTHM)]
    events = events[np.argsort(events["tick"], kind="mergesort")]  # stable
    return np.asarray(events[np.argsort(events["channel"], kind="mergesort")])


@kernel
def _classify(notes: np.ndarray, events: np.ndarray, is_kept_program: np.ndarray) -> np.ndarray:
    """As `classify`, with events ordered by channel, tick, track and position."""
    begin = np.searchsorted(events["channel"], np.arange(17))  # those of channel c are begin[c] to begin[c + 1] - 1
    after = _find_classes(events, begin, is_kept_program)
    classes = np.empty(len(notes), np.uint8)
    for i in range(len(notes)):
        tick, channel = notes[i].tick, notes[i].channel
        # The number of events before this note: those of an earlier tick, or of the same tick and before it in the file.
        low, high = begin[channel], begin[channel + 1]
        while low < high:
            middle = (low + high) // 2
            event = events[middle]
            if event.tick < tick or (event.tick == tick and event.num_notes <= i):
                low = middle + 1
            else:
                high = middle
        classes[i] = after[low - 1] if low > begin[channel] else _class_of(channel == DRUM_CHANNEL, 0, is_kept_program)
    return classes


@kernel
def _find_classes(events: np.ndarray, begin: np.ndarray, is_kept_program: np.ndarray) -> np.ndarray:
    """The class of the notes after each event and before the next one of its channel."""
    classes = np.empty(len(events), np.uint8)
    for channel in range(16):
        bank = program = 0
        is_drum, is_drum_by_bank = channel == DRUM_CHANNEL, False
        for i in range(begin[channel], begin[channel + 1]):
            if events[i].kind == BANK:
                bank = events[i].value
            elif events[i].kind == RHYTHM:
                is_drum, is_drum_by_bank = events[i].value != 0, False
            else:
                program = events[i].value
                if bank == _DRUM_BANKS[0] or bank == _DRUM_BANKS[1]:
                    is_drum = is_drum_by_bank = True
                elif is_drum_by_bank and channel != DRUM_CHANNEL:
                    is_drum = is_drum_by_bank = False
            classes[i] = _class_of(is_drum, program, is_kept_program)
    return classes


@kernel
def _class_of(is_drum: bool, program: int, is_kept_program: np.ndarray) -> int:
    if is_drum:
        return DRUM
    return KEPT if is_kept_program[program] else OTHER_PROGRAM
