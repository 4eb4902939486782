"""Events to a roll, exactly and in integers: onsets and spans on the grid of steps, cut to the roll, with all counts."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.cells import Onsets, fill_bar_position, fill_cells, fill_tempo
from pianogen.midi.counts import Counts
from pianogen.midi.events import NOTES_OFF, Events, MeterEvents, NoteEvents, TempoEvents
from pianogen.midi.filters import check_filters
from pianogen.midi.grid import Grid, step_of_tick
from pianogen.midi.options import ReadOptions
from pianogen.midi.pedals import no_pedals, read_pedals
from pianogen.midi.programs import DRUM, KEPT, OTHER_PROGRAM, classify
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.streams import DROPPED, NotesOff, Spans, StreamEvents, read_streams
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
    placed = _place(events.notes, classify(events.notes, events.channel_events, options.programs), grid)
    num_onsets = len(placed.onsets.step)
    if num_onsets == 0:
        raise _no_notes(placed, events.notes_lost)
    pedals = read_pedals(events.channel_events, events.end_tick) if options.sustain else no_pedals()
    sounding = read_streams(placed.events, _notes_off(events), pedals, grid)
    first, stop = _find_range(placed.onsets, sounding.spans)
    if options.keep_rests:
        first, stop = 0, max(stop, step_of_tick(events.end_tick, grid))
    num_steps = stop - first
    if num_steps > MAX_STEPS:
        raise Rejection(Reason.TOO_LONG, f"{num_steps} steps; at most {MAX_STEPS} are supported")
    cells = fill_cells(first, num_steps, sounding.spans, placed.onsets)
    tempo = fill_tempo(first, num_steps, grid, TempoEvents(*_by_tick(events.tempos)))
    bar_position = fill_bar_position(first, num_steps, grid, MeterEvents(*_by_tick(events.meters)))
    roll = Roll(cells.packed, tempo.tempo_us, bar_position, first, options.steps_per_quarter)
    check_filters(roll, options.filters)
    counts = Counts(
        notes=cells.num_onsets,
        notes_out_of_range=placed.num_out_of_range,
        notes_drum=placed.num_drum,
        notes_program=placed.num_other_program,
        notes_lost=events.notes_lost,
        notes_merged=num_onsets - cells.num_onsets,
        notes_unreleased=sounding.num_unreleased,
        tempo_seen=len(events.tempos.tick),
        tempo_kept=tempo.num_in_force,
    )
    return roll, counts


class _Placed(NamedTuple):
    """Note events and onsets in steps, and the numbers of dropped note-ons."""

    events: StreamEvents
    onsets: Onsets
    num_drum: int
    num_other_program: int
    num_out_of_range: int


def _no_notes(placed: _Placed, num_lost: int) -> Rejection:
    """The rejection of a file without notes, with what became of its note-ons."""
    dropped = {
        "percussion": placed.num_drum,
        "not of the programs in --programs": placed.num_other_program,
        "outside the 88 keys": placed.num_out_of_range,
        "lost, such as those after an end-of-track": num_lost,
    }
    causes = ", ".join(f"{count} {cause}" for cause, count in dropped.items() if count)
    if not causes:
        return Rejection(Reason.NO_NOTES, "the file has no note-on")
    return Rejection(Reason.NO_NOTES, f"all {sum(dropped.values())} note-ons were dropped: {causes}")


def _notes_off(events: Events) -> NotesOff:
    index = np.flatnonzero(events.channel_events.kind == NOTES_OFF)
    tick, _, track, channel, _, _ = (column[index] for column in events.channel_events)
    return NotesOff(tick, track, channel)


def _by_tick(events: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """The columns of events, sorted by tick; the order of track and position is kept at equal ticks."""
    order = np.argsort(events[0], kind="stable")
    return [column[order] for column in events]


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
    events = StreamEvents(notes.tick, notes.is_on, stream, step, notes.track)
    kept = Onsets(onsets.key[:num_onsets], onsets.step[:num_onsets])
    return _Placed(events, kept, num_drum, num_other_program, num_out_of_range)


@kernel
def _find_range(onsets: Onsets, spans: Spans) -> tuple[int, int]:
    """The first step with an onset, and the step after the last one that sounds."""
    first_step, stop_step = _LATEST, 0
    for i in range(len(onsets.step)):
        first_step, stop_step = min(first_step, onsets.step[i]), max(stop_step, onsets.step[i] + 1)
    for i in range(len(spans.stop)):
        stop_step = max(stop_step, spans.stop[i])
    return first_step, stop_step
