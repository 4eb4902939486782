"""The counts of a piece, for the ledger and the summary."""

from typing import NamedTuple


class Counts(NamedTuple):
    """Numbers of notes and tempos of a piece; every field is a column of the ledger; `notes_silent` is in the message.

    Every note-on of the source is an onset cell, or counted as dropped, lost, silent or merged.

    Attributes:
        notes: onset cells of the roll.
        notes_out_of_range: dropped note-ons outside the 88 keys.
        notes_drum: dropped note-ons of percussion.
        notes_program: dropped note-ons of programs that --programs excludes.
        notes_lost: note-ons of the source that were not read, such as those after an end-of-track event.
        notes_merged: accepted note-ons whose cell was already an onset.
        notes_unreleased: notes that no note-off ends; they last until the last event of their stream.
        tempo_seen: tempo events of the file.
        tempo_kept: tempo events that are in force at one step of the roll at least.
        notes_silent: notes of a score that are not played, such as cue notes, times their repetitions.
    """

    notes: int
    notes_out_of_range: int
    notes_drum: int
    notes_program: int
    notes_lost: int
    notes_merged: int
    notes_unreleased: int
    tempo_seen: int
    tempo_kept: int
    notes_silent: int
