"""The sustain pedals of all channels (controller 64); compiled with numba."""

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.events import PEDAL
from pianogen.midi.grid import Grid, step_of_tick

# The states of the pedals after every tick with pedal events, ordered by channel and tick.
#   hold_end  the step up to which a note is held that is released from `tick` on: 0 if the pedal is up, otherwise the step of the
#             first later tick after which the pedal is up, or of the end of the file
PEDAL_STATE = np.dtype([("tick", np.int64), ("hold_end", np.int64), ("channel", np.uint8)], align=True)
NO_PEDALS = np.empty(0, PEDAL_STATE)
_DOWN = 64  # a pedal with this value or a larger one is down


def read_pedals(channel_events: np.ndarray, end_tick: int, grid: Grid) -> np.ndarray:
    """(P,) PEDAL_STATE of a file that ends at a tick."""
    events = channel_events[channel_events["kind"] == PEDAL]
    # Stable: of the events of a channel at one tick, the last one by track and position is the last one here.
    events = events[np.lexsort((events["tick"], events["channel"]))]
    is_last = np.append((np.diff(events["channel"]) != 0) | (np.diff(events["tick"]) != 0), True)[: len(events)]
    return np.asarray(_find_states(events[is_last], end_tick, grid))


@kernel
def _find_states(events: np.ndarray, end_tick: int, grid: Grid) -> np.ndarray:
    """The states after events that are ordered by channel and tick."""
    states = np.empty(len(events), PEDAL_STATE)
    next_up = end_tick
    for i in range(len(events) - 1, -1, -1):
        event, state = events[i], states[i]
        if i + 1 < len(events) and events[i + 1].channel != event.channel:
            next_up = end_tick
        is_down = event.value >= _DOWN
        state.tick, state.channel, state.hold_end = event.tick, event.channel, step_of_tick(next_up, grid) if is_down else 0
        if not is_down:
            next_up = event.tick
    return states


@kernel
def find_hold_end(pedals: np.ndarray, channel: int, tick: int) -> int:
    """The step up to which a note of a channel is held that is released at a tick; 0 if the pedal is up."""
    low, high = 0, len(pedals)
    while low < high:  # the states of earlier channels, and of this channel up to the tick
        middle = (low + high) // 2
        state = pedals[middle]
        if state.channel < channel or (state.channel == channel and state.tick <= tick):
            low = middle + 1
        else:
            high = middle
    return pedals[low - 1].hold_end if low > 0 and pedals[low - 1].channel == channel else 0
