"""MIDI files and scores as rolls, and rolls as MIDI files."""

from pathlib import Path

from pianogen import atomic
from pianogen.errors import UsageError
from pianogen.midi.options import STEPS_PER_QUARTER_CHOICES, ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.writer import write_midi as encode_midi
from pianogen.roll import STEPS_PER_QUARTER, Roll


def read_midi(path: str | Path, steps_per_quarter: int = STEPS_PER_QUARTER) -> Roll:
    """The roll of a MIDI file or a score (.mxl .musicxml .xml .krn .abc), or of the first tune of a file with several tunes.

    Args:
        steps_per_quarter: 4, 6, 8, 12, 16 or 24.

    Raises:
        UsageError: `steps_per_quarter` is another number.
        Rejection: the file has no notes, or is damaged; preprocessing rejects it for the same reason.
        OSError: the file cannot be read.
    """
    if not isinstance(steps_per_quarter, int) or steps_per_quarter not in STEPS_PER_QUARTER_CHOICES:
        choices = ", ".join(map(str, STEPS_PER_QUARTER_CHOICES))
        raise UsageError(f"steps_per_quarter is {steps_per_quarter!r}, expected one of {choices}")
    roll, _ = read_roll(Path(path).read_bytes(), Path(path).name, ReadOptions(steps_per_quarter=steps_per_quarter))
    return roll


def write_midi(roll: Roll, path: str | Path) -> None:
    """Writes a roll as a MIDI file; reading it gives the same roll, without silence at its start and end.

    Raises:
        PianogenError: a tempo does not fit a MIDI file.
        OSError: the file cannot be written.
    """
    atomic.write_bytes(Path(path), encode_midi(roll))
