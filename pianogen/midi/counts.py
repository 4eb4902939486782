"""The numbers of a piece's row in the ledger."""

from typing import NamedTuple


class Counts(NamedTuple):
    """What a piece holds and what was left out of its roll, as the ledger shows it.

    Attributes:
        notes: onset cells of the roll.
        notes_out_of_range: note-ons outside the 88 keys, dropped.
        notes_drum: note-ons on the drum channel, dropped.
        notes_merged: accepted note-ons that fell on a cell another one had struck already.
        notes_unreleased: notes still open after the second reading, ended at their stream's last event.
        tempo_seen: tempo events of the file.
        tempo_kept: those in force at one step of the roll or more.
    """

    notes: int
    notes_out_of_range: int
    notes_drum: int
    notes_merged: int
    notes_unreleased: int
    tempo_seen: int
    tempo_kept: int
