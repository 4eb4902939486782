"""Events to a roll, exactly and in integers: onsets and spans on the grid of steps, cut to the roll, with all counts."""

from typing import NamedTuple

import numpy as np

from pianogen.kernel_cache import kernel
from pianogen.midi.cells import Cells, Range, fill_roll, no_cells
from pianogen.midi.closings import add_closings
from pianogen.midi.counts import Counts
from pianogen.midi.events import Events
from pianogen.midi.filters import check_filters
from pianogen.midi.grid import Grid, step_of_tick
from pianogen.midi.options import ReadOptions
from pianogen.midi.pedals import NO_PEDALS, read_pedals
from pianogen.midi.programs import classify, kept_programs
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.streams import Dropped, read_streams
from pianogen.roll import Roll

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
    pedals = read_pedals(events.channel_events, events.end_tick, grid) if options.sustain else NO_PEDALS
    source = _Source(events.notes, events.tempos, events.meters, events.channel_events, events.end_tick)
    # One call, because passing arrays to kernels takes a tenth of the time for a file.
    found = _quantize(source, _Rules(grid, kept_programs(options.programs), pedals, options.keep_rests))
    if found.num_onsets == 0:
        raise _no_notes(found, events)
    if found.num_steps > MAX_STEPS:
        raise Rejection(Reason.TOO_LONG, f"{found.num_steps} steps; at most {MAX_STEPS} are supported")
    packed, tempo_us, bar_position, num_onset_cells, num_tempos = found.cells
    roll = Roll(packed, tempo_us, bar_position, found.first_step, options.steps_per_quarter)
    check_filters(roll, options.filters)
    counts = Counts(
        notes=num_onset_cells,
        notes_out_of_range=found.dropped.out_of_range,
        notes_drum=found.dropped.drum,
        notes_program=found.dropped.other_program,
        notes_lost=events.notes_lost,
        notes_merged=found.num_onsets - num_onset_cells,
        notes_unreleased=found.num_unreleased,
        tempo_seen=len(events.tempos),
        tempo_kept=num_tempos,
        notes_silent=events.notes_silent,
    )
    return roll, counts


class _Source(NamedTuple):
    """The events of a file, as in `Events`."""

    notes: np.ndarray
    tempos: np.ndarray
    meters: np.ndarray
    channel_events: np.ndarray
    end_tick: int


class _Rules(NamedTuple):
    """The options of the conversion of events to a roll.

    Attributes:
        is_kept_program: (128,) bool General MIDI programs.
        pedals: (P,) PEDAL_STATE.
    """

    grid: Grid
    is_kept_program: np.ndarray
    pedals: np.ndarray
    keep_rests: bool


class _Quantized(NamedTuple):
    """A roll with counts for the ledger; the cells of a roll without onsets, or of one that is too long, are not computed."""

    cells: Cells
    first_step: int
    num_steps: int
    num_onsets: int
    dropped: Dropped
    num_unreleased: int


def _no_notes(found: _Quantized, events: Events) -> Rejection:
    """The rejection of a file without notes, with the reasons why its note-ons were dropped."""
    dropped = {
        "percussion": found.dropped.drum,
        "not of the programs in --programs": found.dropped.other_program,
        "outside the 88 keys": found.dropped.out_of_range,
        "lost, such as those after an end-of-track": events.notes_lost,
        "silent, such as cue notes": events.notes_silent,
    }
    causes = ", ".join(f"{count} {cause}" for cause, count in dropped.items() if count)
    message = f"all {sum(dropped.values())} note-ons were dropped: {causes}" if causes else "the file has no note-on"
    repairs = f"; repaired: {', '.join(events.repairs)}" if events.repairs else ""
    return Rejection(Reason.NO_NOTES, message + repairs)


@kernel
def _quantize(source: _Source, rules: _Rules) -> _Quantized:
    classes = classify(source.notes, source.channel_events, rules.is_kept_program)
    closed = add_closings(source.notes, classes, source.channel_events)
    sounding = read_streams(closed.notes, closed.classes, rules.grid, rules.pedals)
    steps = _find_range(sounding.onsets, sounding.spans)
    if rules.keep_rests:
        steps = Range(0, max(steps.first + steps.num_steps, step_of_tick(source.end_tick, rules.grid)))
    if len(sounding.onsets) == 0 or steps.num_steps > MAX_STEPS:
        cells = no_cells()
    else:
        cells = fill_roll(steps, rules.grid, sounding.onsets, sounding.spans, source.tempos, source.meters)
    return _Quantized(cells, steps.first, steps.num_steps, len(sounding.onsets), sounding.dropped, sounding.num_unreleased)


@kernel
def _find_range(onsets: np.ndarray, spans: np.ndarray) -> Range:
    """The steps from the first onset to the last one that sounds."""
    first, stop = _LATEST, 0
    for i in range(len(onsets)):
        first, stop = min(first, onsets[i].step), max(stop, onsets[i].step + 1)
    for i in range(len(spans)):
        stop = max(stop, spans[i].stop)
    return Range(first, stop - first)
