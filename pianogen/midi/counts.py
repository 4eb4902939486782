"""The counts of a piece that the ledger shows."""

from typing import NamedTuple


class Counts(NamedTuple):
    """What a piece contains and what its roll leaves out; every field is a column of the ledger.

    Attributes:
        notes: onset cells of the roll.
        notes_out_of_range: dropped note-ons outside the 88 keys.
        notes_drum: dropped note-ons on the percussion channel.
        notes_merged: accepted note-ons whose cell was already an onset.
        notes_unreleased: notes that no note-off ends; they last until the last event of their stream.
        tempo_seen: tempo events of the file.
        tempo_kept: tempo events that are in force at one step of the roll at least.
    """

    notes: int
    notes_out_of_range: int
    notes_drum: int
    notes_merged: int
    notes_unreleased: int
    tempo_seen: int
    tempo_kept: int
