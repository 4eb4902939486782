"""The summary that preprocessing prints at its end."""

from pathlib import Path

from pianogen.command import counted
from preprocess.merge import MergeResult
from preprocess.unread import Unread


def describe_result(result: MergeResult, num_inputs: int, unread: Unread, store: Path, ledger: Path) -> str:
    """The contents of a new store, and the inputs and notes that it does not contain."""
    counts, num_rejected = result.counts, result.rejected.total()
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(result.rejected.items())) or "none"
    repairs = ", ".join(f"{count:,} {repair}" for repair, count in sorted(result.repaired.items()))
    pieces = "" if result.num_pieces == num_inputs else f" with {counted(result.num_pieces, 'piece')}"
    kinds = f"{result.num_kept:,} kept, {counted(result.num_duplicates, 'duplicate')}, {num_rejected:,} rejected"
    near = f"{result.num_similar:,} kept pieces resemble an earlier piece, {result.num_across_splits:,} of them in another split"
    return "\n".join(
        [
            f"{counted(num_inputs, 'input')}{pieces}: {kinds}",
            f"  rejected    {reasons}",
            *([f"  repaired    {repairs}"] if repairs else []),
            *(f"  not inputs  {line}" for line in unread.lines()),
            f"  similar     {near}",
            f"  steps       {result.num_steps:,}",
            f"  notes       {counts.notes:,} kept",
            f"              {counts.notes_merged:,} merged with another onset of the same key and step",
            f"              {counts.notes_out_of_range:,} outside the 88 keys, {counts.notes_drum:,} drum notes, "
            f"{counts.notes_program:,} of other programs",
            f"              {counts.notes_lost:,} lost, such as those after an end-of-track",
            f"              {counts.notes_silent:,} silent in scores, such as cue notes",
            f"              {counts.notes_unreleased:,} without a note-off, ended at their last event",
            f"  tempo       {counts.tempo_kept:,} of {counts.tempo_seen:,} changes are in force at a step",
            f"  store       {store}",
            f"  ledger      {ledger}",
        ]
    )
