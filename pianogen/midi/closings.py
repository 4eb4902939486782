"""All Notes Off and All Sound Off (controllers 123 and 120), which close the streams of their channel; compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import CLOSE, NOTE_EVENT, NOTES_OFF, ON
from pianogen.midi.programs import KEPT
from pianogen.roll import LOWEST_KEY, NUM_KEYS

_NONE = -1
_NEVER = np.iinfo(np.int64).max


class ClosedNotes(NamedTuple):
    """(N,) NOTE_EVENT with CLOSE events, and their (N,) uint8 classes, as in programs.py."""

    notes: np.ndarray
    classes: np.ndarray


class _Open(NamedTuple):
    """The keys of each channel of a track that may be open.

    Attributes:
        keys: (16, 88) uint8 MIDI note numbers; the first `num_keys` of a channel are in use.
        num_keys: (16,) int64.
        on_tick: (16, 128) int64 tick of the latest note-on of a key, _NONE if the key cannot be open.
        close_tick: (16,) int64 tick of the latest All Notes Off, _NONE before the first one.
    """

    keys: np.ndarray
    num_keys: np.ndarray
    on_tick: np.ndarray
    close_tick: np.ndarray


@kernel
def add_closings(notes: np.ndarray, classes: np.ndarray, channel_events: np.ndarray) -> ClosedNotes:
    """The notes with a CLOSE for each key that may be open at an All Notes Off of its channel in its track.

    Args:
        notes: (N,) NOTE_EVENT.
        classes: (N,) uint8.
    """
    is_closing = channel_events["kind"] == NOTES_OFF
    if not is_closing.any():
        return ClosedNotes(notes, classes)
    closings = channel_events[is_closing]
    # For each tick with note-ons, a key is closed at most twice: at that tick, and later.
    into = ClosedNotes(np.empty(3 * len(notes), NOTE_EVENT), np.full(3 * len(notes), KEPT, np.uint8))
    num = num_done = 0
    track, opened = -1, _no_open_keys()
    for i in range(len(notes)):
        note = notes[i]
        if note.track != track:
            num, num_done = _close_before(into.notes, num, opened, closings, num_done, track, _NEVER)
            track, opened = note.track, _no_open_keys()
            while num_done < len(closings) and closings[num_done].track < track:
                num_done += 1
        num, num_done = _close_before(into.notes, num, opened, closings, num_done, track, note.tick)
        into.notes[num], into.classes[num] = note, classes[i]
        num += 1
        if note.kind == ON and classes[i] == KEPT and LOWEST_KEY <= note.key < LOWEST_KEY + NUM_KEYS:
            if opened.on_tick[note.channel, note.key] == _NONE:
                opened.keys[note.channel, opened.num_keys[note.channel]] = note.key
                opened.num_keys[note.channel] += 1
            opened.on_tick[note.channel, note.key] = note.tick
    num, num_done = _close_before(into.notes, num, opened, closings, num_done, track, _NEVER)
    return ClosedNotes(into.notes[:num], into.classes[:num])


@kernel
def _no_open_keys() -> _Open:
    return _Open(
        np.empty((16, NUM_KEYS), np.uint8),
        np.zeros(16, np.int64),
        np.full((16, 128), _NONE, np.int64),
        np.full(16, _NONE, np.int64),
    )


@kernel
def _close_before(
    into: np.ndarray, num: int, opened: _Open, closings: np.ndarray, num_done: int, track: int, tick: int
) -> tuple[int, int]:
    """Appends the closings of a track before a tick; returns the number of events, and of All Notes Off that are done."""
    while num_done < len(closings) and closings[num_done].track == track and closings[num_done].tick < tick:
        channel, at = closings[num_done].channel, closings[num_done].tick
        num_done += 1
        if opened.close_tick[channel] == at:
            continue
        opened.close_tick[channel] = at
        num_open, opened.num_keys[channel] = opened.num_keys[channel], 0
        for i in range(num_open):
            key = opened.keys[channel, i]
            event = into[num]
            event.tick, event.track, event.channel, event.key, event.kind = at, track, channel, key, CLOSE
            num += 1
            if opened.on_tick[channel, key] == at:  # a note of the same tick stays open
                opened.keys[channel, opened.num_keys[channel]] = key
                opened.num_keys[channel] += 1
            else:
                opened.on_tick[channel, key] = _NONE
    return num, num_done
