"""Events to a roll, exactly and in integers: onsets and spans on the grid of steps, cut to the roll, with all counts."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.cells import Onsets, Range, fill_roll
from pianogen.midi.closings import add_closings
from pianogen.midi.counts import Counts
from pianogen.midi.events import Events, NoteEvents
from pianogen.midi.filters import check_filters
from pianogen.midi.grid import Grid, step_of_tick
from pianogen.midi.options import ReadOptions
from pianogen.midi.pedals import Pedals, no_pedals, read_pedals
from pianogen.midi.programs import DRUM, KEPT, OTHER_PROGRAM, classify
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.streams import DROPPED, Spans, StreamEvents, read_streams
from pianogen.roll import LOWEST_KEY, NUM_KEYS, Roll

MAX_STEPS = 131_072
_LATEST = np.iinfo(np.int64).max


def quantize(events: Events, options: ReadOptions) -> tuple[Roll, Counts]:
    """The roll of a file's events, and the counts for its row in the ledger.

    Without rests, the silence before the first onset and after the last note is trimmed; with them, the roll lasts from the start
    to the end of the longest track.

    Raises:
        Rejection: no notes are left after dropping, the roll has more than 131,072 steps, or a filter excludes it.
    """
    grid = Grid(events.ticks_per_quarter, options.steps_per_quarter)
    classes = classify(events.notes, events.channel_events, options.programs)
    pedals = read_pedals(events.channel_events, events.end_tick) if options.sustain else no_pedals()
    notes = _read_notes(events.notes, classes, events.channel_events, pedals, grid)
    num_onsets = len(notes.onsets.step)
    if num_onsets == 0:
        raise _no_notes(notes, events)
    first, stop = notes.first_step, notes.stop_step
    if options.keep_rests:
        first, stop = 0, max(stop, step_of_tick(events.end_tick, grid))
    num_steps = stop - first
    if num_steps > MAX_STEPS:
        raise Rejection(Reason.TOO_LONG, f"{num_steps} steps; at most {MAX_STEPS} are supported")
    cells = fill_roll(Range(first, num_steps), grid, notes.onsets, notes.spans, events.tempos, events.meters)
    roll = Roll(cells.packed, cells.tempo_us, cells.bar_position, first, options.steps_per_quarter)
    check_filters(roll, options.filters)
    counts = Counts(
        notes=cells.num_onsets,
        notes_out_of_range=notes.num_out_of_range,
        notes_drum=notes.num_drum,
        notes_program=notes.num_other_program,
        notes_lost=events.notes_lost,
        notes_merged=num_onsets - cells.num_onsets,
        notes_unreleased=notes.num_unreleased,
        tempo_seen=len(events.tempos.tick),
        tempo_kept=cells.num_tempos,
    )
    return roll, counts


class _Placed(NamedTuple):
    """Note events and onsets in steps, and the numbers of dropped note-ons."""

    events: StreamEvents
    onsets: Onsets
    num_drum: int
    num_other_program: int
    num_out_of_range: int


class _Notes(NamedTuple):
    """The onsets and spans of a roll, the steps where it begins and ends, and the counts for the ledger.

    Attributes:
        stop_step: the step after the last one that sounds.
    """

    onsets: Onsets
    spans: Spans
    first_step: int
    stop_step: int
    num_drum: int
    num_other_program: int
    num_out_of_range: int
    num_unreleased: int


def _no_notes(notes: _Notes, events: Events) -> Rejection:
    """The rejection of a file without notes, with the reasons why its note-ons were dropped."""
    dropped = {
        "percussion": notes.num_drum,
        "not of the programs in --programs": notes.num_other_program,
        "outside the 88 keys": notes.num_out_of_range,
        "lost, such as those after an end-of-track": events.notes_lost,
    }
    causes = ", ".join(f"{count} {cause}" for cause, count in dropped.items() if count)
    message = f"all {sum(dropped.values())} note-ons were dropped: {causes}" if causes else "the file has no note-on"
    repairs = f"; repaired: {', '.join(events.repairs)}" if events.repairs else ""
    return Rejection(Reason.NO_NOTES, message + repairs)


@kernel
def _read_notes(notes: NoteEvents, classes: np.ndarray, channel_events: np.ndarray, pedals: Pedals, grid: Grid) -> _Notes:
    placed = _place(notes, classes, grid)
    sounding = read_streams(add_closings(placed.events, channel_events, grid), pedals, grid)
    onset_steps, stop_steps = placed.onsets.step, sounding.spans.stop
    first_step, stop_step = _LATEST, 0
    for i in range(len(onset_steps)):
        first_step, stop_step = min(first_step, onset_steps[i]), max(stop_step, onset_steps[i] + 1)
    for i in range(len(stop_steps)):
        stop_step = max(stop_step, stop_steps[i])
    return _Notes(
        placed.onsets,
        sounding.spans,
        first_step,
        stop_step,
        placed.num_drum,
        placed.num_other_program,
        placed.num_out_of_range,
        sounding.num_unreleased,
    )


@kernel
def _place(notes: NoteEvents, classes: np.ndarray, grid: Grid) -> _Placed:
    """The stream and step of each event, the onsets, and the counts of dropped note-ons."""
    num_events = len(notes.tick)
    stream, step = np.empty(num_events, np.uint16), np.empty(num_events, np.int64)
    columns = np.empty((2, num_events), np.int64)
    onsets = Onsets(columns[0], columns[1])
    num_onsets = num_drum = num_other_program = num_out_of_range = 0
    for i in range(num_events):
        key = np.int64(notes.key[i]) - LOWEST_KEY
        stream[i] = DROPPED
        if classes[i] != KEPT and notes.is_on[i]:  # a note-off of a dropped note does nothing, and may end an earlier note
            num_drum += classes[i] == DRUM
            num_other_program += classes[i] == OTHER_PROGRAM
        elif key < 0 or key >= NUM_KEYS:
            num_out_of_range += notes.is_on[i]
        else:
            stream[i] = np.int64(notes.channel[i]) * NUM_KEYS + key
            step[i] = step_of_tick(notes.tick[i], grid)
            # Written for every event and kept for note-ons: cheaper than a branch that is mispredicted half of the time.
            onsets.key[num_onsets], onsets.step[num_onsets] = key, step[i]
            num_onsets += notes.is_on[i]
    events = StreamEvents(notes.tick, notes.is_on.view(np.uint8), stream, step, notes.track)
    kept = Onsets(onsets.key[:num_onsets], onsets.step[:num_onsets])
    return _Placed(events, kept, num_drum, num_other_program, num_out_of_range)
