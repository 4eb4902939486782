"""The sustain pedals of all channels (controller 64); compiled with numba."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import PEDAL

_DOWN = 64  # a pedal with this value or a larger one is down


class Pedals(NamedTuple):
    """The state of the pedals after every tick with pedal events.

    Attributes:
        begin: (17,) int64; those of channel c are begin[c] to begin[c + 1] - 1.
        tick: (P,) int64, ascending within a channel.
        hold_end: (P,) int64 tick up to which a note is held that is released from `tick` on: `tick` itself if the pedal is up
            after it, the first later tick after which it is up otherwise, or the end of the file.
    """

    begin: np.ndarray
    tick: np.ndarray
    hold_end: np.ndarray


def no_pedals() -> Pedals:
    """No pedal is ever down."""
    return Pedals(np.zeros(17, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def read_pedals(channel_events: np.ndarray, end_tick: int) -> Pedals:
    """The pedals of a file that ends at a tick."""
    events = channel_events[channel_events["kind"] == PEDAL]
    # Stable: of the events of a channel at one tick, the last one by track and position is the last one here.
    events = events[np.lexsort((events["tick"], events["channel"]))]
    is_last = np.append((np.diff(events["channel"]) != 0) | (np.diff(events["tick"]) != 0), True)[: len(events)]
    events = events[is_last]
    channel, tick, is_down = events["channel"], events["tick"].copy(), events["value"] >= _DOWN
    begin = np.searchsorted(channel, np.arange(17)).astype(np.int64)
    return Pedals(begin, tick, _find_hold_ends(begin, tick, is_down, end_tick))


@kernel
def _find_hold_ends(begin: np.ndarray, tick: np.ndarray, is_down: np.ndarray, end_tick: int) -> np.ndarray:
    hold_end = tick.copy()
    for channel in range(16):
        next_up = end_tick
        for i in range(begin[channel + 1] - 1, begin[channel] - 1, -1):
            if is_down[i]:
                hold_end[i] = next_up
            else:
                next_up = tick[i]
    return hold_end


@kernel
def find_hold_end(pedals: Pedals, channel: int, tick: int) -> int:
    """The tick up to which a note of a channel is held that is released at a tick; the tick itself if the pedal is up."""
    begin, end = pedals.begin[channel], pedals.begin[channel + 1]
    index = begin + np.searchsorted(pedals.tick[begin:end], tick, side="right") - 1
    return max(tick, pedals.hold_end[index]) if index >= begin else tick
